//! Frames of a segment, as `docs/format.md` describes them: enough to make their checksums right again, for a planted bug
//! that does not look at them and for fuzzing what lies behind them.
//!
//! Easy to get wrong: a frame's checksum takes in the segment's number and the frame's place, so it is made for both.

use std::ops::Range;
use std::path::Path;

/// Bytes before the first frame.
const HEADER_LEN: usize = 16;

/// Bytes before a frame's payload: length and checksum.
const FRAME_LEN: usize = 8;

/// The number of the segment that the file at `path` is, if it is one.
pub fn segment_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()
}

/// Where the frames of a segment begin and end, for as long as lengths lead from one to the next and stay within `bytes`.
pub fn frames(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut frames = Vec::new();
    let mut at = HEADER_LEN;
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

/// Whether this is the frame of a commit.
pub fn is_commit(frame: &[u8]) -> bool {
    frame.get(FRAME_LEN) == Some(&1)
}

/// Makes the checksums of all frames right.
pub fn repair_checksums(segment: u32, bytes: &mut [u8]) {
    for range in frames(bytes) {
        let at = range.start as u32;
        let Some((head, payload)) = bytes.get_mut(range).and_then(<[u8]>::split_first_chunk_mut::<FRAME_LEN>)
        else {
            return;
        };
        let mut hasher = crc32fast::Hasher::new();
        for number in [segment, at, payload.len() as u32] {
            hasher.update(&number.to_le_bytes());
        }
        hasher.update(payload);
        head[4..].copy_from_slice(&hasher.finalize().to_le_bytes());
    }
}
