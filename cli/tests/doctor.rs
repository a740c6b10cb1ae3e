//! What `doctor` finds in stores that are well, and in stores with each of the troubles that a test can make.

mod common;

use common::Folder;
use serde_json::{Value, json};

/// The finding of this check about this store.
fn finding<'a>(report: &'a Value, store: &str, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["store"] == store && finding["check"] == check);
    found.unwrap_or_else(|| panic!("{check} of {store} in {report}"))
}

/// Fails unless the finding is this bad, says so, and says what to do about it.
fn assert_found(report: &Value, store: &str, check: &str, severity: &str, part: &str) {
    let finding = finding(report, store, check);
    assert_eq!(finding["severity"], severity, "{finding}");
    assert!(finding["what"].as_str().is_some_and(|what| what.contains(part)), "{finding}");
    assert_eq!(finding["next"].is_string(), severity != "fine", "{finding}");
}

fn replicas() -> Folder {
    let folder = Folder::new();
    folder.write("t.tsv", b"k\tv\na\t1\nb\t1\n");
    folder.text("load a t.tsv");
    folder.text("init b --replica-of a");
    folder.text("sync a b");
    folder
}

#[test]
fn two_sound_replicas_are_fine_and_one_that_is_behind_is_told_how_to_be_repaired() {
    let folder = replicas();
    let report = folder.json("doctor a b --deep", 0);
    assert_eq!(report["worst"], "fine", "{report}");
    for check in ["lock", "opening", "disk", "space", "writes", "runs", "clock", "horizon", "damage"] {
        assert_eq!(finding(&report, "b", check)["severity"], "fine");
    }
    folder.text("put a new 1");
    let report = folder.json("doctor a b", 1);
    assert_found(&report, "b", "divergence", "warning", "1 keys differ: 1 only here");
    assert!(folder.run("doctor a b").stdout.contains("what to do: Repair them with `syncline sync a b`"));
}

#[test]
fn whoever_has_a_store_open_is_named() {
    let folder = replicas();
    let mut server = folder.start("serve a --listen 127.0.0.1:0 --insecure --json");
    server.line();
    let report = folder.json("doctor a", 0);
    assert_eq!(report["worst"], "note");
    assert_found(&report, "a", "lock", "note", &format!("process {} (syncline)", server.child.id()));
    assert_eq!(server.end("TERM"), Some(0));
    assert_eq!(folder.json("doctor a", 0)["worst"], "fine");
}

#[test]
fn damage_copies_and_strangers_are_problems() {
    let folder = replicas();
    folder.text("init stranger");
    let report = folder.json("doctor a stranger", 1);
    assert_found(&report, "stranger", "peer", "problem", "another replica set");

    let copied =
        std::process::Command::new("cp").args(["-r", "a", "copy"]).current_dir(folder.path()).status();
    assert!(copied.expect("cp runs").success());
    let report = folder.json("doctor a copy", 1);
    assert_found(&report, "copy", "peer", "problem", "same node id");

    folder.text("compact a");
    folder.damage_run("a");
    let report = folder.json("doctor a --deep", 1);
    assert_found(&report, "a", "damage", "problem", ".run");
    assert_eq!(report["worst"], "problem");

    let name = folder.file_of("b", "manifest");
    let mut manifest = folder.read(&name);
    manifest[8] = 99;
    folder.write(&name, &manifest);
    let report = folder.json("doctor b", 1);
    assert_found(&report, "b", "opening", "problem", ".manifest");
    assert_eq!(folder.json("doctor none", 3)["kind"], "not_found");
    assert_eq!(folder.json("doctor stranger stranger", 2)["kind"], "usage");
}

#[test]
fn a_killed_writer_and_a_member_that_has_yet_to_join_are_notes() {
    let folder = replicas();
    folder.text("horizon a --admit 00000000000000ab");
    assert_found(&folder.json("doctor a", 0), "a", "members", "note", "00000000000000ab");
    let mut writer = folder.start("demo-writer a");
    writer.say("key\tvalue\n");
    assert!(!writer.line().is_empty(), "the row is acknowledged");
    assert_eq!(writer.end("KILL"), None);
    let report = folder.json("doctor a", 0);
    assert_found(&report, "a", "ring", "note", "1 commits are in the staging ring alone");
    assert_eq!(report["worst"], json!("note"));
}
