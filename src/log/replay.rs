//! Reading the log after any stop: which commits there are, which of them are proven durable, and what was left behind.
//!
//! Segments are read in order from the log's start. Those that an earlier recovery has closed are whole up to an end that
//! the manifest knows. Those of the last life follow: commits go on from one to the next only where the one before is whole,
//! footer included. The first that is not, or the last, is the tail: it ends where its records end, and goes on in the
//! staging ring if the ring's base is no further. What lies behind the tail never was promised to anybody. Reading writes
//! nothing; [`Contents::rewrite`] then copies what is not proven durable to a fresh segment, for an old file is never
//! appended to.
//!
//! Easy to get wrong: a bad record is the end of the log only if nothing behind it, in whatever segment or in the ring,
//! proves by its watermark that it was durable once; anything else is `Corruption` and not a lost suffix. Nothing else proves
//! it: not a footer, nor that there is a next segment. A segment that a recovery made counts only once the manifest has
//! closed the segments before it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::frame::FRAME_LEN;
use super::record::{Commit, Origin, SegmentHeader};
use super::scan::{Bytes, Frame, FrameReader, Source};
use super::segment::{FreshSegment, SegmentBuilder};
use super::walk::{Walk, Walked, header, staged_part, staged_place};
use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::types::{SegmentId, SeqNo};
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
    /// A writer is known to be at work, so the ring's segment is whole up to the ring's base and nothing is read beyond.
    pub(crate) is_being_written: bool,
}

/// What the log holds beyond the last flush. Holds files open, not their bytes, but for those of the ring.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Commits that are durable where they lie, in order.
    proven: Vec<Stretch>,
    /// Commits that no watermark covers, in order.
    unproven: Vec<Stretch>,
    /// Commits up to here are proven.
    proven_last: SeqNo,
    /// Commits up to here are in the runs.
    flushed: SeqNo,
    /// The segments that no recovery has closed, and where the proven commits of each end: the manifest must close them there
    /// before a new commit is taken.
    pub(crate) ends: Vec<(SegmentId, u64)>,
    /// The newest commit in the log, or the last flushed one.
    pub(crate) last: SeqNo,
    /// Commits that only the staging ring had.
    pub(crate) ring_commits: u64,
    /// Bytes from the end of the last whole record to the last one that is not zero, those of later segments included.
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
    /// and makes it durable. Tells where it put them. The log's end is there once the manifest has closed the segments before.
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
        let origin = Origin::Recovery { previous: self.proven_last };
        let header = SegmentHeader { segment: self.next_segment, origin };
        let mut fresh = SegmentBuilder::begin(vfs, dir, header, allocate)?;
        let mut copies = Vec::new();
        visit(&self.unproven, self.proven_last, |_, _, payload, _| {
            copies.push(fresh.push(payload)?);
            Ok(())
        })?;
        Ok((fresh.finish()?, copies))
    }

    /// Calls `entered` with every commit beyond the last flush, in order: with the segment that has it, and where its payload
    /// begins there. `copies` is what [`Contents::rewrite`] told, so places are right once the manifest has closed the tail.
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
    let (walk, contents) = (Walk::new(plan.flushed), empty(plan, next_segment));
    let is_being_written = plan.is_being_written;
    let mut scan = Scan { vfs, dir, mode, ring, is_being_written, walk, contents };

    let is_new = ids.is_empty() && plan.flushed == SeqNo::ZERO && plan.log_ends.is_empty();
    if ids.first() != Some(&plan.log_start) && !is_new {
        return Err(Error::corruption(&scan.path(plan.log_start), 0, "this segment of the log is missing"));
    }
    let closed = ids.iter().take_while(|id| plan.log_ends.contains_key(id)).count();
    let (closed, open) = ids.split_at(closed);
    for (&id, &end) in closed.iter().filter_map(|id| plan.log_ends.get_key_value(id)) {
        let source = scan.open(id)?;
        if open.is_empty() && closed.last() == Some(&id) {
            let what = "the segment that a recovery put behind this one is missing";
            return Err(source.corruption(end, what));
        }
        let Walked { source, start, end, .. } = scan.walk.closed(source, end)?;
        scan.contents.proven.push(Stretch { source, start, end });
    }
    scan.contents.proven_last = scan.walk.last;
    if !open.is_empty() {
        scan.last_life(open)?;
    }
    Ok(Contents { last: scan.walk.last, ..scan.contents })
}

fn empty(plan: &Plan<'_>, next_segment: SegmentId) -> Contents {
    Contents {
        proven: Vec::new(),
        unproven: Vec::new(),
        proven_last: plan.flushed,
        flushed: plan.flushed,
        ends: Vec::new(),
        last: plan.flushed,
        ring_commits: 0,
        torn_bytes: 0,
        leftovers: Vec::new(),
        next_segment,
    }
}

/// A segment behind the tail.
struct Behind {
    source: Source,
    header_end: u64,
}

