//! The verbs that work on one store: what they print, their exit codes, and what they say of bad input.

mod common;

use std::io::Write;

use common::{Folder, keys};
use serde_json::json;

const TABLE: &[u8] = b"name\tcolour\tlegs\nant\tblack\t6\nbee\tyellow\t6\ncat\t\t4\n";

#[test]
fn what_was_loaded_is_found_changed_and_scanned() {
    let folder = Folder::new();
    folder.write("t.tsv", TABLE);
    let loaded = folder.json("load s t.tsv", 0);
    assert_eq!(loaded["rows"], 3);
    assert_eq!(loaded["entries"], 3);
    assert_eq!(folder.text("get s bee"), "bee\tyellow\t6\n");
    assert_eq!(
        folder.json("get s bee", 0),
        json!({ "key": "bee", "found": true, "value": "bee\tyellow\t6" })
    );

    assert_eq!(folder.text("scan s"), "ant\tant\tblack\t6\nbee\tbee\tyellow\t6\ncat\tcat\t\t4\n");
    assert_eq!(folder.text("scan s --keys-only --reverse"), "cat\nbee\nant\n");
    assert_eq!(folder.text("scan s --keys-only --from b --to cat"), "bee\n");
    assert_eq!(folder.text("scan s --keys-only --prefix c"), "cat\n");
    assert_eq!(
        folder.json("scan s --keys-only --reverse --limit 2", 0),
        json!({ "entries": [{ "key": "cat" }, { "key": "bee" }], "count": 2 })
    );

    let before = folder.json("digest s", 0);
    assert_eq!(keys(&before), ["entries", "root", "tombstones"]);
    assert_eq!(before["root"].as_str().map(str::len), Some(32));
    assert_eq!(folder.json("put s ant red", 0)["replaced"], true);
    assert_eq!(folder.text("get s ant"), "red\n");
    assert_eq!(folder.json("del s ant", 0)["found"], true);
    assert_eq!(folder.json("del s ant", 1)["found"], false);
    assert_eq!(folder.json("get s ant", 1), json!({ "key": "ant", "found": false }));
    let after = folder.json("digest s", 0);
    assert_eq!((&after["entries"], &after["tombstones"]), (&json!(2), &json!(1)));
    assert_ne!(after["root"], before["root"]);

    assert_eq!(folder.json("verify s", 0)["problems"], json!([]));
    folder.text("compact s");
    assert_eq!(folder.json("digest s", 0), after);
    assert_eq!(folder.json("stats s", 0)["entries"], 2);
}

#[test]
fn a_prefix_or_a_range_is_deleted_and_never_by_accident_everything() {
    let folder = Folder::new();
    folder.write("t.tsv", b"k\na1\na2\nb\nc\nd\n");
    folder.text("load s t.tsv");
    assert_eq!(folder.json("del s --prefix a", 0), json!({ "deleted": 2 }));
    assert_eq!(folder.text("del s --from c --to d"), "deleted  1\n");
    assert_eq!(folder.text("scan s --keys-only"), "b\nd\n");
    assert_eq!(folder.json("del s", 2)["kind"], "usage");
    assert_eq!(folder.json("del s b --prefix a", 2)["kind"], "usage");
    assert_eq!(folder.json("del s --from c", 0), json!({ "deleted": 1 }));
    assert_eq!(folder.text("scan s --keys-only"), "b\n");
}

#[test]
fn changes_are_printed_from_a_cursor_on_as_long_as_the_log_is_kept() {
    let folder = Folder::new();
    folder.text("init s --retain-log 100000000");
    folder.text("put s ant black");
    folder.text("put s bee yellow --keyspace other");
    let changes = folder.json("changes s", 0);
    let cursor = changes["cursor"].as_u64().expect("a number");
    assert_eq!(changes["changes"][1]["keyspace"], "other");
    assert_eq!(changes["changes"][1]["value"], "yellow");
    folder.text("compact s");
    folder.text("del s ant");
    assert_eq!(
        folder.text(&format!("changes s --since {cursor}")),
        format!("{}\tdel\tdefault\tant\n", cursor + 1)
    );
    assert_eq!(folder.json("changes s", 0)["changes"].as_array().map(Vec::len), Some(3));
    assert_eq!(folder.json("changes s --since 99", 2)["kind"], "usage");
    folder.text("init t");
    folder.text("put t ant black");
    folder.text("compact t");
    assert_eq!(folder.json("changes t", 3)["kind"], "too_old");
}

