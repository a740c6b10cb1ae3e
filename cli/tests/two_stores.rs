//! The verbs that work on two replicas, in one process and over TCP, and the demo.

mod common;

use common::{Folder, keys};
use serde_json::json;

/// `a` with a small table, and `b`, an empty replica of it.
fn replicas() -> Folder {
    let folder = Folder::new();
    folder.write("t.tsv", b"k\tv\na\t1\nb\t1\nc\t1\nd\t1\n");
    folder.text("load a t.tsv");
    folder.text("init b --replica-of a");
    folder
}

#[test]
fn replicas_differ_are_compared_and_become_equal() {
    let folder = replicas();
    let first = folder.json("sync a b", 0);
    assert_eq!(
        keys(&first),
        [
            "entries_differing",
            "entries_healed",
            "entries_received",
            "entries_sent",
            "legs",
            "metadata_bytes",
            "outcome",
            "root_left",
            "root_right",
            "value_bytes"
        ]
    );
    assert_eq!((&first["outcome"], &first["entries_sent"]), (&json!("complete"), &json!(4)));
    assert_eq!(folder.json("digest a", 0), folder.json("digest b", 0));

    folder.text("put a a 2");
    folder.text("put b b 2");
    folder.text("del b c");
    folder.text("put a e 2");
    folder.text("put b f 2");
    folder.text("put b g 2");
    let different = folder.json("diff a b", 1);
    assert_eq!(keys(&different), ["equal", "newer_left", "newer_right", "only_left", "only_right", "ranges"]);
    assert_eq!(
        ["only_left", "only_right", "newer_left", "newer_right"].map(|name| different[name].as_u64()),
        [Some(1), Some(2), Some(1), Some(2)]
    );
    let turned = folder.json("diff b a", 1);
    assert_eq!((&turned["only_left"], &turned["newer_left"]), (&json!(2), &json!(2)));

    let before = folder.json("digest a", 0);
    let dry = folder.json("sync a b --dry-run", 1);
    assert_eq!(
        ["outcome", "entries_differing"].map(|name| dry[name].clone()),
        [json!("different"), json!(6)]
    );
    assert_eq!(["entries_sent", "entries_received"].map(|name| dry[name].as_u64()), [Some(2), Some(4)]);
    let weights = ["value_bytes_to_right", "value_bytes_to_left"].map(|name| dry[name].as_u64());
    assert_eq!(weights, [Some(2), Some(3)]);
    assert_eq!(folder.json("digest a", 0), before, "a dry run moves nothing");

    let words = folder.text("sync a b");
    for label in [
        "entries differing",
        "over-transfer      1.00",
        "bytes moved",
        "round trips",
        "root left",
        "root right",
    ] {
        assert!(words.contains(label), "{label} in {words}");
    }
    assert_eq!(folder.json("diff a b", 0)["equal"], true);
    assert_eq!(folder.json("digest a", 0), folder.json("digest b", 0));
    assert_eq!(folder.text("scan a"), "a\t2\nb\t2\nd\td\t1\ne\t2\nf\t2\ng\t2\n");
    assert_eq!(folder.text("scan a"), folder.text("scan b"));
    assert_eq!(folder.json("sync a b", 0)["outcome"], "equal");
}

#[test]
fn what_a_replica_has_lost_to_damage_the_other_one_brings_back() {
    let folder = replicas();
    folder.text("sync a b");
    let before = folder.json("digest a", 0);
    folder.text("compact a");
    folder.damage_run("a");
    assert_eq!(folder.json("scrub a --rate 0", 1)["sound"], false);
    assert_eq!(folder.json("stats a", 0)["unknown"].as_array().map(Vec::len), Some(1));
    folder.text("stats a --html a.html");
    let page = String::from_utf8(folder.read("a.html")).expect("text");
    assert!(page.contains("<td>keyspace default, from &quot;"), "{page}");
    assert_eq!(folder.json("digest a", 1)["kind"], "unknown");
    assert_eq!(folder.json("diff a b", 3)["kind"], "peer");
    let moved = folder.json("sync a b", 0);
    assert_eq!((&moved["outcome"], &moved["entries_sent"]), (&json!("equal"), &json!(0)));
    assert!(moved["entries_healed"].as_u64().is_some_and(|healed| healed > 0), "{moved}");
    assert_eq!(folder.json("digest a", 0), before);
    // The damaged run itself goes with the next merge.
    folder.text("compact a");
    assert_eq!(folder.json("verify a", 0)["sound"], true);
}

#[test]
fn what_is_lost_comes_back_from_a_served_replica_and_to_one() {
    for damaged in ["a", "b"] {
        let folder = replicas();
        folder.text("sync a b");
        let before = folder.json("digest a", 0);
        folder.text(&format!("compact {damaged}"));
        folder.damage_run(damaged);
        assert_eq!(folder.json(&format!("scrub {damaged} --rate 0"), 1)["sound"], false);
        let mut server = folder.start("serve a --listen 127.0.0.1:0 --insecure --json");
        let first: serde_json::Value = serde_json::from_str(&server.line()).expect("one object a line");
        let address = first["address"].as_str().expect("an address").to_owned();
        assert_eq!(folder.json(&format!("diff b {address} --insecure"), 3)["kind"], "peer");
        let moved = folder.json(&format!("sync b {address} --insecure"), 0);
        assert_eq!((&moved["outcome"], &moved["entries_differing"]), (&json!("equal"), &json!(0)));
        assert!(moved["entries_healed"].as_u64().is_some_and(|healed| healed > 0), "{moved}");
        assert_eq!(server.end("TERM"), Some(0));
        assert_eq!(
            ["a", "b"].map(|store| folder.json(&format!("digest {store}"), 0)["root"].clone()),
            [before["root"].clone(), before["root"].clone()]
        );
    }
}

