//! What the two file systems promise, and what a power cut may and may not do.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;

/// SplitMix64, as a choice among `n`.
fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    move |n| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn path(name: &str) -> PathBuf {
    Path::new("/store").join(name)
}

/// Both file systems, each with a folder to work in.
fn file_systems(dir: &Path) -> [(Arc<dyn Vfs>, PathBuf); 2] {
    [(Arc::new(DiskVfs), dir.join("a/b")), (Arc::new(MemoryVfs::new()), PathBuf::from("/store"))]
}

#[test]
fn files_are_created_read_renamed_and_removed_alike_on_both() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    for (vfs, dir) in file_systems(scratch.path()) {
        vfs.create_dir_all(&dir).expect("created");
        vfs.create_dir_all(&dir).expect("there already");
        let (a, b) = (dir.join("a"), dir.join("b"));
        let file = vfs.create(&a, 4096).expect("created");
        assert_eq!(vfs.create(&a, 0).expect_err("taken").kind(), ErrorKind::AlreadyExists);
        file.write_all_at(10, b"hello").expect("written");
        for mode in [ReadMode::Mapped, ReadMode::Plain] {
            let reader = vfs.open(&a, mode).expect("opened");
            assert_eq!(reader.len(), 4096);
            assert_eq!(reader.mapped().is_some(), mode == ReadMode::Mapped);
            assert_eq!(reader.read(9, 7).expect("within"), b"\0hello\0");
            assert_eq!(reader.read(4090, 7).expect_err("beyond").kind(), ErrorKind::UnexpectedEof);
            assert_eq!(reader.read(u64::MAX, 1).expect_err("beyond").kind(), ErrorKind::UnexpectedEof);
            assert_eq!(reader.read(0, usize::MAX).expect_err("beyond").kind(), ErrorKind::UnexpectedEof);
        }
        file.truncate(15).expect("truncated");
        file.sync().expect("synced");
        vfs.create(&b, 0).expect("created");
        assert_eq!(vfs.open(&b, ReadMode::Mapped).expect("opened").len(), 0);
        vfs.rename(&a, &b).expect("renamed");
        vfs.sync_dir(&dir).expect("synced");
        assert_eq!(vfs.list(&dir).expect("listed"), ["b"]);
        let reader = vfs.open(&b, ReadMode::Mapped).expect("opened");
        vfs.remove(&b).expect("removed");
        assert_eq!(reader.read(0, 15).expect("open files outlive their names"), b"\0\0\0\0\0\0\0\0\0\0hello");
        assert_eq!(vfs.open(&b, ReadMode::Plain).expect_err("gone").kind(), ErrorKind::NotFound);
        assert!(vfs.list(&dir).expect("listed").is_empty());
    }
}

#[test]
fn a_lock_has_one_owner_and_its_file_stays() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    for (vfs, dir) in file_systems(scratch.path()) {
        vfs.create_dir_all(&dir).expect("created");
        let lock = vfs.lock(&dir.join("LOCK")).expect("asked");
        assert!(lock.is_some());
        assert!(vfs.lock(&dir.join("LOCK")).expect("asked").is_none());
        drop(lock);
        assert!(vfs.lock(&dir.join("LOCK")).expect("asked").is_some());
        assert_eq!(vfs.list(&dir).expect("listed"), ["LOCK"]);
    }
}

