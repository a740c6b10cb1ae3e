//! What a repair costs by Syncline and by other protocols, on the same differences: `bench-compare sync`.
//!
//! Each protocol is a [`Peer`] in a file of its own. Every repair checks itself: what did not find and move exactly the
//! differing entries is an error and no figure.

mod case;
mod cpu;
mod negentropy;
mod rbsr;
mod row;
mod syncline;
mod table;

use std::path::Path;

pub use self::case::Shape;
use self::case::{Case, Common, Order};
use self::negentropy::NegentropyPeer;
use self::rbsr::RbsrPeer;
use self::row::Cost;
pub use self::row::SyncRow;
use self::syncline::SynclinePeer;
pub use self::table::render;
use crate::Result;

/// Names of the protocols.
pub const NAMES: [&str; 3] = ["syncline", "negentropy", "rbsr"];

/// Bytes of a value.
const VALUE_LEN: usize = 100;

/// A protocol, ready to repair replicas of one set of common entries.
trait Peer {
    /// Repairs one case and tells what that cost.
    ///
    /// # Errors
    /// The protocol's; a repair that left a difference or moved anything else.
    fn repair(&self, common: &Common, case: &Case) -> Result<Cost>;
}

/// What to run: everything with everything.
#[derive(Debug)]
pub struct Plan {
    /// Names of protocols.
    pub peers: Vec<String>,
    /// Entries of the side that is behind.
    pub entries: Vec<u64>,
    /// How many keys differ.
    pub differing: Vec<u64>,
    /// Where they lie.
    pub shapes: Vec<Shape>,
    /// Seed of keys, values and choices.
    pub seed: u64,
}

impl Plan {
    /// Runs everything, with stores in `dir`, and shows every row to `collect` as soon as it is there.
    ///
    /// # Errors
    /// The first of a repair.
    pub fn run(&self, dir: &Path, mut collect: impl FnMut(SyncRow)) -> Result<()> {
        for &entries in &self.entries {
            for order in [Order::Random, Order::Time] {
                let shapes: Vec<Shape> =
                    self.shapes.iter().copied().filter(|shape| shape.order() == order).collect();
                if shapes.is_empty() {
                    continue;
                }
                let common = Common::new(self.seed, order, entries, VALUE_LEN);
                for name in &self.peers {
                    let dir = tempfile::tempdir_in(dir)?;
                    let peer = prepare(name, &common, dir.path())?;
                    self.run_peer(name, peer.as_ref(), &common, &shapes, &mut collect)?;
                }
            }
        }
        Ok(())
    }

    fn run_peer(
        &self,
        name: &str,
        peer: &dyn Peer,
        common: &Common,
        shapes: &[Shape],
        collect: &mut impl FnMut(SyncRow),
    ) -> Result<()> {
        let entries = common.keys.len() as u64;
        for &shape in shapes {
            for &differing in &self.differing {
                // Where nothing differs it has no place: once is enough.
                if differing == 0 && self.shapes.first() != Some(&shape) {
                    continue;
                }
                let Some(case) = common.case(shape, differing) else {
                    eprintln!("skipped: {differing} differing keys among {entries}");
                    continue;
                };
                let cost = peer.repair(common, &case)?;
                collect(SyncRow { peer: name.to_owned(), entries, differing, shape, cost });
            }
        }
        Ok(())
    }
}

fn prepare(name: &str, common: &Common, dir: &Path) -> Result<Box<dyn Peer>> {
    Ok(match name {
        "syncline" => Box::new(SynclinePeer::new(common, dir)?),
        "negentropy" => Box::new(NegentropyPeer),
        "rbsr" => Box::new(RbsrPeer::new(common)),
        other => return Err(format!("there is no protocol {other}").into()),
    })
}
