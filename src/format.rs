//! The sixteen bytes that every Syncline file begins with, and the names of the files in a store's folder.
//!
//! ```text
//! 0   4  "SYNC"
//! 4   4  kind: "LOGS" segment, "RUNS" run, "VALS" moved values, "MRKL" Merkle file,
//!        "MANI" manifest, "EXPT" export stream
//! 8   4  format version, little-endian
//! 12  4  CRC-32 of bytes 0..12, little-endian
//! ```
//!
//! Easy to get wrong: the version is judged before the checksum of anything else, so that a file of a later version is
//! called that and not "damaged".

use std::path::Path;

use crate::error::{Error, Result};
use crate::types::SegmentId;

/// Version of every file format that this build writes and reads.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Length of the header in bytes.
pub(crate) const HEADER_LEN: usize = 16;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A log segment, `000000000001.log`.
    Segment,
    /// Large values that a merge has moved out of segments, `000000000001.values`.
    Values,
    /// A run of the index, `000000000001.run`.
    Run,
    /// Merkle buckets, `000000000001.merkle`.
    Merkle,
    /// The manifest, `000000000001.manifest`.
    Manifest,
    /// An export stream, which is no file of a store and may have any name.
    Export,
}

/// The name of the file that has the values of `id`: a segment of the log, or a file of moved values.
pub(crate) fn segment_name(id: SegmentId) -> String {
    let kind = if id.is_moved() { FileKind::Values } else { FileKind::Segment };
    kind.name(u64::from(id.0 & !SegmentId::MOVED))
}

/// The segment or file of moved values that has this name.
pub(crate) fn segment_in(name: &str) -> Option<SegmentId> {
    let number = |kind: FileKind| {
        kind.id_in(name).and_then(|id| u32::try_from(id).ok()).filter(|id| id & SegmentId::MOVED == 0)
    };
    let moved = || number(FileKind::Values).map(|id| SegmentId(id | SegmentId::MOVED));
    number(FileKind::Segment).map(SegmentId).or_else(moved)
}

impl FileKind {
    fn tag(self) -> &'static [u8; 4] {
        match self {
            FileKind::Segment => b"LOGS",
            FileKind::Values => b"VALS",
            FileKind::Run => b"RUNS",
            FileKind::Merkle => b"MRKL",
            FileKind::Manifest => b"MANI",
            FileKind::Export => b"EXPT",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            FileKind::Segment => "log",
            FileKind::Values => "values",
            FileKind::Run => "run",
            FileKind::Merkle => "merkle",
            FileKind::Manifest => "manifest",
            FileKind::Export => "export",
        }
    }

    /// The name of file number `id` of this kind.
    pub(crate) fn name(self, id: u64) -> String {
        format!("{id:012}.{}", self.extension())
    }

    /// The number in `name`, if it is the name of a file of this kind.
    pub(crate) fn id_in(self, name: &str) -> Option<u64> {
        let digits = name.strip_suffix(self.extension())?.strip_suffix('.')?;
        (digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    }

    /// The header of a file of this kind.
    pub(crate) fn header(self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(b"SYNC");
        header[4..8].copy_from_slice(self.tag());
        header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let checksum = crc32fast::hash(&header[..12]);
        header[12..].copy_from_slice(&checksum.to_le_bytes());
        header
    }

    /// Checks that `bytes`, the beginning of `file`, is the header of a file of this kind and of this version.
    ///
    /// # Errors
    /// `UnsupportedVersion` for a header of another version, `Corruption` for anything else.
    pub(crate) fn check(self, file: &Path, bytes: &[u8]) -> Result<()> {
        let header = bytes.first_chunk::<HEADER_LEN>();
        let header =
            header.ok_or_else(|| Error::corruption(file, 0, "the file is shorter than its header"))?;
        let (start, checksum) = header.split_at(12);
        let (tags, version) = start.split_at(8);
        if tags.first_chunk() != Some(b"SYNC") || tags.last_chunk() != Some(self.tag()) {
            return Err(Error::corruption(file, 0, "not a Syncline file of the kind that its name says"));
        }
        if crc32fast::hash(start).to_le_bytes() != checksum {
            return Err(Error::corruption(file, 12, "the header's checksum does not match"));
        }
        let found = version.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        if found != FORMAT_VERSION {
            return Err(Error::UnsupportedVersion {
                file: file.to_owned(),
                found,
                supported: FORMAT_VERSION,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_tells_other_kinds_versions_and_damage_apart() {
        let file = Path::new("x.run");
        let good = FileKind::Run.header();
        assert!(FileKind::Run.check(file, &good).is_ok());
        assert!(matches!(FileKind::Segment.check(file, &good), Err(Error::Corruption { .. })));
        assert!(matches!(FileKind::Run.check(file, &good[..15]), Err(Error::Corruption { .. })));
        let mut newer = good;
        newer[8] = 2;
        let checksum = crc32fast::hash(&newer[..12]);
        newer[12..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(FileKind::Run.check(file, &newer), Err(Error::UnsupportedVersion { found: 2, .. })));
        newer[9] = 1;
        assert!(matches!(FileKind::Run.check(file, &newer), Err(Error::Corruption { offset: 12, .. })));
    }

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(FileKind::Segment.id_in(&FileKind::Segment.name(42)), Some(42));
        for id in [SegmentId(42), SegmentId(42 | SegmentId::MOVED)] {
            assert_eq!(segment_in(&segment_name(id)), Some(id));
        }
        assert_eq!(segment_in("003000000000.log"), None);
        assert_eq!(FileKind::Run.id_in("000000000001.log"), None);
        assert_eq!(FileKind::Run.id_in("+00000000001.run"), None);
        assert_eq!(FileKind::Run.id_in("1.run"), None);
    }
}
