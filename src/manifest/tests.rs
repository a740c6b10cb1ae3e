//! The manifest's file as it grows, is replaced by a new one, and loses its power anywhere on the way.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{Change, Manifest, ReplicaSet, SET_KEY_LEN, State, load};
use crate::error::Error;
use crate::format::FileKind;
use crate::types::{KeyRange, NodeId};
use crate::vfs::{Fault, FaultTarget, MemoryVfs, Vfs};

/// Bytes of the keys in an edit: a dozen edits fill a file.
const KEY_LEN: usize = 20 << 10;

fn dir() -> &'static Path {
    Path::new("/store")
}

fn begun(vfs: &MemoryVfs) -> Manifest {
    vfs.create_dir_all(dir()).expect("made");
    let mut state = State::new(ReplicaSet::new([1; 16], [2; SET_KEY_LEN]), NodeId(3));
    state.apply(&Change::Opened { node: NodeId(3), opens: 1 });
    Manifest::begin(Arc::new(vfs.clone()), dir(), state, 0).expect("begun")
}

/// Edit `number`, which takes much room in the file and, by the next edit, little in the state.
fn edit(number: u64) -> [Change; 2] {
    let span = KeyRange::new(vec![7; KEY_LEN], None);
    let span =
        if number.is_multiple_of(2) { Change::Unknown { span, floor: number } } else { Change::Known(span) };
    [Change::Horizon(number), span]
}

#[test]
fn a_power_cut_leaves_the_last_edit_or_the_one_before_when_a_file_is_replaced_too() {
    let vfs = MemoryVfs::new();
    let mut manifest = begun(&vfs);
    vfs.record_steps();
    // How many steps had been made when each state became the one that counts.
    let mut states = vec![(0, manifest.state().clone())];
    for number in 1.. {
        manifest.commit(&edit(number)).expect("committed");
        states.push((vfs.step_count(), manifest.state().clone()));
        if FileKind::Manifest.id_in(&newest(&vfs)) == Some(3) {
            break;
        }
    }
    assert!(states.len() > 20, "{} edits filled two files", states.len());
    let mut random = 1u64;
    let mut early = 0;
    for (step, left) in vfs.take_steps().into_iter().enumerate() {
        for _ in 0..4 {
            let left = left.power_cut(|bound| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % bound
            });
            let found = load(&left, dir()).expect("it loads").expect("there is one").state;
            let acknowledged = states.iter().rposition(|(at, _)| *at <= step).expect("the first one");
            let begun = states.get(acknowledged + 1).is_some_and(|(_, state)| *state == found);
            assert!(begun || states[acknowledged].1 == found, "step {step}, edit {acknowledged}");
            early += u64::from(begun);
        }
    }
    assert!(early > 0, "no edit was ever there before it was acknowledged");
}

fn newest(vfs: &MemoryVfs) -> String {
    let names = vfs.list(dir()).expect("listed");
    assert_eq!(names.len(), 1, "older files are removed: {names:?}");
    names.into_iter().next().expect("one")
}

#[test]
fn after_a_failed_fsync_no_edit_follows() {
    let vfs = MemoryVfs::new();
    let mut manifest = begun(&vfs);
    let before = manifest.state().clone();
    // The write still succeeds.
    vfs.inject(Fault { target: FaultTarget::Changes, after: 1, kind: ErrorKind::Other, stays: false });
    assert!(matches!(manifest.commit(&edit(1)), Err(Error::Io { .. })));
    assert!(matches!(manifest.commit(&edit(2)), Err(Error::Poisoned { .. })));
    assert_eq!(*manifest.state(), before);
}

#[test]
fn a_folder_without_a_manifest_and_damaged_beginnings_are_told_apart() {
    let vfs = MemoryVfs::new();
    vfs.create_dir_all(dir()).expect("made");
    assert!(load(&vfs, dir()).expect("readable").is_none());
    drop(begun(&vfs));
    let path = dir().join(newest(&vfs));
    let len = vfs.bytes(&path).expect("bytes").len();
    // Of the identity and the first edit, which is the whole state, nothing may be missing.
    for at in 0..len {
        let damaged = vfs.kill();
        damaged.flip(&path, at, 1).expect("flipped");
        let loaded = load(&damaged, dir()).map(|loaded| loaded.is_some());
        assert!(
            matches!(loaded, Err(Error::Corruption { .. } | Error::UnsupportedVersion { .. })),
            "byte {at}: {loaded:?}"
        );
    }
}
