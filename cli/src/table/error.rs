//! What can be wrong with a table: always with the file and the line, so that an editor can be pointed at it.

use std::io;

/// A table that could not be read, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub(crate) struct Error {
    /// The file as it was named.
    pub(crate) file: String,
    /// The line at which the row begins, from 1.
    pub(crate) line: u64,
    /// What is wrong there.
    pub(crate) problem: Problem,
}

/// What is wrong with a line, and what would be right.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The file ended before any line.
    #[error("the table is empty; its first line has to name the columns")]
    NoHeader,
    /// The header has no such column, or has it twice.
    #[error("there {} named {column:?}; the header has {header}", if *.times == 0 { "is no column" } else { "is more than one column" })]
    KeyColumn {
        /// The column asked for.
        column: String,
        /// How often the header has it.
        times: usize,
        /// The columns that there are.
        header: String,
    },
    /// JSON lines, and nobody said which field is the key.
    #[error("JSON objects have no first field; name the key's field with --key")]
    NoKeyField,
    /// A JSON object without the key's field.
    #[error("the object has no field {field:?}; name the key's field with --key")]
    KeyField {
        /// The field asked for.
        field: String,
    },
    /// A JSON key that is neither a string nor a number.
    #[error("field {field:?} is neither a string nor a number, so it cannot be a key")]
    KeyType {
        /// The field.
        field: String,
    },
    /// A row of another length than the header.
    #[error("fields in the row: {found}; in the header: {expected}")]
    FieldCount {
        /// Fields in the row.
        found: usize,
        /// Fields in the header.
        expected: usize,
    },
    /// The key's field is empty.
    #[error("the key is empty")]
    EmptyKey,
    /// The key is longer than a store takes.
    #[error("the key has {len} bytes; at most {max} are taken")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The most that is taken.
        max: usize,
    },
    /// The row is longer than a store takes, or a quote is open to far beyond it.
    #[error("the row has more than {max} bytes")]
    RowTooLong {
        /// The most that is taken.
        max: usize,
    },
    /// Bytes that are no text.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// A line that is no JSON object.
    #[error("the line is not a JSON object: {what}")]
    NotJson {
        /// What the parser said.
        what: String,
    },
    /// The file ended within a quoted field.
    #[error("a quoted field that begins in this row is never closed")]
    OpenQuote,
    /// The file could not be read on.
    #[error("{0}")]
    Read(#[source] io::Error),
}
