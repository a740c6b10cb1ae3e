//! Compression: files get smaller, and nothing else can be seen of it.

use syncline::{Compression, Db};

use crate::common::{Random, World};

/// Fills a store with rows that share much, and takes some of them out again.
fn fill(db: &Db) {
    let mut random = Random::new(1);
    for number in 0..2_000u64 {
        let value =
            format!("{{\"name\":\"row {number}\",\"shade\":{},\"kind\":\"pigment\"}}", random.below(9));
        db.put(format!("row/{:05}", random.below(3_000)), value).expect("put");
        if number % 7 == 0 {
            db.delete(format!("row/{:05}", random.below(3_000))).expect("delete");
        }
        while db.step().expect("background work") {}
    }
}

fn entries(db: &Db) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = db.iter().map(|entry| entry.map(|entry| (entry.key.to_vec(), entry.value.to_vec())));
    entries.collect::<Result<_, _>>().expect("a scan")
}

#[test]
fn runs_shrink_and_entries_and_digest_stay_whatever_a_store_has_been_told_before() {
    let world = World::new(2);
    let open =
        |compression| world.builder("/db").compression(compression).open_or_create().expect("the same store");
    let mut db = open(Compression::None);
    fill(&db);
    let before = (entries(&db), db.root().expect("a root"));
    let mut sizes = Vec::new();
    for compression in [Compression::None, Compression::Lz4, Compression::None, Compression::Lz4] {
        drop(db);
        // An opening that says nothing finds what the one before has said.
        drop(open(compression));
        db = Db::builder("/db").environment(world.environment()).background(false).open().expect("reopen");
        assert_eq!(db.stats().expect("stats").compression, compression);
        // A second run, so that there is something to merge.
        db.put("row/00000", "again").expect("put");
        db.delete("row/00000").expect("delete");
        db.compact(|_| true).expect("a merge of everything");
        sizes.push(db.stats().expect("stats").run_bytes);
        assert_eq!(entries(&db), before.0);
        assert!(db.verify(&mut |_| true).expect("verify").problems.is_empty());
    }
    assert!(sizes[1] * 4 < sizes[0] * 3, "{sizes:?}");
    assert!(sizes[2] > sizes[1] && sizes[3] == sizes[1], "{sizes:?}");
}

#[test]
fn replicas_that_store_differently_have_equal_roots() {
    let (plain, compressed) = (World::new(3), World::new(3));
    let roots = [(plain, Compression::None), (compressed, Compression::Lz4)].map(|(world, compression)| {
        let db = world.builder("/db").compression(compression).create().expect("a new store");
        fill(&db);
        db.flush().expect("flush");
        (db.root().expect("a root"), db.stats().expect("stats").run_bytes)
    });
    assert_eq!(roots[0].0, roots[1].0);
    assert!(roots[1].1 < roots[0].1, "{roots:?}");
}

#[cfg(not(feature = "zstd"))]
#[test]
fn a_codec_that_this_build_lacks_is_refused_before_anything_is_written() {
    let world = World::new(4);
    drop(world.builder("/db").create().expect("a new store"));
    let opened = world.builder("/db").compression(Compression::Zstd(3)).open();
    assert!(matches!(opened, Err(syncline::Error::UnsupportedCodec { .. })), "{opened:?}");
    world.builder("/db").open().expect("as before");
}
