//! Reading the log after any stop: which commits there are, which of them are proven durable, and what was left behind.
//!
//! Segments are read in order from the log's start. All but the last are whole: sealed by a footer, or closed by an
//! earlier recovery at an end that the manifest knows. The last one, the tail, ends where its records end, and goes on in
//! the staging ring if the ring's base is no further. Reading writes nothing; [`Contents::rewrite`] then copies what is
//! not proven durable to a fresh segment, for an old file is never appended to.
//!
//! Easy to get wrong: a bad record is the end of the log only in the tail, and only if no later record proves, by its
//! watermark, that the bad one was durable once; anything else is `Corruption` and not a lost suffix. A footer proves
//! nothing until a next segment stands. A segment that a recovery made counts only once the manifest has closed the
//! segment before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::frame::FRAME_LEN;
use super::record::{self, Commit, Record, SegmentHeader, Summary};
use super::scan::{Bytes, Frame, FrameReader, Source};
use super::segment::{FreshSegment, SegmentBuilder};
use super::writer::parse_word;
use crate::error::{Error, Result};
use crate::format::{FileKind, HEADER_LEN};
use crate::types::{SegmentId, SeqNo, Slice};
use crate::vfs::{ReadMode, Staging, Vfs};

/// What the manifest says about the log.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    /// The first segment that may hold commits beyond `flushed`.
    pub(crate) log_start: SegmentId,
    /// Where segments end that a recovery closed.
    pub(crate) log_ends: &'a BTreeMap<SegmentId, u64>,
    /// Commits up to here are in the runs and are passed over.
    pub(crate) flushed: SeqNo,
    /// A writer is known to be at work, so the tail is whole up to the ring's base and is read no further.
    pub(crate) is_being_written: bool,
}

/// What the log holds beyond the last flush. Holds files open, not their bytes, but for those of the ring.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Commits that are durable where they lie, in order.
    proven: Vec<Stretch>,
    /// Commits of the tail that no watermark covers, in order.
    unproven: Vec<Stretch>,
    /// Commits up to here are proven.
    proven_last: SeqNo,
    /// Commits up to here are in the runs.
    flushed: SeqNo,
    /// The tail, and where its proven records end: the manifest must close it there before a new commit is taken.
    pub(crate) tail: Option<(SegmentId, u64)>,
    /// The newest commit in the log, or the last flushed one.
    pub(crate) last: SeqNo,
    /// Commits that only the staging ring had.
    pub(crate) ring_commits: u64,
    /// Bytes from the end of the last whole record to the last one that is not zero.
    pub(crate) torn_bytes: u64,
    /// What an opening that was cut off made; nothing refers to it.
    pub(super) leftovers: Vec<PathBuf>,
    /// The least number that no segment has.
    next_segment: SegmentId,
}

/// Commits that lie one after the other.
#[derive(Debug)]
struct Stretch {
    source: Source,
    start: u64,
    end: u64,
}

impl Contents {
    /// Bytes of all its records.
    pub(crate) fn len(&self) -> u64 {
        self.proven.iter().chain(&self.unproven).map(|stretch| stretch.end - stretch.start).sum()
    }

    /// Removes what an opening that was cut off left, copies the commits that are not proven durable to a fresh segment,
    /// and makes it durable. Tells where it put them. The log's end is there once the manifest has closed the tail.
    ///
    /// # Errors
    /// `Io`, `Corruption`; the next opening finds what this one found.
    pub(crate) fn rewrite(
        &self,
        vfs: &dyn Vfs,
        dir: &Path,
        allocate: u64,
    ) -> Result<(FreshSegment, Vec<u32>)> {
        for path in &self.leftovers {
            vfs.remove(path).map_err(|source| Error::io("remove", path, source))?;
        }
        let header = SegmentHeader { segment: self.next_segment, previous: self.proven_last, sealed: None };
        let mut fresh = SegmentBuilder::begin(vfs, dir, header, allocate)?;
        let mut copies = Vec::new();
        visit(&self.unproven, self.proven_last, |_, _, payload, _| {
            copies.push(fresh.push(payload)?);
            Ok(())
        })?;
        Ok((fresh.finish()?, copies))
    }

