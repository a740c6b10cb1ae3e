//! Reading the log after any stop: which commits there are, which of them are proven durable, and what was left behind.
//!
//! Segments are read in order from the log's start. All but the last are whole: sealed by a footer, or closed by an
//! earlier recovery at an end that the manifest knows. The last one, the tail, ends where its records end, and goes on in
//! the staging ring if the ring's base is no further. Nothing is written here.
//!
//! Easy to get wrong: a bad record is the end of the log only in the tail, and only if no later record proves, by its
//! watermark, that the bad one was durable once; anything else is `Corruption` and not a lost suffix. A segment that a
//! recovery made counts only once the manifest has closed the segment before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::frame::{FRAME_LEN, payload_at};
use super::record::{self, Commit, Record};
use super::writer::parse_word;
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::types::{SegmentId, SeqNo, Slice};
use crate::vfs::{ReadMode, Staging, Vfs};

/// What the manifest says about the log.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) log_start: SegmentId,
    pub(crate) log_ends: &'a BTreeMap<SegmentId, u64>,
    /// Commits up to here are in the runs and are passed over.
    pub(crate) flushed: SeqNo,
}

/// What the log holds beyond the last flush.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Commits that are durable where they lie, in order.
    proven: Vec<Place>,
    /// Commits of the tail beyond its watermark, in order: to be copied to a fresh segment.
    unproven: Vec<Place>,
    sources: Vec<Source>,
    /// The tail and where its proven records end.
    pub(crate) tail: Option<(SegmentId, u64)>,
    /// The newest commit in the log, or the last flushed one.
    pub(crate) last: SeqNo,
    /// Commits that only the staging ring had.
    pub(crate) ring_commits: u64,
    /// Bytes beyond the last whole record that are not zero.
    pub(crate) torn_bytes: u64,
    /// What an opening that was cut off made; nothing refers to it.
    pub(crate) leftovers: Vec<PathBuf>,
    /// The least number that no segment has.
    pub(crate) next_segment: SegmentId,
}

/// Bytes of a segment, or of the ring, from `base` on.
#[derive(Debug)]
struct Source {
    segment: SegmentId,
    base: u32,
    bytes: Slice,
}

/// A commit's frame: where it is, and in which source.
#[derive(Debug, Clone, Copy)]
struct Place {
    source: usize,
    offset: u32,
}

impl Contents {
    /// The proven commits in order, each with its segment and the offset of its payload there.
    pub(crate) fn proven(&self) -> impl Iterator<Item = (SegmentId, u32, Commit<'_>)> {
        self.proven.iter().filter_map(|place| {
            let (segment, payload) = self.payload(*place)?;
            match record::decode(payload).ok()? {
                Record::Commit(commit) => Some((segment, place.offset + FRAME_LEN as u32, commit)),
                _ => None,
            }
        })
    }

    /// Payloads of the unproven commits, in order.
    pub(crate) fn unproven(&self) -> Vec<&[u8]> {
        self.unproven.iter().filter_map(|place| self.payload(*place)).map(|(_, payload)| payload).collect()
    }

    /// The unproven commits, in order, and where their payloads lie now that their frames begin at `offsets` of a fresh
    /// segment.
    pub(crate) fn copied(&self, offsets: &[u32]) -> impl Iterator<Item = (u32, Commit<'_>)> {
        self.unproven.iter().zip(offsets).filter_map(|(place, offset)| {
            match record::decode(self.payload(*place)?.1).ok()? {
                Record::Commit(commit) => Some((offset + FRAME_LEN as u32, commit)),
                _ => None,
            }
        })
    }

    fn payload(&self, place: Place) -> Option<(SegmentId, &[u8])> {
        let source = self.sources.get(place.source)?;
        let bytes = source.bytes.get((place.offset - source.base) as usize..)?;
        Some((source.segment, payload_at(bytes, source.segment, place.offset)?))
    }
}

/// Reads the log in `dir`.
///
/// # Errors
/// `Corruption` for damage below a watermark or in a sealed segment and for missing segments, `UnsupportedVersion`, `Io`.
pub(crate) fn read(
    vfs: &dyn Vfs,
    dir: &Path,
    plan: &Plan<'_>,
    ring: &dyn Staging,
    mode: ReadMode,
) -> Result<Contents> {
    let names = vfs.list(dir).map_err(|source| Error::io("list", dir, source))?;
    let ids =
        names.iter().filter_map(|name| FileKind::Segment.id_in(name)).filter_map(|id| u32::try_from(id).ok());
    let ids: Vec<SegmentId> = ids.map(SegmentId).filter(|id| *id >= plan.log_start).collect();
    let next_segment = SegmentId(ids.last().map_or(plan.log_start.0, |last| last.0 + 1));
    let contents = Contents {
        proven: Vec::new(),
        unproven: Vec::new(),
        sources: Vec::new(),
        tail: None,
        last: plan.flushed,
        ring_commits: 0,
        torn_bytes: 0,
        leftovers: Vec::new(),
        next_segment,
    };
    let mut scan = Scan { dir, plan, contents, durable: plan.flushed, in_tail: Vec::new() };
    let mut segments = ids.iter().peekable();
    while let Some(&id) = segments.next() {
        let path = scan.path(id);
        let file = vfs.open(&path, mode).map_err(|source| Error::io("open", &path, source))?;
        let bytes = file.read(0, file.len() as usize).map_err(|source| Error::io("read", &path, source))?;
        let next_is_remains = match segments.peek() {
            None => true,
            Some(&&next) => is_remains(vfs, &scan.path(next), next)?,
        };
        let end = scan.segment(id, &bytes, !next_is_remains)?;
        if next_is_remains && !plan.log_ends.contains_key(&id) {
            scan.tail(id, end, &bytes, ring)?;
            scan.contents.leftovers = segments.map(|&id| scan.path(id)).collect();
            break;
        }
    }
    Ok(scan.contents)
}

