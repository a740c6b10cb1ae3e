//! Each rule left out, and the shortest history that was found to show it: with the rule all ends well, without it a deleted
//! key returns or replicas never agree again. The random search found most of them and `shrink` cut them down (see
//! `search::hunt`); the two of versions are too long to be met by chance.

use super::search::outcome;
use super::world::{Kind, Step, Weakened};

fn write(replica: usize, kind: Kind, lag: u64) -> Step {
    Step::Write { replica, key: 0, kind, lag }
}

fn put(replica: usize) -> Step {
    write(replica, Kind::Put, 0)
}

fn delete(replica: usize) -> Step {
    write(replica, Kind::Tombstone, 0)
}

fn close(replica: usize) -> Step {
    Step::Close { replica, below: 0 }
}

fn meet(initiator: usize, responder: usize) -> Step {
    Step::Meet { initiator, responder }
}

fn purge(replica: usize) -> Step {
    Step::Purge { replica, key: 0 }
}

fn lose(replica: usize) -> Step {
    Step::Lose { replica, key: 0 }
}

fn expel(by: usize, replica: usize) -> Step {
    Step::Expel { by, replica }
}

fn rejoin(by: usize, replica: usize) -> Step {
    Step::Rejoin { by, replica }
}

/// Number of replicas and what happens to them.
fn counterexample(weakened: Weakened) -> (usize, Vec<Step>) {
    use Step::{Backup, Begin, Crash, Exchange, Gossip, Raise, Restore, Tick};
    match weakened {
        Weakened::Nothing => (2, vec![]),
        Weakened::ProvesWithoutClosing => (2, vec![meet(1, 0), put(0), Raise(1)]),
        Weakened::ProvesByEitherClose => (2, vec![close(0), meet(1, 0), put(1), Raise(0)]),
        Weakened::NoExemption => (2, vec![put(0), close(0), meet(0, 1), Raise(0), lose(0)]),
        Weakened::PurgeByTime => {
            let deleted = vec![put(0), meet(0, 1), Tick, delete(0), Step::Compact { replica: 0, key: 0 }];
            (2, [deleted, vec![Step::Sync(0), Tick, Tick, purge(0)]].concat())
        }
        Weakened::PurgeOverOlder => (2, vec![put(1), delete(0), close(0), meet(0, 1), Raise(1), purge(1)]),
        Weakened::NoRowVersions => {
            // The second heals from the third, which has not heard of the tombstone yet.
            let lost = vec![put(0), meet(0, 2), delete(0), close(0), meet(0, 1), lose(1), meet(1, 2)];
            (3, [lost, vec![meet(1, 2), meet(0, 2), Raise(0), Raise(2)]].concat())
        }
        Weakened::NoMemberVersions => {
            // The second hears from the third once more before it learns that it is expelled.
            let expelled = vec![close(0), meet(0, 1), put(2), meet(2, 1), expel(0, 2)];
            (3, [expelled, vec![Gossip { from: 0, to: 1 }, Raise(0)]].concat())
        }
        Weakened::LowerCut => (2, vec![delete(1), close(1), meet(1, 0), Raise(0), purge(0)]),
        Weakened::DoneWithoutSync => (2, vec![put(1), close(1), meet(1, 0), Crash(0), Raise(0)]),
        Weakened::JoinsAsOwner => {
            let without = vec![close(2), expel(2, 0), meet(2, 1), Raise(1)];
            (3, [without, vec![rejoin(2, 0), put(0)]].concat())
        }
        Weakened::KeepsIdWhenRestored => (
            2,
            vec![put(1), Backup(0), close(1), meet(1, 0), Restore(0), Gossip { from: 1, to: 0 }, Raise(0)],
        ),
        Weakened::FinishesWithExpelled => {
            let open = vec![put(0), Begin { initiator: 0, responder: 1 }, expel(2, 0), close(2), meet(2, 1)];
            (3, [open, vec![Raise(2), Exchange(0)]].concat())
        }
        Weakened::NoRefusal => {
            let joined = vec![put(1), expel(1, 0), close(1), Raise(1), rejoin(1, 0), meet(0, 1)];
            (2, [joined, vec![delete(0)]].concat())
        }
        Weakened::DeferredProves => {
            // The third hears of the tombstone after it met the second; the second never does, for the first has covered it by
            // what it cannot give away.
            let held =
                vec![put(0), meet(0, 1), meet(0, 2), delete(0), close(0), close(1), meet(1, 2), meet(0, 2)];
            let ahead = Step::WriteAhead { replica: 0, key: 0, kind: Kind::Put, ahead: 9 };
            let proven = vec![ahead, meet(0, 1), Gossip { from: 0, to: 2 }, Raise(2)];
            (3, [held, proven, vec![expel(1, 0)]].concat())
        }
    }
}

#[test]
fn every_rule_is_missed_when_it_is_left_out() {
    for weakened in Weakened::ALL {
        let (replicas, taken) = counterexample(weakened);
        assert_eq!(outcome(replicas, Weakened::Nothing, &taken), Ok(()), "{weakened:?}, all rules kept");
        assert!(outcome(replicas, weakened, &taken).is_err(), "{weakened:?} does no harm");
    }
}