    /// Calls `entered` with every commit beyond the last flush, in order: with the segment that has it, and where its payload
    /// begins there. `copies` is what [`Contents::rewrite`] told, so places are right once the tail is closed.
    ///
    /// # Errors
    /// The first that `entered` returned; `Io`, `Corruption`.
    pub(crate) fn replay(
        &self,
        copies: &[u32],
        mut entered: impl FnMut(SegmentId, u32, &Commit<'_>) -> Result<()>,
    ) -> Result<()> {
        visit(&self.proven, self.flushed, |source, payload_at, _, commit| {
            entered(source.segment, payload_at, commit)
        })?;
        let mut copies = copies.iter();
        visit(&self.unproven, self.proven_last, |source, payload_at, _, commit| {
            let bad = || source.corruption(u64::from(payload_at), "a commit was not copied");
            entered(self.next_segment, *copies.next().ok_or_else(bad)?, commit)
        })
    }
}

/// Calls `each` with the commits beyond `after`, once: with source, place of the payload, and payload.
fn visit(
    stretches: &[Stretch],
    mut after: SeqNo,
    mut each: impl FnMut(&Source, u32, &[u8], &Commit<'_>) -> Result<()>,
) -> Result<()> {
    for stretch in stretches {
        for frame in stretch.frames() {
            let (offset, Frame { payload, .. }) = frame?;
            let malformed = |_| stretch.source.corruption(u64::from(offset), "a commit makes no sense");
            let commit = Commit::decode(&payload).map_err(malformed)?;
            // The ring may repeat what the file has.
            if commit.seqno > after {
                after = commit.seqno;
                each(&stretch.source, offset + FRAME_LEN as u32, &payload, &commit)?;
            }
        }
    }
    Ok(())
}

impl Stretch {
    /// The frames and their offsets.
    fn frames(&self) -> impl Iterator<Item = Result<(u32, Frame)>> {
        let mut reader = FrameReader::new(&self.source);
        let mut at = self.start;
        std::iter::from_fn(move || {
            if at >= self.end {
                return None;
            }
            let offset = at;
            // Whatever happens to the rest, this is the last item if it is an error.
            at = self.end;
            let frame = reader.frame(offset).and_then(|frame| {
                frame.ok_or_else(|| self.source.corruption(offset, "a record changed while it was read"))
            });
            Some(frame.map(|frame| {
                at = frame.next;
                (offset as u32, frame)
            }))
        })
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
    let numbers = names.iter().filter_map(|name| FileKind::Segment.id_in(name));
    let ids = numbers.filter_map(|id| u32::try_from(id).ok()).map(SegmentId);
    let ids: Vec<SegmentId> = ids.filter(|id| *id >= plan.log_start).collect();
    let unused = ids
        .last()
        .map_or(Some(plan.log_start.0), |last| last.0.checked_add(1))
        .filter(|next| next & SegmentId::MOVED == 0);
    let next_segment =
        SegmentId(unused.ok_or_else(|| Error::corruption(dir, 0, "no segment number is left"))?);
    let contents = empty(plan, next_segment);
    let is_being_written = plan.is_being_written;
    let mut scan = Scan { vfs, dir, mode, is_being_written, durable: plan.flushed, sealed: None, contents };

    let is_new = ids.is_empty() && plan.flushed == SeqNo::ZERO && plan.log_ends.is_empty();
    if ids.first() != Some(&plan.log_start) && !is_new {
        return Err(Error::corruption(&scan.path(plan.log_start), 0, "this segment of the log is missing"));
    }
    let mut rest = ids.as_slice();
    while let Some((&id, later)) = rest.split_first() {
        let next = later.first().map(|&next| scan.open(next)).transpose()?;
        let source = scan.open(id)?;
        match (plan.log_ends.get(&id), next) {
            (Some(&end), Some(_)) => scan.closed(source, end)?,
            (Some(&end), None) => {
                return Err(
                    source.corruption(end, "the segment that a recovery put behind this one is missing")
                );
            }
            (None, Some(next)) if header(&next)?.0.sealed.is_some() => scan.sealed(source)?,
            (None, _) => {
                scan.tail(source, ring)?;
                scan.contents.leftovers = later.iter().map(|&id| scan.path(id)).collect();
                break;
            }
        }
        rest = later;
    }
    Ok(scan.contents)
}

fn empty(plan: &Plan<'_>, next_segment: SegmentId) -> Contents {
    Contents {
        proven: Vec::new(),
        unproven: Vec::new(),
        proven_last: plan.flushed,
        flushed: plan.flushed,
        tail: None,
        last: plan.flushed,
        ring_commits: 0,
        torn_bytes: 0,
        leftovers: Vec::new(),
        next_segment,
    }
}

struct Scan<'a> {
    vfs: &'a dyn Vfs,
    dir: &'a Path,
    mode: ReadMode,
    is_being_written: bool,
    /// The greatest watermark seen.
    durable: SeqNo,
    /// What the footer of the segment before said, if it had one.
    sealed: Option<Summary>,
    contents: Contents,
}

/// How far the records of a source go.
struct Walked {
    /// Where the first commit begins.
    start: u64,
    /// Where the last commit ends.
    end: u64,
    /// Where the footer ends, if there is one.
    footer_end: Option<u64>,
}

impl Scan<'_> {
    fn path(&self, id: SegmentId) -> PathBuf {
        self.dir.join(FileKind::Segment.name(u64::from(id.0)))
    }

    fn open(&self, id: SegmentId) -> Result<Source> {
        let path = self.path(id);
        let file = self.vfs.open(&path, self.mode).map_err(|source| Error::io("open", &path, source))?;
        let end = file.len();
        Ok(Source { segment: id, path, base: 0, end, bytes: Bytes::File(file) })
    }

    /// A segment that another one follows: it must be whole and end in a footer.
    fn sealed(&mut self, source: Source) -> Result<()> {
        let Walked { start, end, footer_end } = self.segment(&source)?;
        if footer_end.is_none() {
            return Err(source.corruption(end, "a record of a sealed segment is damaged"));
        }
        self.contents.proven_last = self.contents.last;
        self.contents.proven.push(Stretch { source, start, end });
        Ok(())
    }

    /// A segment that a recovery closed at `end`: it must be whole up to there.
    fn closed(&mut self, mut source: Source, end: u64) -> Result<()> {
        source.end = source.end.min(end);
        let walked = self.segment(&source)?;
        if walked.end != end {
            return Err(source.corruption(walked.end, "a record that was durable is damaged"));
        }
        self.sealed = None;
        self.contents.proven_last = self.contents.last;
        self.contents.proven.push(Stretch { source, start: walked.start, end });
        Ok(())
    }

    /// The last segment: it ends where its records end, and goes on in the ring.
    fn tail(&mut self, mut source: Source, ring: &dyn Staging) -> Result<()> {
        let (segment, base) = parse_word(ring.word());
        if self.is_being_written && segment == source.segment {
            source.end = source.end.min(u64::from(base));
        }
        let walked = self.segment(&source)?;
        let in_file = self.contents.last;
        let mut end = walked.footer_end.unwrap_or(walked.end);
        let staged = self.ring(&source, ring, end)?;
        if let Some(staged) = &staged {
            end = end.max(staged.end);
        }
        self.contents.ring_commits = self.contents.last.0 - in_file.0;

        let mut reader = FrameReader::new(&source);
        let written_end = reader.written_end(end)?;
        self.contents.torn_bytes = written_end - end;
        let last = self.contents.last;
        if reader.find_commit(end, written_end, |commit| commit.durable > last)? {
            return Err(source.corruption(end, "a record that was durable is damaged"));
        }

        let split = self.split(&source, &walked)?;
        self.contents.tail = Some((source.segment, split));
        let unproven = Stretch { source: source.clone(), start: split, end: walked.end };
        self.contents.proven.push(Stretch { source, start: walked.start, end: split });
        self.contents.unproven.push(unproven);
        self.contents.unproven.extend(staged);
        Ok(())
    }

    /// Where the proven commits of the tail end. Only what the file itself has is proven by a watermark; if the file lost
    /// one of those and the ring has it, it is copied like the others.
    fn split(&mut self, source: &Source, walked: &Walked) -> Result<u64> {
        let stretch = Stretch { source: source.clone(), start: walked.start, end: walked.end };
        let mut split = walked.start;
        for frame in stretch.frames() {
            let (offset, frame) = frame?;
            let commit = Commit::decode(&frame.payload);
            let seqno =
                commit.map_err(|_| source.corruption(u64::from(offset), "a commit makes no sense"))?.seqno;
            if seqno > self.durable {
                break;
            }
            self.contents.proven_last = self.contents.proven_last.max(seqno);
            split = frame.next;
        }
        Ok(split)
    }

    /// Reads the records of the ring that carry on the segment in `file`, whose records end at `end`.
    fn ring(&mut self, file: &Source, ring: &dyn Staging, end: u64) -> Result<Option<Stretch>> {
        let (segment, base) = parse_word(ring.word());
        if segment > file.segment {
            // The ring turns to a segment after its name is durable.
            return Err(file.corruption(end, "the segment that the staging ring carries on is missing"));
        }
        if segment < file.segment {
            return Ok(None);
        }
        let bytes = Slice::from(ring.bytes());
        let source = Source {
            end: u64::from(base) + bytes.len() as u64,
            base,
            bytes: Bytes::Ring(bytes),
            ..file.clone()
        };
        let start = u64::from(base);
        let mut reader = FrameReader::new(&source);
        let mut at = start;
        // A gap before the base: the file has lost what the ring follows.
        if start <= end {
            while let Some(frame) = reader.frame(at)? {
                let Ok(Record::Commit(commit)) = record::decode(&frame.payload) else { break };
                if commit.seqno > self.contents.last.next() {
                    return Err(source.corruption(at, "commits before a staged one are missing"));
                }
                self.take(&commit);
                at = frame.next;
            }
        }
        let last = self.contents.last;
        if reader.find_commit(at, source.end, |commit| commit.durable > last)? {
            return Err(source.corruption(end, "a record that was durable is damaged"));
        }
        Ok((at > start).then_some(Stretch { source, start, end: at }))
    }

    /// Walks the records of a segment's file, up to the first that is not whole.
    fn segment(&mut self, source: &Source) -> Result<Walked> {
        let (header, start) = header(source)?;
        if header.previous > self.contents.last {
            return Err(source.corruption(HEADER_LEN as u64, "commits before this segment are missing"));
        }
        if let (Some(footer), Some(repeated)) = (self.sealed.take(), header.sealed)
            && footer != repeated
        {
            return Err(
                source.corruption(HEADER_LEN as u64, "the header does not repeat the footer before it")
            );
        }
        let mut reader = FrameReader::new(source);
        let mut summary = Summary::default();
        let (mut at, mut seqno) = (start, header.previous);
        while let Some(frame) = reader.frame(at)? {
            match record::decode(&frame.payload) {
                Ok(Record::Commit(commit)) if commit.seqno == seqno.next() => {
                    seqno = commit.seqno;
                    summary.add(frame.checksum);
                    self.take(&commit);
                }
                Ok(Record::Footer { summary: found, last }) if found == summary && last == seqno => {
                    self.sealed = Some(summary);
                    return Ok(Walked { start, end: at, footer_end: Some(frame.next) });
                }
                _ => return Err(source.corruption(at, "a record with a right checksum makes no sense")),
            }
            at = frame.next;
        }
        Ok(Walked { start, end: at, footer_end: None })
    }

    /// Takes note of a commit; the caller has checked that none is missing before it.
    fn take(&mut self, commit: &Commit<'_>) {
        self.durable = self.durable.max(commit.durable);
        self.contents.last = self.contents.last.max(commit.seqno);
    }
}

/// The header of a segment, and where it ends.
pub(super) fn header(source: &Source) -> Result<(SegmentHeader, u64)> {
    FileKind::Segment.check(&source.path, &source.read(0, source.end.min(HEADER_LEN as u64) as usize)?)?;
    let offset = HEADER_LEN as u64;
    let frame = FrameReader::new(source).frame(offset)?;
    // A segment gets its name after its header is durable, so a bad one is damage wherever it is found.
    let frame = frame.ok_or_else(|| source.corruption(offset, "the segment's header is damaged"))?;
    match record::decode(&frame.payload) {
        Ok(Record::SegmentHeader(header)) if header.segment == source.segment => Ok((header, frame.next)),
        _ => Err(source.corruption(offset, "the segment's header is another one's")),
    }
}
