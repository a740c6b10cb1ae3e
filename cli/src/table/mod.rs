//! Tables as files: rows of TSV, CSV or JSON lines, plain or gzip, each with its key and its very bytes as value.
//! Used by `load` and by the demo.
//!
//! Easy to get wrong: the value of a row is the line as it stands in the file, without its line end and without
//! being parsed and written again, so that a loaded store gives back exactly what was in the table.

mod error;
mod format;
mod lines;
mod reader;

pub(crate) use error::{Error, Problem};
pub(crate) use format::Format;
pub(crate) use reader::{Reader, Row};
