//! All that the command prints, beside what it printed when somebody last looked at it: help, answers in words and in JSON,
//! and errors. What differs from run to run is masked.
//!
//! Where a change is meant, `UPDATE_SNAPSHOTS=1 cargo test -p syncline-cli --test snapshots` writes the files anew; look at what
//! `git diff` says of them.
#![allow(clippy::disallowed_methods)] // The snapshots are files of this test.

mod common;

use std::fmt::Write as _;

use common::{Folder, Run};
use serde_json::Value;

/// Verbs on stores that are prepared as they go: first this line, then the next.
const LINES: &[&str] = &[
    "load a t.tsv",
    "init b --replica-of a",
    "get a bee",
    "get a none",
    "put a ant red",
    "del a cat",
    "del a --prefix zz",
    "scan a",
    "scan a --keys-only --reverse --limit 1",
    "changes a",
    "digest a",
    "stats a --html a.html",
    "verify a",
    "scrub a --rate 0",
    "horizon a",
    "diff a b",
    "diff a b --keys 9 --svg ab.svg",
    "sync a b --dry-run",
    "sync a b",
    "diff a b",
    "watch a b --count 1 --record r.jsonl",
    "watch a --count 1",
    "plot r.jsonl --svg r.svg",
    "put a dog brown --keyspace other",
    "diff a b --keys 9",
    "doctor a",
    "doctor a b --deep",
    "horizon a --admit 00000000000000ab",
    "doctor a b",
    "sync a b",
    "compact a",
    "checkpoint a c",
    "export a -o a.export",
    "import d a.export",
    "cert ca --out certs",
    "cert peer --out certs --name x",
    "man --out man",
];

/// What is wrong, and what the command says of it.
const ERRORS: &[&str] = &[
    "",
    "fly a",
    "get a",
    "get none k",
    "get a k --keyspace nowhere",
    "put none k v",
    "del a",
    "init a",
    "init e --replica-of none",
    "load a none.tsv",
    "load a t.txt",
    "load a t.tsv --key none",
    "load a bad.csv",
    "changes a --since 99",
    "checkpoint a a",
    "import d t.tsv",
    "diff a a",
    "diff a none",
    "diff a stranger",
    "diff a tcp://127.0.0.1:9",
    "diff a tcp://127.0.0.1:9 --insecure",
    "diff a tls://127.0.0.1:9",
    "diff a http://x",
    "diff a b --svg",
    "diff a b --svg no/folder/d.svg",
    "sync a b --bwlimit fast",
    "serve a",
    "serve a --insecure --listen nowhere",
    "serve a --insecure --listen 127.0.0.1:0 --metrics nowhere",
    "serve a --insecure --grant x=fly",
    "watch a --every 0s",
    "watch tcp://127.0.0.1:9 --insecure",
    "plot t.tsv --svg r.svg",
    "doctor none",
    "horizon a --admit zz",
    "cert peer --out none --name x",
    "completions csh",
];

fn prepare() -> Folder {
    let folder = Folder::new();
    folder.write("t.tsv", b"name\tcolour\tlegs\nant\tblack\t6\nbee\tyellow\t6\ncat\t\t4\n");
    folder
}

/// Compares `text` with the file, or writes it.
fn check(name: &str, text: &str) {
    let path = format!("{}/tests/snapshots/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        return std::fs::write(&path, text).expect("the snapshot is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (expected, found)) in (1..).zip(expected.lines().zip(text.lines())) {
        assert_eq!(expected, found, "line {number} of {name}: UPDATE_SNAPSHOTS=1 if it is meant");
    }
    assert_eq!(expected.lines().count(), text.lines().count(), "lines of {name}");
}

/// A run as a transcript: the line, what it printed to standard output, what it printed to standard error, its code.
fn transcript(line: &str, run: &Run, text: &mut String) {
    let _ = writeln!(text, "$ syncline {line}");
    for line in run.stdout.lines() {
        let _ = writeln!(text, "{}", masked(line));
    }
    for line in run.stderr.lines() {
        let _ = writeln!(text, "! {}", masked(line));
    }
    if let Some(code) = run.code.filter(|&code| code != 0) {
        let _ = writeln!(text, "= {code}");
    }
    text.push('\n');
}

/// `line` without what differs from run to run.
fn masked(line: &str) -> String {
    match serde_json::from_str(line) {
        Ok(mut value @ Value::Object(_)) => {
            mask_json(&mut value);
            value.to_string()
        }
        _ => mask_text(line),
    }
}

/// Names whose numbers depend on secrets, files or clocks.
const VOLATILE: [&str; 27] = [
    "at_ms",
    "buckets",
    "bytes",
    "closed",
    "flushed",
    "garbage_bytes",
    "horizon",
    "live_bytes",
    "log_bytes",
    "logged",
    "memtable_bytes",
    "merged",
    "metadata_bytes",
    "legs",
    "proven",
    "ranges",
    "run_bytes",
    "run_bytes_after",
    "run_bytes_before",
    "runs_after",
    "runs_before",
    "runs",
    "shadowed_entries",
    "space_amplification",
    "value_segment_bytes",
    "write_amplification",
    "written_at_ms",
];