#[test]
fn whoever_follows_hears_of_changes_beside_the_writer_and_can_go_on_later() {
    let folder = Folder::new();
    folder.text("init s --retain-log 100000000");
    folder.text("put s ant black");
    let mut follower = folder.start("changes s --follow --json");
    let object =
        |line: String| serde_json::from_str::<serde_json::Value>(&line).expect("an object in each line");
    assert_eq!(object(follower.line())["key"], "ant");
    folder.text("put s bee yellow");
    assert_eq!(object(follower.line())["value"], "yellow");
    folder.text("compact s");
    folder.text("del s ant");
    assert_eq!(object(follower.line())["change"], "delete");
    follower.signal("INT");
    let end = object(follower.line());
    assert_eq!((follower.line(), follower.close().expect("it ends").code()), (String::new(), Some(0)));
    folder.text("put s cat white");
    let rest = folder.run(&format!("changes s --since {}", end["cursor"]));
    assert!(rest.stdout.ends_with("put\tdefault\tcat\n") && rest.stdout.lines().count() == 1, "{rest:?}");
    let cursor = rest.stdout.split('\t').next().expect("a seqno");
    assert_eq!(rest.stderr, format!("go on with --since {cursor}\n"));
}

#[test]
fn sorted_rows_come_in_whole_or_not_at_all() {
    let folder = Folder::new();
    folder.write("t.tsv", b"k\tv\na\t1\nb\t2\nd\t3\n");
    assert_eq!(folder.json("load s t.tsv --sorted", 0)["rows"], 3);
    assert_eq!(folder.text("scan s --keys-only"), "a\nb\nd\n");
    assert_eq!(folder.json("verify s", 0)["problems"], json!([]));
    folder.write("unsorted.tsv", b"k\tv\nc\t1\nb\t2\n");
    let error = folder.json("load s unsorted.tsv --sorted", 2);
    assert!(error["error"].as_str().is_some_and(|text| text.contains("\"b\"")), "{error}");
    folder.write("bad.tsv", b"k\tv\nx\t1\ny\n");
    assert_eq!(folder.json("load s bad.tsv --sorted", 3)["kind"], "table");
    assert_eq!(folder.text("scan s --keys-only"), "a\nb\nd\n");
}

#[test]
fn a_store_keeps_to_the_compression_that_it_was_made_with() {
    let folder = Folder::new();
    let rows: String = (0..2_000).map(|row| format!("key {row:05}\tthe same in every row\n")).collect();
    folder.write("t.tsv", format!("k\tv\n{rows}").as_bytes());
    let bytes = |store: &str, init: &str| {
        folder.text(&format!("init {store} {init}"));
        folder.text(&format!("load {store} t.tsv --sorted"));
        let stats = folder.json(&format!("stats {store}"), 0);
        (stats["compression"].clone(), stats["run_bytes"].as_u64().expect("a number"))
    };
    let (plain, compressed) = (bytes("p", ""), bytes("c", "--compression lz4"));
    assert_eq!((&plain.0, &compressed.0), (&json!("none"), &json!("lz4")));
    assert!(compressed.1 < plain.1 / 2, "{plain:?}, {compressed:?}");
}

#[test]
fn every_format_is_read_packed_or_not_and_any_column_can_be_the_key() {
    let folder = Folder::new();
    folder.write("t.csv", b"name,id\n\"one, or more\",1\ntwo,2\n");
    folder.write("t.jsonl", b"{\"id\": 3, \"name\": \"three\"}\n");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(TABLE).expect("packs");
    folder.write("t.tsv.gz", &packed.finish().expect("packs"));
    folder.write("rows", TABLE);
    folder.text("load s t.csv --key id");
    folder.text("load s t.jsonl --key id");
    folder.text("load s t.tsv.gz");
    assert_eq!(
        folder.text("scan s --to a"),
        "1\t\"one, or more\",1\n2\ttwo,2\n3\t{\"id\": 3, \"name\": \"three\"}\n"
    );
    assert_eq!(folder.text("get s cat"), "cat\t\t4\n");
    assert_eq!(folder.json("load s rows", 2)["kind"], "usage");
    folder.text("load s rows --format tsv --key legs --keyspace by-legs");
    assert_eq!(folder.text("scan s --keyspace by-legs --keys-only"), "4\n6\n");
    assert_eq!(folder.json("get s 4 --keyspace by-leg", 2)["kind"], "usage");
}

