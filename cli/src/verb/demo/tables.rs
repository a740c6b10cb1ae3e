//! The demo's two tables, in the command itself so that it stands alone. `data/README.md` says what they are.

use std::io::BufRead;

use crate::error::{Error, Result};
use crate::host;
use crate::table::{Format, Reader};

type Table = Reader<Box<dyn BufRead>>;

/// Debian bookworm as of a point release.
pub(super) fn base() -> Result<Table> {
    open("debian-bookworm-base.tsv.gz", include_bytes!("../../../../data/debian-bookworm-base.tsv.gz"))
}

/// The same with the updates that came beside it.
pub(super) fn security() -> Result<Table> {
    open(
        "debian-bookworm-security.tsv.gz",
        include_bytes!("../../../../data/debian-bookworm-security.tsv.gz"),
    )
}

fn open(name: &str, packed: &'static [u8]) -> Result<Table> {
    let input = host::unpacked(packed).map_err(Error::io(name))?;
    Reader::new(name, input, Format::Tsv, None).map_err(|error| Error::Table { error, rows_loaded: 0 })
}
