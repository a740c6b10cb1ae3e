//! The rows of a table in file order.

use std::io::BufRead;

use syncline::Key;

use super::error::{Error, Problem};
use super::format::Format;
use super::lines::{Lines, ROW_LEN_MAX, newlines, trim_end};

/// One row: its key, and the line's bytes as value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The bytes of the key's field; of a JSON number its text.
    pub(crate) key: Vec<u8>,
    /// The bytes of the row without its line end.
    pub(crate) value: Vec<u8>,
    /// The line at which the row begins, from 1.
    pub(crate) line: u64,
}

/// Reads a table row by row. Empty lines are passed over.
pub(crate) struct Reader<R> {
    file: String,
    lines: Lines<R>,
    parser: Parser,
}

enum Parser {
    Tsv { columns: usize, key: usize },
    Csv { csv: Box<Csv>, columns: usize, key: usize },
    Jsonl { field: String },
}

impl<R: BufRead> Reader<R> {
    /// Begins to read `input`, which errors call `file`. `key` names the column of the key; without it the first one
    /// is taken. Of JSON lines it names a field, and is needed: objects have no first one.
    ///
    /// # Errors
    /// `NoHeader`, `KeyColumn`, `NoKeyField`, or whatever is wrong with the header's line.
    pub(crate) fn new(file: &str, input: R, format: Format, key: Option<&str>) -> Result<Reader<R>, Error> {
        Reader::begin(file, input, format, key).map_err(|problem| Error {
            file: file.to_owned(),
            line: 1,
            problem,
        })
    }

    fn begin(file: &str, input: R, format: Format, key: Option<&str>) -> Result<Reader<R>, Problem> {
        let mut lines = Lines::new(input).map_err(Problem::Read)?;
        let parser = match (format, key) {
            (Format::Tsv, key) => tsv_header(&mut lines, key)?,
            (Format::Csv, key) => csv_header(&mut lines, key)?,
            (Format::Jsonl, Some(field)) => Parser::Jsonl { field: field.to_owned() },
            (Format::Jsonl, None) => return Err(Problem::NoKeyField),
        };
        Ok(Reader { file: file.to_owned(), lines, parser })
    }

    /// The next row; `None` at the end of the table.
    ///
    /// # Errors
    /// Whatever is wrong with the row. The table should not be read on then.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, Error> {
        let mut at = self.lines.line();
        self.parse_row(&mut at).map_err(|problem| Error { file: self.file.clone(), line: at, problem })
    }

    /// `at` is set to the line where the row begins as soon as that is known.
    fn parse_row(&mut self, at: &mut u64) -> Result<Option<Row>, Problem> {
        let mut value = Vec::new();
        let key = match &mut self.parser {
            Parser::Tsv { columns, key } => {
                let Some(line) = self.lines.next(&mut value)? else { return Ok(None) };
                *at = line;
                check_text(&value)?;
                let found = value.split(|&byte| byte == b'\t').count();
                check_count(found, *columns)?;
                value.split(|&byte| byte == b'\t').nth(*key).unwrap_or_default().to_vec()
            }
            Parser::Csv { csv, columns, key } => {
                let Some(line) = csv.next(&mut self.lines, &mut value)? else { return Ok(None) };
                *at = line;
                check_text(&value)?;
                check_count(csv.count, *columns)?;
                csv.field(*key).to_vec()
            }
            Parser::Jsonl { field } => {
                let Some(line) = self.lines.next(&mut value)? else { return Ok(None) };
                *at = line;
                check_text(&value)?;
                json_key(&value, field)?
            }
        };
        if key.is_empty() {
            return Err(Problem::EmptyKey);
        }
        if key.len() > Key::LEN_MAX {
            return Err(Problem::KeyTooLong { len: key.len(), max: Key::LEN_MAX });
        }
        Ok(Some(Row { key, value, line: *at }))
    }
}

fn tsv_header<R: BufRead>(lines: &mut Lines<R>, key: Option<&str>) -> Result<Parser, Problem> {
    let mut line = Vec::new();
    lines.next(&mut line)?.ok_or(Problem::NoHeader)?;
    check_text(&line)?;
    let names: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    Ok(Parser::Tsv { columns: names.len(), key: key_column(&names, key)? })
}