#[test]
fn a_served_replica_is_compared_and_repaired_from_either_side_of_the_command_line() {
    let folder = replicas();
    // No address that could be listened at, so that a server that is not refused ends as well.
    assert_eq!(folder.json("serve a --listen nowhere", 2)["kind"], "usage");
    assert_eq!(folder.json("serve a --listen nowhere --insecure", 3)["kind"], "io");
    let mut server = folder.start("serve a --listen 127.0.0.1:0 --insecure --json");
    let first: serde_json::Value = serde_json::from_str(&server.line()).expect("one object a line");
    let address = first["address"].as_str().expect("an address").to_owned();

    assert_eq!(folder.json(&format!("diff {address} b"), 2)["kind"], "usage");
    assert_eq!(folder.json(&format!("diff {address} b --insecure"), 1)["only_left"], 4);
    assert_eq!(folder.json(&format!("diff b {address} --insecure"), 1)["only_right"], 4);
    let moved = folder.json(&format!("sync {address} b --insecure"), 0);
    assert_eq!((&moved["entries_sent"], &moved["entries_received"]), (&json!(4), &json!(0)));
    folder.text("put b new 1");
    let moved = folder.json(&format!("sync {address} b --insecure --bwlimit 10MiB"), 0);
    assert_eq!((&moved["entries_sent"], &moved["entries_received"]), (&json!(0), &json!(1)));
    assert_eq!(folder.json(&format!("diff {address} {address} --insecure"), 2)["kind"], "usage");
    // Beside the server the store can be read, and not written.
    assert_eq!(folder.json("digest a", 0), folder.json("digest b", 0));
    assert_eq!(folder.json("put a new 2", 3)["kind"], "locked");

    assert_eq!(server.end("TERM"), Some(0));
    assert_eq!(folder.text("get a new"), "1\n");
    assert_eq!(folder.json("digest a", 0), folder.json("digest b", 0));
    assert_eq!(folder.json(&format!("sync {address} b --insecure"), 3)["kind"], "peer");
}

#[test]
fn stores_that_are_no_replicas_of_each_other_are_refused() {
    let folder = replicas();
    folder.text("init stranger");
    let error = folder.json("sync a stranger", 3);
    assert_eq!(error["kind"], "peer");
    assert!(error["error"].as_str().is_some_and(|text| text.contains("--replica-of")), "{error}");
    assert_eq!(folder.json("sync a a", 2)["kind"], "usage");
    assert_eq!(folder.json("diff a ./a", 2)["kind"], "usage");
    assert_eq!(folder.json("diff a none", 3)["kind"], "not_found");
    assert_eq!(folder.json("init c --replica-of none", 3)["kind"], "not_found");
}

#[test]
fn the_demo_keeps_its_promises() {
    let folder = Folder::new();
    let shown = folder.json("demo --dir demo", 0);
    assert_eq!(
        ["entries", "entries_differing", "entries_sent", "entries_received", "lost"]
            .map(|name| shown[name].as_u64()),
        [Some(63_666), Some(1_249), Some(0), Some(1_249), Some(0)]
    );
    assert_eq!(folder.json("diff demo/a demo/b", 0)["equal"], true);
    assert_eq!(folder.json("digest demo/a", 0)["root"], shown["root"]);
    assert_eq!(folder.json("demo --dir demo", 3)["kind"], "occupied");
}

#[test]
fn a_repair_keeps_to_its_part_direction_and_number_of_deletions() {
    let folder = replicas();
    folder.text("sync a b");
    for write in ["put a p/1 x", "put a q/1 x", "put a r/1 x", "put b p/2 y", "put b q/2 y"] {
        folder.text(write);
    }
    let pushed = folder.json("sync a b --prefix p/ --direction push", 0);
    assert_eq!(["entries_sent", "entries_received"].map(|name| pushed[name].as_u64()), [Some(1), Some(0)]);
    assert_eq!(folder.text("scan b --prefix p/"), "p/1\tx\np/2\ty\n");
    assert_eq!(folder.text("scan a --prefix p/"), "p/1\tx\n");
    let both = folder.json("sync b a --prefix p/ --prefix q/", 0);
    assert_eq!(both["entries_differing"], 3, "of two prefixes, and nothing of the third");
    assert_eq!(folder.text("scan a --from p --to r"), folder.text("scan b --from p --to r"));
    assert_eq!(folder.json("diff a b --from a --to r", 0)["equal"], true);
    assert_eq!(folder.json("diff a b", 1)["only_left"], 1);

    for key in ["a", "b", "c", "d"] {
        folder.text(&format!("del a {key}"));
    }
    let limited = folder.json("sync a b --max-delete 1", 1);
    assert_eq!(limited["outcome"], "partial");
    let left = folder.text("scan b --from a --to e").lines().count();
    assert_eq!(left, 3, "one of four deletions came");
    folder.json("sync a b", 0);
    assert_eq!(folder.text("scan b --from a --to e"), "");
    assert_eq!(folder.run("sync a b --keyspace nowhere").code, Some(2));
}

#[test]
fn a_keyspace_is_repaired_alone_with_its_name() {
    let folder = replicas();
    folder.text("load a t.tsv --keyspace other");
    let one = folder.json("sync a b --keyspace other", 0);
    assert_eq!(one["entries_sent"], 5, "four rows and the name");
    assert_eq!(folder.text("scan b --keyspace other"), folder.text("scan a --keyspace other"));
    assert_eq!(folder.text("scan b"), "");
}
