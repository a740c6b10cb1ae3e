//! Group commit: whoever was told that a commit is durable finds it on the medium as a power cut at that moment leaves it, and
//! nobody waits for ever.

use shuttle::thread;
use syncline::Durability;
use testkit::life::DIR;
use testkit::world::World;

#[test]
fn a_commit_that_returned_survives_a_power_cut_and_every_commit_returns() {
    models::check(2_000, || {
        let world = World::new(1);
        // Small memtables are sealed now and then, so that commits of several segments wait.
        let memtable_bytes = if models::seed().is_multiple_of(2) { 256 } else { 8 << 10 };
        let db = world.builder(DIR).memtable_bytes(memtable_bytes).create().expect("a store");
        let writers = (0..3u8).map(|writer| {
            let (db, vfs) = (db.clone(), world.vfs.clone());
            thread::spawn(move || {
                let commit = |number| {
                    let mut batch = db.batch();
                    batch.put(&db.default_keyspace(), [writer, number], [number]).expect("a small entry");
                    db.write(batch, Durability::Sync).expect("nothing fails here");
                    // Of what was not synced, nothing is left.
                    ([writer, number], vfs.power_cut(|_| 0))
                };
                (0..2).map(commit).collect::<Vec<_>>()
            })
        });
        let writers: Vec<_> = writers.collect();
        let told = writers.into_iter().flat_map(|writer| writer.join().expect("no writer fails"));
        // Looked at only now, so that the writers meet each other and not what looks.
        for (key, left) in told.collect::<Vec<_>>() {
            let found = world.with(left).builder(DIR).open().expect("it opens").get(key);
            assert_eq!(found.expect("it reads").as_deref(), Some(&key[1..]), "commit {key:?}");
        }
    });
}
