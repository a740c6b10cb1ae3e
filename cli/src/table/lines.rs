//! A table's bytes and its lines: counted, bounded, freed of a byte order mark.

use std::io::{self, BufRead, Chain, Cursor, Read};

use super::error::Problem;

/// Longest row in bytes: the longest value that a store takes.
pub(super) const ROW_LEN_MAX: usize = 64 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Input that knows the number of the line it stands at.
pub(super) struct Lines<R> {
    input: Chain<Cursor<Vec<u8>>, R>,
    /// Line ends passed so far.
    passed: u64,
}

impl<R: BufRead> Lines<R> {
    /// Begins with `input`, after its byte order mark if it has one.
    pub(super) fn new(mut input: R) -> io::Result<Lines<R>> {
        let mut head = Vec::new();
        input.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut head)?;
        if head == BYTE_ORDER_MARK {
            head.clear();
        }
        Ok(Lines { input: Cursor::new(head).chain(input), passed: 0 })
    }

    /// Number of the line at which the next byte lies, from 1.
    pub(super) fn line(&self) -> u64 {
        self.passed + 1
    }

    /// Reads the next line that is not empty into `line`, without its end, and returns its number; `None` at the end.
    pub(super) fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<u64>, Problem> {
        loop {
            line.clear();
            let number = self.line();
            let limit = ROW_LEN_MAX as u64 + 2; // Room for a line end of two bytes.
            if self.input.by_ref().take(limit).read_until(b'\n', line).map_err(Problem::Read)? == 0 {
                return Ok(None);
            }
            if line.last() == Some(&b'\n') {
                self.passed += 1;
            }
            trim_end(line);
            if line.len() > ROW_LEN_MAX {
                return Err(Problem::RowTooLong { max: ROW_LEN_MAX });
            }
            if !line.is_empty() {
                return Ok(Some(number));
            }
        }
    }

    /// The bytes that are buffered; empty at the end of the input.
    pub(super) fn fill(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    /// Appends the next `len` buffered bytes to `taken` and moves on.
    pub(super) fn take(&mut self, len: usize, taken: &mut Vec<u8>) -> io::Result<()> {
        let bytes = self.input.fill_buf()?.get(..len).unwrap_or_default();
        self.passed += newlines(bytes);
        taken.extend_from_slice(bytes);
        self.input.consume(len);
        Ok(())
    }
}

/// Line ends in `bytes`.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// Cuts the line end off, of either kind.
pub(super) fn trim_end(line: &mut Vec<u8>) {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
}