fn csv_header<R: BufRead>(lines: &mut Lines<R>, key: Option<&str>) -> Result<Parser, Problem> {
    let mut csv = Box::new(Csv::new());
    let mut line = Vec::new();
    csv.next(lines, &mut line)?.ok_or(Problem::NoHeader)?;
    check_text(&line)?;
    let names: Vec<&[u8]> = (0..csv.count).map(|index| csv.field(index)).collect();
    let (columns, key) = (names.len(), key_column(&names, key)?);
    Ok(Parser::Csv { csv, columns, key })
}

/// Place of the column `wanted` among `names`.
fn key_column(names: &[&[u8]], wanted: Option<&str>) -> Result<usize, Problem> {
    let Some(wanted) = wanted else { return Ok(0) };
    let mut places = names.iter().enumerate().filter(|(_, name)| **name == wanted.as_bytes());
    let (first, others) = (places.next(), places.count());
    match first {
        Some((place, _)) if others == 0 => Ok(place),
        _ => {
            let header =
                names.iter().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>().join(", ");
            let times = if first.is_some() { others + 1 } else { 0 };
            Err(Problem::KeyColumn { column: wanted.to_owned(), times, header })
        }
    }
}

fn check_text(line: &[u8]) -> Result<(), Problem> {
    std::str::from_utf8(line).map(|_| ()).map_err(|_| Problem::NotUtf8)
}

fn check_count(found: usize, expected: usize) -> Result<(), Problem> {
    if found == expected { Ok(()) } else { Err(Problem::FieldCount { found, expected }) }
}

fn json_key(line: &[u8], field: &str) -> Result<Vec<u8>, Problem> {
    use serde_json::{Map, Value};
    let object: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| Problem::NotJson { what: error.to_string() })?;
    match object.get(field) {
        Some(Value::String(text)) => Ok(text.clone().into_bytes()),
        Some(Value::Number(number)) => Ok(number.to_string().into_bytes()),
        Some(_) => Err(Problem::KeyType { field: field.to_owned() }),
        None => Err(Problem::KeyField { field: field.to_owned() }),
    }
}

/// The CSV machine with room for one record. It works on the raw input, so that the record's own bytes are at hand;
/// the `csv` crate's reader hides them.
struct Csv {
    machine: csv_core::Reader,
    /// The fields of the record, unquoted, one after the other.
    text: Vec<u8>,
    /// Where in `text` each field ends.
    ends: Vec<usize>,
    /// Fields of the record.
    count: usize,
}

impl Csv {
    fn new() -> Csv {
        Csv { machine: csv_core::Reader::new(), text: vec![0; 1024], ends: vec![0; 16], count: 0 }
    }

    /// Field `index` of the record.
    fn field(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start..end).unwrap_or_default()
    }

    /// Reads the next record and its bytes; returns the line it begins at.
    fn next<R: BufRead>(&mut self, lines: &mut Lines<R>, raw: &mut Vec<u8>) -> Result<Option<u64>, Problem> {
        use csv_core::ReadRecordResult::{End, InputEmpty, OutputEndsFull, OutputFull, Record};
        let begin = lines.line();
        let (mut filled, mut count) = (0, 0);
        loop {
            let input = lines.fill().map_err(Problem::Read)?;
            let input_ends = input.is_empty();
            let (result, taken, written, ended) = self.machine.read_record(
                input,
                self.text.get_mut(filled..).unwrap_or_default(),
                self.ends.get_mut(count..).unwrap_or_default(),
            );
            lines.take(taken, raw).map_err(Problem::Read)?;
            filled += written;
            count += ended;
            if raw.len() > ROW_LEN_MAX {
                return Err(Problem::RowTooLong { max: ROW_LEN_MAX });
            }
            match result {
                InputEmpty => {}
                OutputFull => self.text.resize(self.text.len() * 2, 0),
                OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                End => return Ok(None),
                Record => {
                    // The machine closes what is open at the end of its input without a word.
                    if input_ends && raw.iter().filter(|&&byte| byte == b'"').count() % 2 == 1 {
                        return Err(Problem::OpenQuote);
                    }
                    break;
                }
            }
        }
        self.count = count;
        // Empty lines before the record, and the second byte of the line end before it, were taken along with it.
        let blank = raw.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
        let skipped = newlines(raw.get(..blank).unwrap_or_default());
        raw.drain(..blank);
        trim_end(raw);
        if raw.last() == Some(&b'\r') {
            raw.pop();
        }
        Ok(Some(begin + skipped))
    }
}

#[cfg(test)]
mod tests;