#[test]
fn bad_tables_name_file_and_line_and_what_was_loaded_before() {
    let folder = Folder::new();
    folder.write("t.tsv", TABLE);
    let error = folder.json("load s t.tsv --key nam", 2);
    assert_eq!(keys(&error), ["error", "kind"]);
    assert!(error["error"].as_str().is_some_and(|text| text.contains("name, colour, legs")), "{error}");
    assert!(!folder.path().join("s").exists(), "a wrong column makes no store");

    folder.write("short.tsv", b"a\tb\n1\t2\n3\t4\n5\n6\t7\n");
    let run = folder.run("load s short.tsv");
    assert_eq!(run.code, Some(3));
    assert_eq!(
        run.stderr,
        "error: short.tsv:4: fields in the row: 1; in the header: 2. \
         The 2 rows before it are in the store; mend the table and load it again\n"
    );
    assert_eq!(folder.text("scan s --keys-only"), "1\n3\n");

    folder.write("bad.jsonl", b"{\"id\"}\n");
    assert_eq!(folder.json("load s bad.jsonl --key id", 3)["kind"], "table");
    folder.write("bad.csv", b"id\n\xff\n");
    assert_eq!(folder.json("load s bad.csv", 3)["kind"], "table");
    folder.write("cut.tsv.gz", &[0x1f, 0x8b, 8, 0]);
    assert_eq!(folder.json("load s cut.tsv.gz", 3)["kind"], "io");
    assert_eq!(folder.json("load s none.tsv", 3)["kind"], "io");
}

#[test]
fn a_key_that_comes_twice_is_said_aloud_and_the_last_row_counts() {
    let folder = Folder::new();
    folder.write("t.tsv", b"k\tv\na\t1\nb\t1\na\t2\nb\t2\na\t3\n");
    let run = folder.run("load s t.tsv");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("3 rows") && run.stderr.contains("\"a\" in line 4"), "{run:?}");
    assert_eq!(folder.text("get s a"), "a\t3\n");
    assert_eq!(folder.json("load s t.tsv", 0)["first_duplicate"], "a");
}

#[test]
fn errors_of_stores_have_a_kind_an_exit_code_and_a_next_step() {
    let folder = Folder::new();
    for line in ["get none k", "scan none", "stats none", "verify none", "digest none", "put none k v"] {
        let error = folder.json(line, 3);
        assert_eq!(error["kind"], "not_found", "{line}");
        assert!(error["error"].as_str().is_some_and(|text| text.contains("syncline init")), "{error}");
    }
    assert!(!folder.path().join("none").exists());
    folder.text("init s");
    assert_eq!(folder.json("init s", 3)["kind"], "occupied");
    assert_eq!(folder.json("get s", 2)["kind"], "usage");
    assert_eq!(folder.json("frobnicate", 2)["kind"], "usage");
    assert_eq!(folder.run("scan s --prefix a --from b").code, Some(2));
    assert_eq!(folder.run("--help").code, Some(0));
}

#[test]
fn a_checkpoint_is_a_store_of_its_own_with_the_same_root() {
    let folder = Folder::new();
    folder.write("t.tsv", TABLE);
    folder.text("load s t.tsv");
    let before = folder.json("digest s", 0);
    let made = folder.json("checkpoint s copy", 0);
    assert_eq!(keys(&made), ["copied_files", "dir", "linked_files", "newest_commit"]);
    assert_eq!(folder.json("checkpoint s copy", 3)["kind"], "occupied");
    folder.text("put s ant red");
    assert_eq!(folder.json("digest copy", 0), before);
    assert_eq!(folder.json("diff s copy", 1)["newer_left"], 1);
}

#[test]
fn an_exported_stream_makes_an_equal_store_and_half_of_it_is_an_error() {
    let folder = Folder::new();
    folder.write("t.tsv", TABLE);
    folder.text("load s t.tsv");
    folder.text("del s bee");
    folder.text("load s t.tsv --key legs --keyspace by-legs");
    let written = folder.json("export s -o stream", 0);
    assert_eq!(keys(&written), ["bytes", "entries", "file", "root"]);
    let imported = folder.json("import copy stream", 0);
    assert_eq!((&imported["root"], &imported["applied"]), (&written["root"], &written["entries"]));
    assert_eq!(folder.json("digest copy", 0), folder.json("digest s", 0));
    assert_eq!(folder.json("import copy stream", 0)["covered"], written["entries"]);
    assert_eq!(folder.json("diff s copy", 0)["equal"], true);

    let stream = folder.read("stream");
    folder.write("half", &stream[..stream.len() - 1]);
    assert_eq!(folder.json("import other half", 1)["kind"], "stream");
    folder.text("init stranger");
    assert_eq!(folder.json("import stranger stream", 2)["kind"], "usage");
}

