//! What verbs print: aligned words for people, one JSON object for programs.
//!
//! Easy to get wrong: standard output belongs to the answer alone; errors, warnings and progress go to standard error.
//! Nothing is coloured, so there is nothing for `NO_COLOR` to switch off.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value};
use syncline::MemberStatus;
use syncline::replica::KeyName;

use crate::error::{Error, Result};

/// A label and what stands beside it.
pub(crate) type Fact = (&'static str, String);

/// Where a verb's answer goes, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Prints JSON if `json`, else words.
    pub(crate) fn new(json: bool) -> Output {
        Output { json }
    }

    /// Whether JSON is printed.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints the answer: `object`, or `facts` in two columns.
    pub(crate) fn answer(self, object: &Value, facts: &[Fact]) -> Result<()> {
        if self.json { print(format!("{object}\n").as_bytes()) } else { print(columns(facts).as_bytes()) }
    }

    /// Prints a line for people only.
    pub(crate) fn say(self, line: &str) -> Result<()> {
        if self.json { Ok(()) } else { print(format!("{line}\n").as_bytes()) }
    }

    /// Prints what a user should know although nothing failed, to standard error.
    pub(crate) fn warn(self, line: &str) {
        // Nobody is left to be told if standard error is closed.
        let _ = writeln!(io::stderr(), "warning: {line}");
    }

    /// Prints what happened meanwhile, to standard error.
    pub(crate) fn log(self, line: &str) {
        let _ = writeln!(io::stderr(), "{line}");
    }

    /// Prints an error, to standard error.
    pub(crate) fn error(self, message: &str, kind: &str) {
        let line = if self.json {
            serde_json::json!({ "error": message, "kind": kind }).to_string()
        } else {
            format!("error: {message}")
        };
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Writes `bytes` to standard output at once, so that a reader at a pipe's other end has them.
pub(crate) fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Error::io("standard output"))
}

/// Stored bytes as standard output should get them: unchanged, unless a terminal would take some for commands.
pub(crate) fn shown(bytes: &[u8]) -> Cow<'_, [u8]> {
    if io::stdout().is_terminal() { Cow::Owned(escaped(bytes).into_bytes()) } else { Cow::Borrowed(bytes) }
}

/// Stored bytes as text without control characters.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for part in bytes.utf8_chunks() {
        for character in part.valid().chars() {
            match character {
                '\t' => text.push(character),
                _ if character.is_control() => text.extend(character.escape_default()),
                _ => text.push(character),
            }
        }
        for byte in part.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A key as people see it: in the default keyspace by itself, in others after the keyspace's name.
pub(crate) fn key_text(name: &KeyName<'_>) -> String {
    match *name {
        KeyName::User { keyspace: Some("default"), key } => escaped(key),
        KeyName::User { keyspace, key } => {
            format!("{}/{}", escaped(keyspace.unwrap_or("?").as_bytes()), escaped(key))
        }
        _ => "(list of keyspaces)".to_owned(),
    }
}

/// Adds stored bytes to a JSON object: as a string under `name` if they are UTF-8, else in hexadecimal digits under
/// `name_hex`.
pub(crate) fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_hex"), hex(bytes).into()),
    };
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A number with its thousands apart: `63,436`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size: exact below 10,000 bytes, then to a tenth of a unit.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 10_000 {
        return format!("{} bytes", count(bytes));
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if amount < 1000.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

/// How much less `part` is than `whole`, in words.
pub(crate) fn times_less(part: u64, whole: u64) -> String {
    if part == 0 || whole <= part {
        return "no less".to_owned();
    }
    let times = whole as f64 / part as f64;
    if times < 10.0 {
        format!("{times:.1} times less")
    } else {
        format!("{} times less", count(times as u64))
    }
}

/// A moment of the hybrid clock as people see it.
pub(crate) fn ago(hlc: u64, now_ms: u64) -> String {
    match hlc {
        0 => "never".to_owned(),
        _ => match now_ms.saturating_sub(hlc >> 16) / 1000 {
            seconds if seconds < 120 => format!("{seconds} s ago"),
            seconds if seconds < 7_200 => format!("{} min ago", seconds / 60),
            seconds if seconds < 172_800 => format!("{} h ago", seconds / 3_600),
            seconds => format!("{} days ago", seconds / 86_400),
        },
    }
}

/// What a member is to its set. These words are kept from version to version.
pub(crate) fn standing(member: &MemberStatus) -> &'static str {
    match (member.is_expelled, member.is_joining) {
        (true, _) => "expelled",
        (_, true) => "joining",
        _ => "owner",
    }
}

fn columns(facts: &[Fact]) -> String {
    let width = facts.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    facts.iter().fold(String::new(), |mut text, (label, value)| {
        let _ = writeln!(text, "{label:width$}  {value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_reading() {
        assert_eq!(
            [0, 999, 1_000, 63_436, 1_234_567].map(count),
            ["0", "999", "1,000", "63,436", "1,234,567"]
        );
        assert_eq!(size(9_999), "9,999 bytes");
        assert_eq!(size(10_240), "10.0 KiB");
        assert_eq!(size(1023 * 1024), "1.0 MiB");
        assert_eq!(times_less(10, 4_129), "412 times less");
        assert_eq!(times_less(2, 3), "1.5 times less");
        assert_eq!(times_less(3, 2), "no less");
    }

    #[test]
    fn stored_bytes_cannot_command_a_terminal_and_survive_json() {
        assert_eq!(escaped("é\t\x1b[2J\n".as_bytes()), "é\t\\u{1b}[2J\\n");
        assert_eq!(escaped(b"a\xff"), "a\\xff");
        let mut object = Map::new();
        insert_bytes(&mut object, "key", b"a");
        insert_bytes(&mut object, "value", b"\xff\x00");
        assert_eq!(Value::Object(object).to_string(), r#"{"key":"a","value_hex":"ff00"}"#);
    }

    #[test]
    fn a_moment_is_told_in_the_unit_that_fits_it() {
        let at = |seconds: u64| ago((1_000_000_000 - seconds * 1000) << 16, 1_000_000_000);
        assert_eq!([5, 600, 10_000, 400_000].map(at), ["5 s ago", "10 min ago", "2 h ago", "4 days ago"]);
        assert_eq!((ago(0, 7), ago(9 << 16, 7)), ("never".to_owned(), "0 s ago".to_owned()));
    }

    #[test]
    fn facts_stand_in_columns() {
        assert_eq!(
            columns(&[("root", "ab".to_owned()), ("entries", "3".to_owned())]),
            "root     ab\nentries  3\n"
        );
    }
}
