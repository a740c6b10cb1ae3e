//! The manifest's file as it grows, is replaced by a new one, meets a failing disk, and loses its power anywhere on the way.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{Change, Manifest, ReplicaSet, SET_KEY_LEN, State, load};
use crate::error::Error;
use crate::format::FileKind;
use crate::types::{FileId, KeyRange, NodeId};
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

/// Its first file.
fn path() -> std::path::PathBuf {
    dir().join("000000000001.manifest")
}

fn state(vfs: &MemoryVfs) -> State {
    load(vfs, dir()).expect("read").expect("there").state
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
fn after_a_write_that_failed_nothing_is_written_behind_it() {
    // Write and fsync of the edit.
    for after in 0..2 {
        let vfs = MemoryVfs::new();
        let mut manifest = begun(&vfs);
        vfs.inject(Fault { target: FaultTarget::Changes, after, kind: ErrorKind::Other, stays: false });
        assert!(matches!(manifest.commit(&[Change::Horizon(5)]), Err(Error::Io { .. })));
        let left = vfs.bytes(&path()).expect("bytes");
        assert!(matches!(manifest.commit(&[Change::Horizon(6)]), Err(Error::Poisoned { .. })));
        assert_eq!(vfs.bytes(&path()).expect("bytes"), left);
        assert_eq!(manifest.state().horizon, 0);
    }
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

#[test]
fn any_sector_of_the_last_edit_may_be_missing_and_of_an_earlier_one_none() {
    let vfs = MemoryVfs::new();
    let mut manifest = begun(&vfs);
    manifest.commit(&[Change::Horizon(5)]).expect("an edit");
    let (before, start) = (state(&vfs), vfs.bytes(&path()).expect("bytes").len());
    let range = |number: u8| KeyRange { start: vec![number; 200], end: Some(vec![number + 1; 200]) };
    let holes = (0..20).map(|number| Change::Hole { run: FileId(7), range: range(2 * number) });
    manifest
        .commit(&[Change::Runs(vec![FileId(7)])].into_iter().chain(holes).collect::<Vec<_>>())
        .expect("a long edit");
    let whole = vfs.bytes(&path()).expect("bytes");
    let cut = |from: usize, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let end = (from / 512 * 512 + 512).min(bytes.len());
        bytes[from..end].fill(0);
        vfs.put(&path(), &bytes);
        load(&vfs, dir())
    };
    for sector in start / 512..=(whole.len() - 1) / 512 {
        let from = start.max(sector * 512);
        let loaded = cut(from, &whole).unwrap_or_else(|error| panic!("from {from}: {error}")).expect("there");
        assert_eq!(loaded.state, before, "from {from}");
        assert_eq!(loaded.torn_bytes, (whole.len() - start) as u64);
    }
    vfs.put(&path(), &whole);
    let mut manifest = Manifest::begin(Arc::new(vfs.clone()), dir(), state(&vfs), 0).expect("begun");
    manifest.commit(&[Change::Horizon(8)]).expect("an edit");
    let longer = vfs.bytes(&path()).expect("bytes");
    // The frames of identity and state come first; damage anywhere in them has a whole edit behind it.
    for from in (16..start).step_by(40) {
        assert!(matches!(cut(from, &longer), Err(Error::Corruption { .. })), "from {from}");
    }
}
