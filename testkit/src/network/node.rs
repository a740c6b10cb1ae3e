//! [`Node`]: a replica that writes, works in the background, dies and comes back.

use syncline::vfs::MemoryVfs;
use syncline::{Builder, Db, Durability, ReplicaSet};

use super::witness::{self, Held, Witness};
use crate::life::{DIR, abandon};
use crate::random::Random;
use crate::stop::Stop;
use crate::world::World;

/// A replica.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) world: World,
    pub(super) db: Db,
    /// How often it died. What was begun in an earlier life is over.
    pub(super) life: u64,
}

fn builder(world: &World) -> Builder {
    world.builder(DIR).memtable_bytes(4 << 10)
}

impl Node {
    pub(super) fn new(world: World, set: Option<&ReplicaSet>) -> Result<Node, String> {
        let db = match set {
            Some(set) => builder(&world).create_replica(set),
            None => builder(&world).create(),
        };
        Ok(Node { db: db.map_err(|error| error.to_string())?, world, life: 0 })
    }

    /// A client's write, or a little background work.
    pub(super) fn write(&mut self, random: &mut Random, witness: &mut Witness) -> Result<(), String> {
        let failed = |error: syncline::Error| format!("a write failed: {error}");
        self.world.clock.advance(1 + random.below(3));
        let key = witness::key(random.below(witness::KEYS));
        match random.below(10) {
            0 | 1 => self.db.delete(&key).map_err(failed)?,
            // Longer than what a session sends with its entry, now and then.
            2 if random.chance(1) => {
                self.db.put(&key, vec![random.next() as u8; 300 << 10]).map_err(failed)?
            }
            _ => self.db.put(&key, random.value()).map_err(failed)?,
        }
        witness.wrote(&self.db, &key)?;
        if random.chance(10) {
            while self.db.step().map_err(failed)? {}
        }
        if random.chance(10) {
            self.db.persist(Durability::Sync).map_err(failed)?;
        }
        Ok(())
    }

    /// Dies and comes back.
    pub(super) fn restart(&mut self, stop: Stop, random: &mut Random) -> Result<(), String> {
        let left = stop.apply(&self.world.vfs, random);
        let world = self.world.with(left);
        let db = builder(&world).open().map_err(|error| format!("{stop}: it does not come back: {error}"))?;
        if db.recovery().merkle_rebuilt {
            return Err("the Merkle index was rebuilt".to_owned());
        }
        abandon(&self.world, std::mem::replace(&mut self.db, db));
        self.world = world;
        self.life += 1;
        Ok(())
    }

    /// What it would hold if the power were cut now and nothing unsynced had reached the medium.
    pub(super) fn held_durably(&self) -> Result<Held, String> {
        let left: MemoryVfs = self.world.vfs.power_cut(|_| 0);
        let world = self.world.with(left);
        let db = builder(&world).open().map_err(|error| format!("a power cut: {error}"))?;
        let held = witness::held(&db);
        abandon(&world, db);
        held
    }
}