#[test]
fn a_store_that_is_open_elsewhere_is_locked_for_writers_and_open_to_readers() {
    let folder = Folder::new();
    folder.text("init s");
    let mut writer = folder.start("demo-writer s");
    let mut rows = writer.child.stdin.take().expect("piped");
    rows.write_all(b"key\tvalue\n").expect("the writer reads");
    assert_eq!(writer.line(), "key\n");
    assert_eq!(folder.text("get s key"), "key\tvalue\n");
    assert_eq!(folder.text("scan s --keys-only"), "key\n");
    assert_eq!(folder.json("verify s", 0)["entries"], 1);
    assert_eq!(folder.json("stats s", 0)["entries"], folder.json("digest s", 0)["entries"]);
    folder.text("init r --replica-of s");
    assert_eq!(folder.json("diff s r", 1)["only_left"], 1);
    let error = folder.json("put s key other", 3);
    assert_eq!(error["kind"], "locked");
    assert!(
        error["error"].as_str().is_some_and(|text| text.contains("open elsewhere. End the process")),
        "{error}"
    );
    drop(rows);
    assert!(writer.child.wait().expect("the writer ends").success());
    assert_eq!(folder.text("get s key"), "key\tvalue\n");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = Folder::new();
    let rows: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    folder.write("t.tsv", format!("n\n{rows}").as_bytes());
    folder.text("load s t.tsv");
    let mut scan = folder.start("scan s");
    scan.line();
    assert!(scan.close().expect("the scan ends").success());
}

#[test]
fn bytes_that_are_no_text_are_kept_and_shown_in_hexadecimal_digits() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    folder.text("init s");
    let put = std::process::Command::new(env!("CARGO_BIN_EXE_syncline"))
        .current_dir(folder.path())
        .args(["put", "s", "k"])
        .arg(OsStr::from_bytes(b"\xff\x01"))
        .output();
    assert!(put.expect("the command runs").status.success());
    assert_eq!(folder.json("get s k", 0)["value_hex"], "ff01");
}

#[test]
fn damage_is_found_by_verify_and_never_read_as_absence() {
    let folder = Folder::new();
    folder.write("t.tsv", TABLE);
    folder.text("load s t.tsv");
    folder.text("compact s");
    assert_eq!(folder.json("scrub s", 0)["sound"], true);
    folder.damage_run("s");
    let found = folder.json("verify s", 1);
    assert_eq!(found["sound"], false);
    assert_ne!(found["problems"], json!([]));
    assert_eq!(folder.json("scrub s --rate 0", 1)["sound"], false);
    assert_eq!(folder.json("get s bee", 1)["kind"], "unknown");
    assert_eq!(folder.run("scan s").code, Some(1));
    // Whoever writes gets past it, and remembers.
    folder.text("put s another one");
    folder.text("compact s");
    assert_eq!(folder.json("stats s", 0)["unknown"].as_array().map(Vec::len), Some(1));
    assert_eq!(folder.json("get s bee", 1)["kind"], "unknown");
    assert_eq!(folder.json("digest s", 1)["kind"], "unknown");
}

#[test]
fn a_set_of_one_deletes_for_good_and_says_so() {
    let folder = Folder::new();
    folder.text("init s");
    assert_eq!(folder.json("horizon s", 0)["members"], json!([]));
    folder.text("put s key value");
    folder.text("del s key");
    let closed = folder.json("horizon s --close 7200", 0);
    assert_eq!(closed["horizon"], closed["proven"]);
    assert_eq!(closed["members"][0]["standing"], "owner");
    assert_eq!(closed["members"][0]["node"], closed["node"]);
    // What was deleted a moment ago stays: nothing goes by chance.
    assert_eq!(folder.json("stats s", 0)["tombstones"], 1);
    let admitted = folder.json("horizon s --admit 00000000000000ff", 0);
    let standings = admitted["members"]
        .as_array()
        .map(|members| members.iter().map(|member| &member["standing"]).collect::<Vec<_>>());
    assert!(standings.is_some_and(|standings| standings.contains(&&json!("joining"))));
    assert_eq!(admitted["held_by"].as_array().map(Vec::len), Some(2));
    let expelled = folder.json("horizon s --expel ff", 0);
    assert_eq!(expelled["held_by"], json!([]));
    assert_eq!(folder.json("horizon s --expel 7", 2)["kind"], "usage");
}
