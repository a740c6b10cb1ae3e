//! What a row's key and value are in each format, and what is refused.

use super::*;

fn read(format: Format, key: Option<&str>, table: &[u8]) -> Result<Vec<(String, String, u64)>, Error> {
    // A buffer of three bytes puts every boundary of the input somewhere within a row.
    let input = std::io::BufReader::with_capacity(3, table);
    let mut reader = Reader::new("t", input, format, key)?;
    let mut rows = Vec::new();
    while let Some(row) = reader.next_row()? {
        let text = |bytes| String::from_utf8(bytes).expect("checked by the reader");
        rows.push((text(row.key), text(row.value), row.line));
    }
    Ok(rows)
}

fn problem(format: Format, key: Option<&str>, table: &[u8]) -> String {
    read(format, key, table).expect_err("a problem").to_string()
}

fn row(key: &str, value: &str, line: u64) -> (String, String, u64) {
    (key.to_owned(), value.to_owned(), line)
}

#[test]
fn the_value_is_the_line_as_it_stands_and_the_key_its_field() {
    let tsv = b"name\tsize\r\n\"a\"\t1\r\n\r\nb\t2";
    assert_eq!(
        read(Format::Tsv, None, tsv).expect("reads"),
        [row("\"a\"", "\"a\"\t1", 2), row("b", "b\t2", 4)]
    );
    assert_eq!(read(Format::Tsv, Some("size"), tsv).expect("reads")[1], row("2", "b\t2", 4));

    let csv = b"\xef\xbb\xbfname,size\r\n\"a,\"\"x\"\"\",1\r\n\n\"b\nb\",2\nc,\"\"";
    for key in [None, Some("name")] {
        assert_eq!(
            read(Format::Csv, key, csv).expect("reads"),
            [row("a,\"x\"", "\"a,\"\"x\"\"\",1", 2), row("b\nb", "\"b\nb\",2", 4), row("c", "c,\"\"", 6)]
        );
    }

    let jsonl = b"{\"id\": \"a\\u0041\", \"n\": 1}\n\n {\"n\": 2, \"id\": 7}\n";
    assert_eq!(
        read(Format::Jsonl, Some("id"), jsonl).expect("reads"),
        [row("aA", "{\"id\": \"a\\u0041\", \"n\": 1}", 1), row("7", " {\"n\": 2, \"id\": 7}", 3)]
    );
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    assert_eq!(
        problem(Format::Tsv, None, b""),
        "t:1: the table is empty; its first line has to name the columns"
    );
    assert_eq!(problem(Format::Csv, None, b"\n"), problem(Format::Tsv, None, b"\n"));
    assert_eq!(
        problem(Format::Csv, Some("id"), b"name,size\n"),
        "t:1: there is no column named \"id\"; the header has name, size"
    );
    assert_eq!(
        problem(Format::Tsv, Some("a"), b"a\tb\ta\n"),
        "t:1: there is more than one column named \"a\"; the header has a, b, a"
    );
    assert_eq!(problem(Format::Tsv, None, b"a\tb\n1\t2\n1\n"), "t:3: fields in the row: 1; in the header: 2");
    assert_eq!(
        problem(Format::Csv, None, b"a,b\n\n\n1,2,3\n"),
        "t:4: fields in the row: 3; in the header: 2"
    );
    assert_eq!(
        problem(Format::Csv, None, b"a,b\n1,\"2\n3,4\n"),
        "t:2: a quoted field that begins in this row is never closed"
    );
    assert_eq!(problem(Format::Tsv, None, b"a\tb\n\t2\n"), "t:2: the key is empty");
    assert_eq!(problem(Format::Tsv, None, b"a\n\xff\n"), "t:2: the line is not UTF-8");
    assert_eq!(problem(Format::Csv, None, b"a\nok\n\xff\n"), "t:3: the line is not UTF-8");
    assert!(
        problem(Format::Jsonl, Some("id"), b"{\"id\": 1}\n{\"id\"\n")
            .starts_with("t:2: the line is not a JSON object")
    );
    assert!(problem(Format::Jsonl, Some("id"), b"[1]\n").starts_with("t:1: the line is not a JSON object"));
    assert_eq!(
        problem(Format::Jsonl, Some("id"), b"{\"no\": 1}"),
        "t:1: the object has no field \"id\"; name the key's field with --key"
    );
    assert_eq!(
        problem(Format::Jsonl, Some("id"), b"{\"id\": null}"),
        "t:1: field \"id\" is neither a string nor a number, so it cannot be a key"
    );
    assert_eq!(
        problem(Format::Jsonl, None, b"{}"),
        "t:1: JSON objects have no first field; name the key's field with --key"
    );
    let long = [b"k\n".as_slice(), &vec![b'x'; Key::LEN_MAX + 1]].concat();
    assert_eq!(problem(Format::Tsv, None, &long), "t:2: the key has 65537 bytes; at most 65536 are taken");
}