fn mask_json(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if value.is_number() && VOLATILE.contains(&name.as_str()) {
                    *value = "…".into();
                } else {
                    mask_json(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(mask_json),
        Value::String(text) => *text = mask_text(text),
        _ => {}
    }
}

/// Facts whose values are masked as a whole.
const VOLATILE_FACTS: [&str; 16] = [
    "Merkle buckets",
    "bytes moved",
    "bytes of comparing",
    "bytes on disk per byte",
    "bytes written per byte",
    "garbage",
    "in memory",
    "in runs up to",
    "large values",
    "runs ",
    "together",
    "blocks read",
    "size ",
    "stream",
    "differing ranges",
    "round trips",
];

fn mask_text(line: &str) -> String {
    if let Some(label) = VOLATILE_FACTS.iter().find(|label| line.starts_with(**label)) {
        let rest = &line[label.len()..];
        return format!("{label}{}…", &rest[..rest.len() - rest.trim_start().len()]);
    }
    // Digits of roots and nodes, and all numbers of sentences on the machine and on amounts.
    let has_amounts = ["free on its file system", "for each byte", " runs, ", " s  ", " ago"]
        .iter()
        .any(|part| line.contains(part))
        || line.ends_with(" runs");
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let mut masked = String::new();
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        let len = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(len.max(character.len_utf8()));
        let is_hex = word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let is_id = is_hex && matches!(word.len(), 16 | 32) && !word.starts_with("00000000");
        let is_amount = has_amounts && word.bytes().all(|byte| byte.is_ascii_digit());
        masked.push_str(if is_id || is_amount { "…" } else { word });
        rest = after;
    }
    masked
}

/// Fails unless `page` names every field of `value`.
fn assert_explained(value: &Value, page: &str) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
                assert!(is_number || page.contains(&format!("`{name}`")), "docs/json.md explains {name}");
                assert_explained(value, page);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| assert_explained(value, page)),
        _ => {}
    }
}

#[test]
fn the_help_of_every_verb() {
    let folder = prepare();
    let verbs = folder.text("--help");
    let mut text = format!("$ syncline --help\n{verbs}\n");
    let listed = verbs.lines().skip_while(|line| *line != "Commands:").skip(1);
    for verb in
        listed.map_while(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|verb| *verb != "help")
    {
        for line in match verb {
            "cert" => vec!["cert ca --help".to_owned(), "cert peer --help".to_owned()],
            _ => vec![format!("{verb} --help")],
        } {
            let _ = write!(text, "$ syncline {line}\n{}\n", folder.text(&line));
        }
    }
    check("help.txt", &text);
}

#[test]
fn the_answers_in_words() {
    let (folder, mut text) = (prepare(), String::new());
    for line in LINES {
        transcript(line, &folder.run(line), &mut text);
    }
    check("words.txt", &text);
}

#[test]
fn the_answers_in_json() {
    let (folder, mut text) = (prepare(), String::new());
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md")).expect("the page");
    for line in LINES {
        let run = folder.run(&format!("{line} --json"));
        for line in run.stdout.lines().chain(run.stderr.lines()) {
            let object = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_explained(&object, &page);
        }
        transcript(line, &run, &mut text);
    }
    check("json.txt", &text);
}

#[test]
fn the_errors() {
    let (folder, mut text) = (prepare(), String::new());
    folder.text("load a t.tsv");
    folder.text("init b --replica-of a");
    folder.text("init stranger");
    folder.write("t.txt", b"a\n");
    folder.write("bad.csv", b"a,b\n\"x,1\n");
    for line in ERRORS {
        let run = folder.run(line);
        assert!(run.code.is_some_and(|code| code > 1) || *line == "import d t.tsv", "{line}: {run:?}");
        transcript(line, &run, &mut text);
        let json = folder.run(&format!("{line} --json")).stderr;
        if let Ok(Value::Object(object)) = serde_json::from_str(&json) {
            let _ = writeln!(text, "{}\n", object["kind"]);
        }
    }
    check("errors.txt", &text);
}

#[test]
fn scripts_for_shells_know_every_verb_and_pages_of_the_manual_every_option() {
    let folder = prepare();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.text(&format!("completions {shell}"));
        assert!(
            ["doctor", "watch", "--replica-of"]
                .iter()
                .all(|part| { script.contains(part) || script.contains(part.trim_start_matches('-')) })
        );
    }
    folder.text("man --out man");
    let page = String::from_utf8(folder.read("man/syncline-cert-peer.1")).expect("text");
    assert!(page.contains(".TH syncline-cert-peer 1") && page.contains("\\fB\\-\\-host\\fR"), "{page}");
}
