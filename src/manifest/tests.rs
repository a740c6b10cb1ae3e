//! What the manifest's file holds after a write that failed, a power cut in its last edit, and damage before that.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::{Change, Manifest, ReplicaSet, State, load};
use crate::error::Error;
use crate::types::{FileId, KeyRange, NodeId};
use crate::vfs::{Fault, FaultTarget, MemoryVfs, Vfs};

const DIR: &str = "/db";
const FILE: &str = "/db/000000000001.manifest";

/// A new manifest, and where it lies.
fn begun() -> (MemoryVfs, Manifest) {
    let vfs = MemoryVfs::new();
    vfs.create_dir_all(Path::new(DIR)).expect("a folder");
    let state = State::new(ReplicaSet::new([1; 16], [2; 32]), NodeId(3));
    let manifest = Manifest::begin(Arc::new(vfs.clone()), Path::new(DIR), state, 0).expect("begun");
    (vfs, manifest)
}

fn state(vfs: &MemoryVfs) -> State {
    load(vfs, Path::new(DIR)).expect("read").expect("there").state
}

#[test]
fn after_a_write_that_failed_nothing_is_written_behind_it() {
    // Write and fsync of the edit.
    for after in 0..2 {
        let (vfs, mut manifest) = begun();
        vfs.inject(Fault { target: FaultTarget::Changes, after, kind: ErrorKind::Other, stays: false });
        assert!(matches!(manifest.commit(&[Change::Horizon(5)]), Err(Error::Io { .. })));
        let left = vfs.bytes(Path::new(FILE)).expect("bytes");
        assert!(matches!(manifest.commit(&[Change::Horizon(6)]), Err(Error::Poisoned { .. })));
        assert_eq!(vfs.bytes(Path::new(FILE)).expect("bytes"), left);
        assert_eq!(manifest.state().horizon, 0);
    }
}

#[test]
fn any_sector_of_the_last_edit_may_be_missing_and_of_an_earlier_one_none() {
    let (vfs, mut manifest) = begun();
    manifest.commit(&[Change::Horizon(5)]).expect("an edit");
    let (before, start) = (state(&vfs), vfs.bytes(Path::new(FILE)).expect("bytes").len());
    let range = |number: u8| KeyRange { start: vec![number; 200], end: Some(vec![number + 1; 200]) };
    let holes = (0..20).map(|number| Change::Hole { run: FileId(7), range: range(2 * number) });
    manifest
        .commit(&[Change::Runs(vec![FileId(7)])].into_iter().chain(holes).collect::<Vec<_>>())
        .expect("a long edit");
    let whole = vfs.bytes(Path::new(FILE)).expect("bytes");
    let cut = |from: usize, bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let end = (from / 512 * 512 + 512).min(bytes.len());
        bytes[from..end].fill(0);
        vfs.put(Path::new(FILE), &bytes);
        load(&vfs, Path::new(DIR))
    };
    for sector in start / 512..=(whole.len() - 1) / 512 {
        let from = start.max(sector * 512);
        let loaded = cut(from, &whole).unwrap_or_else(|error| panic!("from {from}: {error}")).expect("there");
        assert_eq!(loaded.state, before, "from {from}");
        assert_eq!(loaded.torn_bytes, (whole.len() - start) as u64);
    }
    vfs.put(Path::new(FILE), &whole);
    let mut manifest = Manifest::begin(Arc::new(vfs.clone()), Path::new(DIR), state(&vfs), 0).expect("begun");
    manifest.commit(&[Change::Horizon(8)]).expect("an edit");
    let longer = vfs.bytes(Path::new(FILE)).expect("bytes");
    // The frames of identity and state come first; damage anywhere in them has a whole edit behind it.
    for from in (16..start).step_by(40) {
        assert!(matches!(cut(from, &longer), Err(Error::Corruption { .. })), "from {from}");
    }
}

#[test]
fn a_power_cut_leaves_the_last_edit_or_the_one_before_when_a_file_is_replaced_too() {
    let (vfs, mut manifest) = begun();
    // How many steps had been made when each state became the one that counts.
    let mut states = vec![(0, state(&vfs))];
    vfs.record_steps();
    // Every edit takes much room in the file and, by the next one, little in the state.
    let span = KeyRange { start: vec![7; 20 << 10], end: None };
    for number in 1.. {
        let change = match number % 2 {
            0 => Change::Unknown { span: span.clone(), floor: number },
            _ => Change::Known(span.clone()),
        };
        manifest.commit(&[Change::Horizon(number), change]).expect("an edit");
        states.push((vfs.step_count(), state(&vfs)));
        let names = vfs.list(Path::new(DIR)).expect("listed");
        assert_eq!(names.len(), 1, "older files are removed: {names:?}");
        if names[0] == "000000000003.manifest" {
            break;
        }
    }
    assert!(states.len() > 20, "{} edits filled two files", states.len());
    let (mut random, mut early) = (1u64, 0);
    for (step, left) in vfs.take_steps().into_iter().enumerate() {
        for _ in 0..4 {
            let left = left.power_cut(|bound| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) % bound
            });
            let found = state(&left);
            let acknowledged = states.iter().rposition(|(at, _)| *at <= step).expect("the first one");
            let is_early = states.get(acknowledged + 1).is_some_and(|(_, state)| *state == found);
            assert!(is_early || states[acknowledged].1 == found, "step {step}, edit {acknowledged}");
            early += u64::from(is_early);
        }
    }
    assert!(early > 0, "no edit was ever there before it was acknowledged");
}

#[test]
fn a_folder_without_a_manifest_and_one_with_a_damaged_beginning_are_told_apart() {
    let empty = MemoryVfs::new();
    empty.create_dir_all(Path::new(DIR)).expect("a folder");
    assert!(load(&empty, Path::new(DIR)).expect("readable").is_none());
    let (vfs, _) = begun();
    // Of the identity and the first edit, which is the whole state, nothing may be missing.
    for at in 0..vfs.bytes(Path::new(FILE)).expect("bytes").len() {
        let damaged = vfs.kill();
        damaged.flip(Path::new(FILE), at, 1).expect("flipped");
        let loaded = load(&damaged, Path::new(DIR)).map(|loaded| loaded.is_some());
        let is_told = matches!(loaded, Err(Error::Corruption { .. } | Error::UnsupportedVersion { .. }));
        assert!(is_told, "byte {at}: {loaded:?}");
    }
}
