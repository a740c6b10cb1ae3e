//! The files that verbs draw: they are whole, hold what they should, and no foreign text gets loose in them.

mod common;

use common::Folder;

/// Fails unless every element of `markup` that is opened is closed, in order, and no bare `<` or `&` is left.
fn assert_whole(markup: &str) {
    const VOID: [&str; 2] = ["meta", "br"];
    let mut open = Vec::new();
    let mut parts = markup.split('<');
    assert_eq!(parts.next(), Some(""), "it begins with an element");
    for part in parts.filter(|part| !part.starts_with('!')) {
        let (tag, text) = part.split_once('>').unwrap_or_else(|| panic!("a tag without end: {part}"));
        for after in text.split('&').skip(1) {
            assert!(after.split_once(';').is_some_and(|(name, _)| name.len() < 8), "a bare &: {text}");
        }
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or_default();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "elements nest");
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "every element is closed");
}

#[test]
fn a_difference_is_drawn_and_named_whatever_keys_and_folders_are_called() {
    let folder = Folder::new();
    folder.text("init <a>&");
    folder.text("init b --replica-of <a>&");
    for key in ["<k>", "k&", "\"k", "same"] {
        folder.run_args(&["put", "<a>&", key, "1"]);
    }
    folder.text("sync <a>& b");
    folder.text("del b k&");
    folder.text("put b new 1");
    folder.text("put <a>& <k> 2");
    folder.text("put <a>& more 2 --keyspace c<");
    let run = folder.run("diff <a>& b --svg d.svg --keys 9 --cells 4");
    assert_eq!(run.code, Some(1), "{run:?}");
    for line in [
        "only left    c</more",
        "only right   new",
        "newer left   <k>",
        "newer right  k&",
        "differing ranges",
    ] {
        assert!(run.stdout.contains(line), "{line} in {}", run.stdout);
    }
    let svg = String::from_utf8(folder.read("d.svg")).expect("text");
    assert_whole(&svg);
    for part in [
        "only in &lt;a&gt;&amp;: 2 keys",
        "only in b: 1 keys",
        "newer in &lt;a&gt;&amp;: 1 keys",
        "newer in b: 1 keys",
        "5 of 7 entries differ (71.43 %)",
        "prefers-color-scheme:dark",
        "<desc id=\"description\">The key space as 4 squares",
    ] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    // A part of the key space alone.
    folder.run("diff <a>& b --prefix k --svg part.svg");
    let part = String::from_utf8(folder.read("part.svg")).expect("text");
    assert!(part.contains("1 of 1 entries differ"), "{part}");
    // Seen from the other side, and of equal replicas.
    folder.run("diff b <a>& --svg turned.svg");
    assert!(String::from_utf8_lossy(&folder.read("turned.svg")).contains("only in &lt;a&gt;&amp;: 2 keys"));
    folder.text("sync <a>& b");
    folder.text("diff <a>& b --svg equal.svg");
    assert!(String::from_utf8_lossy(&folder.read("equal.svg")).contains("equal in all 7 entries"));
}

#[test]
fn a_store_is_shown_on_one_whole_page() {
    let folder = Folder::new();
    let long = "x".repeat(20_000);
    folder.text("init s<");
    for key in ["k0", "k1", "k2"] {
        folder.run_args(&["put", "s<", key, &long]);
    }
    folder.text("put s< more 1 --keyspace <b>");
    folder.text("horizon s< --admit 00000000000000ab");
    folder.text("compact s<");
    folder.text("stats s< --html s.html");
    let page = String::from_utf8(folder.read("s.html")).expect("text");
    assert_whole(&page);
    for part in [
        "<h1>Store s&lt;</h1>",
        "default, &lt;b&gt;",
        "<h2>Space</h2>",
        "<td>large values</td>",
        "3 flushed segments are kept",
        "<h2>Runs</h2>",
        "There is one, so a read looks at it alone.",
        "<h2>Merkle index</h2>",
        "00000000000000ab</td><td>joining</td><td>never</td>",
        "prefers-color-scheme:dark",
        "@media print",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("<script"), "nothing runs");
}

#[test]
fn what_was_watched_is_recorded_and_plotted() {
    let folder = Folder::new();
    folder.text("init a");
    folder.text("init b --replica-of a");
    folder.text("put a <k> 1");
    let watched = folder.run("watch a b --every 1ms --count 3 --record r.jsonl --json");
    assert_eq!(watched.code, Some(1), "they differ: {watched:?}");
    let recorded = String::from_utf8(folder.read("r.jsonl")).expect("text");
    let (first, looks) = recorded.split_once('\n').expect("a first line");
    assert_eq!(first, r#"{"cells":["beginning"],"left":"a","recording":1,"right":"b"}"#);
    assert_eq!(looks, watched.stdout, "a line for each look");
    assert_eq!(looks.matches(r#""cells":{"0":1},"newer_left":0,"newer_right":0,"only_left":1"#).count(), 3);
    assert_eq!(
        folder.json("watch a b --count 1 --record r.jsonl", 3)["kind"],
        "io",
        "nothing is overwritten"
    );

    assert_eq!(folder.json("plot r.jsonl --svg r.svg", 0)["looks"], 3);
    let svg = String::from_utf8(folder.read("r.svg")).expect("text");
    assert_whole(&svg);
    for part in ["3 looks in 0 s, equal in 0, at most 1 keys apart", "class=\"m0\"", ">bytes on disk<"] {
        assert!(svg.contains(part), "{part} in {svg}");
    }
    folder.text("sync a b");
    assert_eq!(folder.text("watch a b --count 1"), "     0 s  equal\n");
    folder.text("watch a --count 2 --every 1ms --record one.jsonl");
    folder.text("plot one.jsonl --svg one.svg");
    assert_whole(&String::from_utf8_lossy(&folder.read("one.svg")));
    folder.write("no.jsonl", b"{}\n");
    assert_eq!(folder.json("plot no.jsonl --svg no.svg", 2)["kind"], "usage");
    assert_eq!(folder.json("watch tcp://127.0.0.1:9 --insecure --count 1", 2)["kind"], "usage");
}