#[test]
fn staged_bytes_are_seen_by_readers_and_by_the_next_owner() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    for (vfs, dir) in file_systems(scratch.path()) {
        vfs.create_dir_all(&dir).expect("created");
        let ring = dir.join("RING");
        let mut staging = vfs.staging(&ring, 1000).expect("opened");
        assert_eq!((staging.capacity(), staging.word()), (1000, 0));
        staging.write(990, b"0123456789");
        staging.set_word(0x0102_0304_0506_0708);
        let file = vfs.open(&ring, ReadMode::Plain).expect("opened");
        assert_eq!(file.read(0, 8).expect("within"), &[8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(file.read(998, 10).expect("within"), b"0123456789");
        drop(staging);
        let staging = vfs.staging(&ring, 1000).expect("opened again");
        assert_eq!(staging.word(), 0x0102_0304_0506_0708);
        assert_eq!(staging.bytes().get(990..), Some(&b"0123456789"[..]));
        drop(staging);
        let staging = vfs.staging(&ring, 995).expect("opened shorter");
        assert_eq!(staging.bytes().get(990..), Some(&b"01234"[..]));
    }
}

#[test]
fn a_kill_keeps_everything_and_frees_the_locks() {
    let vfs = MemoryVfs::new();
    let _lock = vfs.lock(&path("LOCK")).expect("asked").expect("free");
    vfs.create(&path("a"), 8).expect("created").write_all_at(0, b"unsynced").expect("written");
    vfs.staging(&path("RING"), 16).expect("opened").write(0, b"staged");
    let after = vfs.kill();
    assert_eq!(after.bytes(&path("a")).expect("there"), b"unsynced");
    assert_eq!(after.bytes(&path("RING")).expect("there").get(8..14), Some(&b"staged"[..]));
    assert!(after.lock(&path("LOCK")).expect("asked").is_some());
    assert!(vfs.lock(&path("LOCK")).expect("asked").is_none());
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_sectors_of_the_rest() {
    let vfs = MemoryVfs::new();
    let file = vfs.create(&path("a"), 0).expect("created");
    file.write_all_at(0, &[1; 2048]).expect("written");
    file.sync().expect("synced");
    vfs.sync_dir(&path("")).expect("synced");
    file.write_all_at(256, &[2; 1024]).expect("written");
    let mut seen = BTreeSet::new();
    for seed in 0..2000 {
        let bytes = vfs.power_cut(random(seed)).bytes(&path("a")).expect("its name is durable");
        assert!(bytes[..256] == [1; 256] && bytes[1280..] == [1; 768], "seed {seed}: synced bytes changed");
        // The written sectors, cut where the write cut them: 256..512, 512..768, 768..1024, 1024..1280.
        let parts: Vec<u8> = bytes[256..1280].chunks(256).map(|part| part[0]).collect();
        assert!(
            bytes[256..1280].chunks(256).all(|part| part == [part[0]; 256]),
            "seed {seed}: torn within a sector"
        );
        seen.insert(parts);
    }
    assert_eq!(seen.len(), 16, "every mix of old and new was seen: {seen:?}");
}

#[test]
fn a_power_cut_may_undo_any_change_of_a_name_until_its_folder_is_synced() {
    let outcomes = |is_synced: bool| {
        let vfs = MemoryVfs::new();
        vfs.put(&path("old"), b"old");
        vfs.create(&path("new"), 0).expect("created");
        vfs.rename(&path("new"), &path("newest")).expect("renamed");
        vfs.remove(&path("old")).expect("removed");
        if is_synced {
            vfs.sync_dir(Path::new("/store")).expect("synced");
        }
        let names = |seed| vfs.power_cut(random(seed)).list(Path::new("/store")).expect("listed");
        (0..500).map(names).collect::<BTreeSet<_>>()
    };
    assert_eq!(outcomes(true), BTreeSet::from([vec!["newest".to_owned()]]));
    let expected: [&[&str]; 6] = [&[], &["new"], &["new", "old"], &["newest"], &["newest", "old"], &["old"]];
    let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    assert_eq!(outcomes(false), BTreeSet::from(expected));
}

#[test]
fn a_power_cut_may_leave_any_former_sector_of_the_staging_file() {
    let vfs = MemoryVfs::new();
    let mut staging = vfs.staging(&path("RING"), 1016).expect("opened");
    vfs.sync_dir(Path::new("/store")).expect("synced");
    for round in 1..=3 {
        staging.write(0, &[round; 1016]);
        staging.set_word(u64::from(round));
    }
    let mix = |seed| {
        let bytes = vfs.power_cut(random(seed)).bytes(&path("RING")).expect("there");
        (bytes[0], bytes[8], bytes[1023])
    };
    let seen: BTreeSet<_> = (0..2000).map(mix).collect();
    // The word is stored after the bytes, so the first sector's word is the bytes' or one behind.
    let first = [(0, 0), (0, 1), (1, 2), (2, 3), (3, 3)];
    let expected = first.into_iter().flat_map(|(word, byte)| (0..=3).map(move |last| (word, byte, last)));
    assert_eq!(seen, expected.collect());
}

#[test]
fn a_failed_sync_loses_its_bytes_for_good_and_a_failed_write_leaves_half() {
    let vfs = MemoryVfs::new();
    let file = vfs.create(&path("a"), 0).expect("created");
    vfs.sync_dir(Path::new("/store")).expect("synced");
    let fault = Fault { target: FaultTarget::Changes, after: 1, kind: ErrorKind::Other, stays: false };
    vfs.inject(fault);
    file.write_all_at(0, b"abcdef").expect("written");
    file.sync().expect_err("injected");
    file.sync().expect("the next one succeeds, and lies");
    assert_eq!(vfs.bytes(&path("a")).expect("there"), b"abcdef");
    for seed in 0..50 {
        assert!(vfs.power_cut(random(seed)).bytes(&path("a")).expect("there").is_empty(), "seed {seed}");
    }
    vfs.inject(Fault { after: 0, kind: ErrorKind::StorageFull, stays: true, ..fault });
    assert_eq!(file.write_all_at(6, b"ghijkl").expect_err("full").kind(), ErrorKind::StorageFull);
    assert_eq!(vfs.bytes(&path("a")).expect("there"), b"abcdefghi");
    assert_eq!(file.truncate(0).expect_err("still full").kind(), ErrorKind::StorageFull);
    vfs.inject(Fault { target: FaultTarget::Reads, ..fault });
    let reader = vfs.open(&path("a"), ReadMode::Plain).expect("the first read succeeds");
    reader.read(0, 1).expect_err("the second does not");
    reader.read(0, 1).expect("the third does");
}

#[test]
fn recorded_steps_show_the_middle_of_every_write() {
    let vfs = MemoryVfs::new();
    let mut staging = vfs.staging(&path("RING"), 8).expect("opened");
    let file = vfs.create(&path("a"), 0).expect("created");
    vfs.record_steps();
    file.write_all_at(0, b"abcd").expect("written");
    let acknowledged = vfs.step_count();
    staging.write(0, b"efgh");
    staging.set_word(1);
    let steps = vfs.take_steps();
    let content = |vfs: &MemoryVfs| {
        let staged = vfs.bytes(&path("RING")).expect("there");
        (vfs.bytes(&path("a")).expect("there"), staged[8..12].to_vec())
    };
    let seen: Vec<_> = steps.iter().map(content).collect();
    let expected: [(&[u8], &[u8]); 5] = [
        (b"", b"\0\0\0\0"),
        (b"ab", b"\0\0\0\0"),
        (b"abcd", b"\0\0\0\0"),
        (b"abcd", b"ef\0\0"),
        (b"abcd", b"efgh"),
    ];
    assert_eq!(seen, expected.map(|(file, staged)| (file.to_vec(), staged.to_vec())));
    assert_eq!(acknowledged, 2);
}
