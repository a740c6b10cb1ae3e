//! Checksums of a store's files, as `docs/format.md` describes them: enough to make them right again, for a planted bug
//! that does not look at them and for trying what lies behind them.
//!
//! Easy to get wrong: a checksum takes in where its bytes lie, so it is made for the place and the file. What is too damaged to
//! be found by following lengths is left as it is.

use std::ops::Range;
use std::path::Path;

/// Bytes before the first frame of a segment, a manifest or a Merkle file: the header that every file has.
const HEADER_LEN: usize = 16;

/// Bytes before a frame's payload: length and checksum.
const FRAME_LEN: usize = 8;

/// Bytes at the end of a run.
const TRAILER_LEN: usize = 40;

/// Makes the checksums of the file at `path` right, as far as its parts can be found.
pub fn repair(path: &Path, bytes: &mut [u8]) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name == "RING" {
        return repair_ring(bytes);
    }
    let Some((digits, extension)) = name.split_once('.') else { return };
    let Ok(number) = digits.parse::<u64>() else { return };
    if let Some((header, checksum)) =
        bytes.get_mut(..HEADER_LEN).and_then(|bytes| bytes.split_at_mut_checked(12))
    {
        checksum.copy_from_slice(&crc32fast::hash(header).to_le_bytes());
    }
    match extension {
        "log" => repair_frames(bytes, HEADER_LEN, |at, len| {
            [number as u32, at as u32, len].map(u32::to_le_bytes).concat()
        }),
        "manifest" | "merkle" => repair_frames(bytes, HEADER_LEN, |at, len| {
            [&(at as u64).to_le_bytes()[..], &len.to_le_bytes()].concat()
        }),
        "run" => {
            let _ = repair_run(number, bytes);
        }
        _ => {}
    }
}

/// Where the frames of a segment, a manifest or a Merkle file begin and end, for as long as lengths lead from one to the
/// next and stay within `bytes`.
pub fn frames(bytes: &[u8]) -> Vec<Range<usize>> {
    frames_from(bytes, HEADER_LEN)
}

fn frames_from(bytes: &[u8], first: usize) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut at = first;
    while let Some(len) = bytes.get(at..).and_then(<[u8]>::first_chunk)
        && let len @ 1.. = u32::from_le_bytes(*len) as usize
        && let end = at.saturating_add(FRAME_LEN + len)
        && end <= bytes.len()
    {
        frames.push(at..end);
        at = end;
    }
    frames
}

/// Whether a frame of a segment is that of a commit.
pub fn is_commit(frame: &[u8]) -> bool {
    frame.get(FRAME_LEN) == Some(&1)
}

/// `seed` makes what a checksum takes in besides the payload, of the frame's offset and its length.
fn repair_frames(bytes: &mut [u8], first: usize, seed: impl Fn(usize, u32) -> Vec<u8>) {
    for range in frames_from(bytes, first) {
        let at = range.start;
        let frame = bytes.get_mut(range).and_then(<[u8]>::split_first_chunk_mut::<FRAME_LEN>);
        let Some((head, payload)) = frame else { return };
        let checksum = crc(&[&seed(at, payload.len() as u32), payload]);
        head[4..].copy_from_slice(&checksum);
    }
}

/// The staging ring carries on a segment that its word names, from an offset on.
fn repair_ring(bytes: &mut [u8]) {
    let Some((word, _)) = bytes.split_first_chunk::<8>() else { return };
    let word = u64::from_le_bytes(*word);
    let (segment, base) = ((word >> 32) as u32, word as u32);
    repair_frames(bytes, 8, |at, len| {
        [segment, base.wrapping_add(at as u32 - 8), len].map(u32::to_le_bytes).concat()
    });
}

/// Blocks, filter, block index, properties and trailer of a run.
fn repair_run(number: u64, bytes: &mut [u8]) -> Option<()> {
    let trailer = bytes.len().checked_sub(TRAILER_LEN)?;
    let offset = |bytes: &[u8], index: usize| {
        let at = trailer + 8 * index;
        let offset = u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?);
        usize::try_from(offset).ok().filter(|offset| *offset <= trailer)
    };
    let (filter, index, properties) = (offset(bytes, 0)?, offset(bytes, 1)?, offset(bytes, 2)?);
    let part = |bytes: &[u8], range: Range<usize>| {
        let offset = range.start as u64;
        Some(crc(&[&number.to_le_bytes(), &offset.to_le_bytes(), bytes.get(range)?]))
    };
    let mut at = HEADER_LEN;
    for len in block_lens(bytes.get(index..properties)?) {
        let end = at.checked_add(len).filter(|end| len >= 4 && *end <= filter)?;
        let checksum = part(bytes, at..end - 4)?;
        bytes.get_mut(end - 4..end)?.copy_from_slice(&checksum);
        at = end;
    }
    for (place, range) in [(24, filter..index), (28, index..properties), (32, properties..trailer)] {
        let checksum = part(bytes, range)?;
        bytes.get_mut(trailer + place..trailer + place + 4)?.copy_from_slice(&checksum);
    }
    let checksum = part(bytes, trailer..trailer + 36)?;
    bytes.get_mut(trailer + 36..)?.copy_from_slice(&checksum);
    Some(())
}

/// Lengths of a run's blocks, for as long as the index makes sense.
fn block_lens(index: &[u8]) -> Vec<usize> {
    let mut lens = Vec::new();
    let mut rest = index;
    let mut entry = || {
        let len = varint(&mut rest)?;
        varint(&mut rest)?;
        let fence = varint(&mut rest)?;
        rest = rest.get(fence..)?;
        Some(len)
    };
    while let Some(len) = entry() {
        lens.push(len);
    }
    lens
}

/// Takes a number from the front of `bytes`, seven bits a byte.
pub fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{specimen::Specimen, world::World};

    #[test]
    fn files_of_a_store_keep_their_checksums_and_damaged_ones_get_them_back() {
        let specimen = Specimen::new(World::new(1), 1).expect("a specimen");
        for path in specimen.files(&[".log", ".run", ".merkle", ".manifest", "RING"]) {
            let whole = specimen.bytes(&path);
            let mut bytes = whole.clone();
            repair(&path, &mut bytes);
            assert_eq!(bytes, whole, "{}", path.display());
            // The last byte of a first frame's checksum, of a trailer, of the ring's first frame.
            let at = match path.extension().and_then(|extension| extension.to_str()) {
                Some("run") => whole.len() - 1,
                Some(_) => 23,
                None => 15,
            };
            bytes[at] ^= 1;
            repair(&path, &mut bytes);
            assert_eq!(bytes, whole, "{}", path.display());
        }
    }
}