/// Whether the file is what an opening that was cut off before its manifest edit left: a segment marked as made by a
/// recovery, or one whose beginning was never written whole.
fn is_remains(vfs: &dyn Vfs, path: &Path, id: SegmentId) -> Result<bool> {
    let file = vfs.open(path, ReadMode::Plain).map_err(|source| Error::io("open", path, source))?;
    let bytes =
        file.read(0, file.len().min(64) as usize).map_err(|source| Error::io("read", path, source))?;
    let header = bytes.get(HEADER_LEN..).and_then(|bytes| payload_at(bytes, id, HEADER_LEN as u32));
    match header.map(record::decode) {
        Some(Ok(Record::SegmentHeader { by_recovery, .. })) => Ok(by_recovery),
        // A segment is durable before anything refers to it, so one without a beginning was never used.
        _ => Ok(true),
    }
}

struct Scan<'a> {
    dir: &'a Path,
    plan: &'a Plan<'a>,
    contents: Contents,
    /// The greatest watermark seen.
    durable: SeqNo,
    /// Commits of the segment that is being read, which may turn out to be the tail.
    in_tail: Vec<(SeqNo, Place, u64)>,
}

impl Scan<'_> {
    fn path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(FileKind::Segment.name(u64::from(id.0)))
    }

    /// Reads one segment and returns where its records end. `is_sealed` says that another segment follows, so that this
    /// one must be whole.
    fn segment(&mut self, id: SegmentId, bytes: &Slice, is_sealed: bool) -> Result<u32> {
        let path = self.path(id);
        let corruption = |offset: u32, what| Error::corruption(&path, u64::from(offset), what);
        self.contents.proven.extend(self.in_tail.drain(..).map(|(_, place, _)| place));
        let source = self.contents.sources.len();
        self.contents.sources.push(Source { segment: id, base: 0, bytes: bytes.clone() });

        let closed_at = self.plan.log_ends.get(&id).copied();
        if closed_at.is_none()
            && !is_sealed
            && payload_at(bytes.get(HEADER_LEN..).unwrap_or_default(), id, HEADER_LEN as u32).is_none()
        {
            // The last segment's beginning was never written whole: nothing in it was acknowledged.
            return Ok(0);
        }
        FileKind::Segment.check(&path, bytes)?;
        let readable = closed_at.map_or(bytes.len(), |end| (end as usize).min(bytes.len()));
        let mut offset = HEADER_LEN as u32;
        let mut commits = 0;
        loop {
            let here = bytes.get(offset as usize..readable).unwrap_or_default();
            if here.is_empty() && closed_at.is_some_and(|end| end == u64::from(offset)) {
                break;
            }
            let Some(payload) = payload_at(here, id, offset) else {
                if is_sealed || closed_at.is_some() {
                    return Err(corruption(offset, "a record of a sealed segment is damaged"));
                }
                break;
            };
            let next = offset + (FRAME_LEN + payload.len()) as u32;
            match record::decode(payload) {
                Ok(Record::SegmentHeader { segment, previous, .. })
                    if offset == HEADER_LEN as u32 && segment == id =>
                {
                    if previous > self.contents.last.max(self.plan.flushed) {
                        return Err(corruption(offset, "segments before this one are missing"));
                    }
                }
                Ok(Record::Commit(commit)) => {
                    commits += 1;
                    self.commit(&path, &commit, Place { source, offset }, u64::from(next))?;
                }
                Ok(Record::Footer { commits: counted, last }) => {
                    if counted != commits || last > self.contents.last.max(self.plan.flushed) {
                        return Err(corruption(
                            offset,
                            "a sealed segment does not hold what its footer says",
                        ));
                    }
                    return Ok(next);
                }
                _ => return Err(corruption(offset, "a record with a valid checksum makes no sense")),
            }
            offset = next;
        }
        Ok(offset)
    }

    /// Takes note of a commit. Those in the runs already are passed over; the others must follow without a gap.
    fn commit(&mut self, path: &Path, commit: &Commit<'_>, place: Place, end: u64) -> Result<()> {
        self.durable = self.durable.max(commit.durable);
        if commit.seqno <= self.contents.last {
            return Ok(());
        }
        if commit.seqno != self.contents.last.next() {
            return Err(Error::corruption(
                path,
                u64::from(place.offset),
                "commits before this one are missing",
            ));
        }
        self.contents.last = commit.seqno;
        self.in_tail.push((commit.seqno, place, end));
        Ok(())
    }

    /// Finishes with the tail, whose records in the file end at `end`: goes on in the ring, and decides what is proven.
    fn tail(&mut self, id: SegmentId, end: u32, bytes: &Slice, ring: &dyn Staging) -> Result<()> {
        let path = self.path(id);
        let in_file = self.contents.last;
        let (ring_segment, base) = parse_word(ring.word());
        let mut ring_end = end;
        if ring_segment == id && base <= end && end > 0 {
            ring_end = ring_end.max(self.ring(id, base, ring)?);
        }
        self.contents.ring_commits = self.contents.last.0 - in_file.0;
        let written = bytes.get(..written_len(bytes)).unwrap_or_default();
        self.find_proof(&path, id, end, 0, written)?;
        if ring_segment == id && base > end {
            self.find_proof(&path, id, end, base, ring.bytes())?;
        }
        self.contents.torn_bytes = (written.len() as u64).saturating_sub(u64::from(ring_end));

        let mut proven_end = HEADER_LEN as u64;
        for (seqno, place, end) in std::mem::take(&mut self.in_tail) {
            let is_in_ring = self.contents.sources.get(place.source).is_some_and(|source| source.base > 0);
            if seqno <= self.durable && !is_in_ring {
                proven_end = end;
                self.contents.proven.push(place);
            } else {
                self.contents.unproven.push(place);
            }
        }
        if proven_end == HEADER_LEN as u64 {
            // No commit of it is needed, but its header must stay readable below the recorded end.
            let header = payload_at(bytes.get(HEADER_LEN..).unwrap_or_default(), id, HEADER_LEN as u32);
            proven_end += header.map_or(0, |payload| (FRAME_LEN + payload.len()) as u64);
        }
        self.contents.tail = Some((id, proven_end));
        Ok(())
    }

    /// Reads the records of the ring, whose first byte is byte `base` of the segment; returns where they end.
    fn ring(&mut self, id: SegmentId, base: u32, ring: &dyn Staging) -> Result<u32> {
        let path = self.path(id);
        let bytes = Slice::from(ring.bytes());
        let source = self.contents.sources.len();
        self.contents.sources.push(Source { segment: id, base, bytes: bytes.clone() });
        let mut offset = base;
        while let Some(payload) =
            payload_at(bytes.get((offset - base) as usize..).unwrap_or_default(), id, offset)
        {
            let next = offset + (FRAME_LEN + payload.len()) as u32;
            match record::decode(payload) {
                Ok(Record::Commit(commit)) => {
                    self.commit(&path, &commit, Place { source, offset }, u64::from(next))?
                }
                Ok(Record::Footer { .. }) => {}
                _ => {
                    return Err(Error::corruption(
                        &path,
                        u64::from(offset),
                        "a staged record makes no sense",
                    ));
                }
            }
            offset = next;
        }
        Ok(offset)
    }

    /// Looks for a whole record beyond the first bad one, at `end`, whose watermark covers the bad one: then that was
    /// durable once, and the log is damaged in its middle. `bytes` begin at offset `base` of the segment.
    fn find_proof(&self, path: &Path, id: SegmentId, end: u32, base: u32, bytes: &[u8]) -> Result<()> {
        let mut offset = end.max(base);
        while let Some(here) = bytes.get((offset - base) as usize..).filter(|here| here.len() > FRAME_LEN) {
            // The length, then the type, tell most places apart without a checksum.
            let len = here.first_chunk().map_or(0, |len| u32::from_le_bytes(*len)) as usize;
            let could_be_commit = len > 0 && len <= here.len() - FRAME_LEN && here.get(FRAME_LEN) == Some(&1);
            if could_be_commit
                && let Some(payload) = payload_at(here, id, offset)
                && let Ok(Record::Commit(commit)) = record::decode(payload)
                && commit.durable > self.contents.last
            {
                return Err(Error::corruption(path, u64::from(end), "a record that was durable is damaged"));
            }
            offset += 1;
        }
        Ok(())
    }
}

/// Length of `bytes` without the zeros at their end, which were reserved and never written.
fn written_len(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let blocks = bytes.chunks(ZEROS.len()).rev();
    let zeros: usize = blocks.take_while(|block| ZEROS.starts_with(block)).map(<[u8]>::len).sum();
    let written = bytes.get(..bytes.len() - zeros).unwrap_or_default();
    written.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}