struct Scan<'a> {
    vfs: &'a dyn Vfs,
    dir: &'a Path,
    mode: ReadMode,
    ring: &'a dyn Staging,
    is_being_written: bool,
    walk: Walk,
    contents: Contents,
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

    /// Reads the segments that no recovery has closed.
    fn last_life(&mut self, ids: &[SegmentId]) -> Result<()> {
        let (mut walked, behind) = self.follow(ids)?;
        let Some(tail) = walked.pop() else { return Ok(()) };
        let staged = self.staged(&tail, &behind)?;
        // A writer at work goes on with what lies behind while it is read.
        let at_rest = if self.is_being_written { &[] } else { &behind[..] };
        self.check_behind(&tail, &staged, at_rest)?;

        for walked in walked.into_iter().chain([tail]) {
            self.split(walked)?;
        }
        self.contents.unproven.extend(staged);
        self.contents.ends.extend(behind.iter().map(|behind| (behind.source.segment, behind.header_end)));
        Ok(())
    }

    /// Walks the segments as far as each is whole; the last one walked is the tail. Also returns what lies behind it.
    fn follow(&mut self, ids: &[SegmentId]) -> Result<(Vec<Walked>, Vec<Behind>)> {
        let (mut walked, mut behind): (Vec<Walked>, Vec<Behind>) = (Vec::new(), Vec::new());
        let mut expected = None;
        for &id in ids {
            let mut source = self.open(id)?;
            let (header, header_end) = header(&source)?;
            if let Some(expected) = expected {
                if matches!(header.origin, Origin::Recovery { .. }) {
                    self.contents.leftovers.push(source.path);
                    continue;
                }
                if id != expected {
                    return Err(source.corruption(0, "the segment before this one is missing"));
                }
            }
            expected = Some(SegmentId(id.0 + 1));
            if walked.last().is_some_and(|before| before.footer_end.is_none()) {
                behind.push(Behind { source, header_end });
                continue;
            }
            let (staged, base) = staged_place(self.ring);
            if self.is_being_written && staged == id {
                source.end = source.end.min(u64::from(base));
            }
            walked.push(self.walk.segment(source)?);
        }
        Ok((walked, behind))
    }

    /// The commits in the ring that carry on the tail.
    fn staged(&mut self, tail: &Walked, behind: &[Behind]) -> Result<Option<Stretch>> {
        let (segment, _) = staged_place(self.ring);
        let file = &tail.source;
        if segment > file.segment && behind.iter().all(|behind| behind.source.segment != segment) {
            // The ring turns to a segment after its name is durable.
            let what = "the segment that the staging ring carries on is missing";
            return Err(file.corruption(tail.end, what));
        }
        if segment != file.segment {
            return Ok(None);
        }
        let (source, in_file) = (staged_part(file, self.ring), self.walk.last);
        let staged = self.walk.staged(tail, &source)?;
        self.contents.ring_commits = self.walk.last.0 - in_file.0;
        Ok(staged.map(|(start, end)| Stretch { source, start, end }))
    }

    /// Checks that nothing behind the last commit proves that more of them were durable once, and counts what is there.
    fn check_behind(&mut self, tail: &Walked, staged: &Option<Stretch>, behind: &[Behind]) -> Result<()> {
        let tail_end = tail.footer_end.unwrap_or(tail.end);
        let staged_end = staged.as_ref().map_or(0, |staged| staged.end);
        for Behind { source, .. } in behind {
            self.walk.take_watermark(&header(source)?.0);
        }
        let mut is_disproved = self.walk.durable > self.walk.last;
        let rests = [(&tail.source, tail_end.max(staged_end))];
        for (source, from) in
            rests.into_iter().chain(behind.iter().map(|behind| (&behind.source, behind.header_end)))
        {
            let written_end = FrameReader::new(source).written_end(from)?;
            self.contents.torn_bytes += written_end - from;
            is_disproved |= self.walk.is_disproved_by(source, from, written_end)?;
            if staged_place(self.ring).0 == source.segment {
                let ring = staged_part(source, self.ring);
                let from = staged_end.max(u64::from(ring.base));
                is_disproved |= self.walk.is_disproved_by(&ring, from, ring.end)?;
            }
        }
        match is_disproved {
            true => Err(tail.source.corruption(tail.end, "a record that was durable is damaged")),
            false => Ok(()),
        }
    }

    /// Takes a segment's commits in, divided where the proven ones end. Only what the file itself has is proven by a
    /// watermark; if the file lost one of those and the ring has it, it is copied like the others.
    fn split(&mut self, walked: Walked) -> Result<()> {
        let Walked { source, header_end, start, end, .. } = walked;
        let whole = Stretch { source: source.clone(), start, end };
        // Without a proven commit not even the link is.
        let (mut split, mut closed_at) = (start, header_end);
        if self.contents.unproven.is_empty() {
            for frame in whole.frames() {
                let (offset, frame) = frame?;
                let malformed = |_| source.corruption(u64::from(offset), "a commit makes no sense");
                let seqno = Commit::decode(&frame.payload).map_err(malformed)?.seqno;
                if seqno > self.walk.durable {
                    break;
                }
                self.contents.proven_last = self.contents.proven_last.max(seqno);
                (split, closed_at) = (frame.next, frame.next);
            }
        }
        self.contents.ends.push((source.segment, closed_at));
        self.contents.proven.push(Stretch { source: source.clone(), start, end: split });
        if split < end {
            self.contents.unproven.push(Stretch { source, start: split, end });
        }
        Ok(())
    }
}
