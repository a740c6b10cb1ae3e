//! Bugs in what a store remembers of itself: a change of the manifest that is there and not heeded at the next opening.
//!
//! Easy to get wrong: changes have no lengths, so all kinds that a row makes must be known here, or a frame is left as it is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use syncline::Slice;
use syncline::vfs::ReadableFile;

use super::files::Repaired;
use super::{Bug, Planted};
use crate::checksums::{self, varint};
use crate::hook::{Hook, Hooked};

pub(super) const PLANTED: &[Planted] = &[
    Planted {
        name: "a torn tail of the log is left in place",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, Forgets(LOG_END)))),
        rows: &["F3"],
        states_max: 50_000,
    },
    Planted {
        name: "an unknown span is forgotten, so that an older version shows",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, Forgets(UNKNOWN)))),
        rows: &["F8"],
        states_max: 1_000,
    },
    Planted {
        name: "merges drop tombstones an hour early",
        bug: Bug::Files(|vfs| Arc::new(Hooked::new(vfs, Early))),
        rows: &["F17"],
        states_max: 2_000,
    },
];

const HOUR_MS: u64 = 3_600_000;

const HORIZON: u8 = 3;
const LOG_END: u8 = 5;
const UNKNOWN: u8 = 18;

/// Bytes of a file's header, and of what comes before a frame's payload.
const HEADER_LEN: usize = 16;
const FRAME_LEN: usize = 8;

/// Overlooks the changes of one kind.
#[derive(Debug)]
struct Forgets(u8);

impl Hook for Forgets {
    fn opened(&self, path: &Path, file: Arc<dyn ReadableFile>) -> io::Result<Arc<dyn ReadableFile>> {
        rewritten(path, file, |tag, change| if tag == self.0 { Vec::new() } else { change.to_vec() })
    }
}

/// Takes a horizon for an hour higher than it is.
#[derive(Debug)]
struct Early;

impl Hook for Early {
    fn opened(&self, path: &Path, file: Arc<dyn ReadableFile>) -> io::Result<Arc<dyn ReadableFile>> {
        rewritten(path, file, |tag, change| match change.get(1..).and_then(<[u8]>::first_chunk) {
            Some(hlc) if tag == HORIZON && hlc != &[0; 8] => {
                let hlc = u64::from_le_bytes(*hlc) + (HOUR_MS << 16);
                [&[tag][..], &hlc.to_le_bytes()].concat()
            }
            _ => change.to_vec(),
        })
    }
}

/// A manifest of which each change is replaced by what `edit` makes of its tag and bytes; any other file as it is.
fn rewritten(
    path: &Path,
    file: Arc<dyn ReadableFile>,
    edit: impl Fn(u8, &[u8]) -> Vec<u8>,
) -> io::Result<Arc<dyn ReadableFile>> {
    if path.extension().is_none_or(|extension| extension != "manifest") {
        return Ok(file);
    }
    let len = usize::try_from(file.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let bytes = file.read(0, len)?.to_vec();
    let frames = checksums::frames(&bytes);
    let end = frames.last().map_or(HEADER_LEN.min(bytes.len()), |frame| frame.end);
    let mut out = bytes[..HEADER_LEN.min(bytes.len())].to_vec();
    for (index, frame) in frames.into_iter().enumerate() {
        let payload = &bytes[frame.start + FRAME_LEN..frame.end];
        let edited = match changes(payload) {
            // The first frame says who the store is.
            Some(changes) if index > 0 => {
                changes.into_iter().flat_map(|change| edit(change[0], change)).collect()
            }
            _ => payload.to_vec(),
        };
        // A frame without a payload would end the file.
        if !edited.is_empty() {
            out.extend_from_slice(&(edited.len() as u32).to_le_bytes());
            out.extend_from_slice(&[0; FRAME_LEN - 4]);
            out.extend_from_slice(&edited);
        }
    }
    let torn = bytes.get(end..).unwrap_or_default();
    checksums::repair(path, &mut out);
    out.extend_from_slice(torn);
    Ok(Arc::new(Repaired(Slice::from(out))))
}

/// What a change is made of.
enum Field {
    /// So many bytes.
    Fixed(usize),
    Varint,
    /// A length and so many bytes.
    Bytes,
    /// A count and so many varints.
    Varints,
    /// A key range.
    Range,
}

/// The fields of the changes with this tag, as `docs/format.md` has them.
fn fields(tag: u8) -> Option<&'static [Field]> {
    use Field::{Bytes, Fixed, Range, Varint, Varints};
    Some(match tag {
        1 => &[Fixed(8), Varint],
        2 => &[],
        HORIZON => &[Fixed(8)],
        4 => &[Varint, Fixed(8), Varint],
        LOG_END | 6 => &[Varint, Varint],
        7 | 10 | 12 | 14 | 15 => &[Varint],
        8 | 9 => &[Varints],
        11 => &[Varint, Varint, Varint, Varint],
        13 => &[Varint, Varint, Varint],
        16 | 21 => &[Bytes],
        17 => &[Varint, Range],
        UNKNOWN => &[Range, Fixed(8)],
        19 => &[Range],
        20 => &[Bytes, Fixed(32)],
        32 => &[Fixed(2)],
        _ => return None,
    })
}

/// Splits an edit into its changes, each with its tag.
fn changes(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut changes, mut rest) = (Vec::new(), payload);
    while let Some((tag, mut after)) = rest.split_first() {
        for field in fields(*tag)? {
            match field {
                Field::Fixed(len) => after = after.get(*len..)?,
                Field::Varint => drop(varint(&mut after)?),
                Field::Bytes => after = bytes(after)?,
                Field::Varints => {
                    for _ in 0..varint(&mut after)? {
                        varint(&mut after)?;
                    }
                }
                Field::Range => {
                    let (has_end, left) = bytes(after)?.split_first()?;
                    after = if *has_end == 1 { bytes(left)? } else { left };
                }
            }
        }
        let (change, left) = rest.split_at(rest.len() - after.len());
        changes.push(change);
        rest = left;
    }
    Some(changes)
}

/// What follows a length and so many bytes.
fn bytes(mut rest: &[u8]) -> Option<&[u8]> {
    let len = varint(&mut rest)?;
    rest.get(len..)
}
