//! [`Walk`]: from record to record through segments in order, and on into the staging ring, up to the first record that is
//! not whole.
//!
//! It checks that nothing is missing between two records, and gathers the watermarks. What a record that is not whole means,
//! the end of the log or damage, `replay` decides.
//!
//! Easy to get wrong: a segment that was made ahead may not have come into use: then it has a header and no link, or its link
//! is in the ring only.

use super::record::{self, Commit, Link, Origin, Record, SegmentHeader, Summary};
use super::scan::{Bytes, FrameReader, Source};
use super::writer::parse_word;
use crate::error::Result;
use crate::format::{FileKind, HEADER_LEN};
use crate::types::{SegmentId, SeqNo, Slice};
use crate::vfs::Staging;

/// How far the walk has come.
#[derive(Debug)]
pub(super) struct Walk {
    /// The newest commit.
    pub(super) last: SeqNo,
    /// The greatest watermark.
    pub(super) durable: SeqNo,
    /// What the footer of the segment before says, if that one has to be followed by a link to it.
    sealed: Option<Summary>,
}

/// How far the records of a segment go.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) source: Source,
    pub(super) header_end: u64,
    /// Where the first commit begins.
    pub(super) start: u64,
    /// Where the last commit ends.
    pub(super) end: u64,
    /// Where the footer ends, if there is one.
    pub(super) footer_end: Option<u64>,
}

impl Walk {
    /// Begins behind the commits up to `flushed`, which are in the runs.
    pub(super) fn new(flushed: SeqNo) -> Walk {
        Walk { last: flushed, durable: flushed, sealed: None }
    }

    /// Walks the records of a segment's file.
    ///
    /// # Errors
    /// `Corruption` if commits are missing before it, or a whole record makes no sense; `Io`.
    pub(super) fn segment(&mut self, source: Source) -> Result<Walked> {
        let (header, header_end) = header(&source)?;
        let mut seqno = match header.origin {
            Origin::Recovery { previous } if previous > self.last => {
                return Err(source.corruption(HEADER_LEN as u64, "commits before this segment are missing"));
            }
            Origin::Recovery { previous } => {
                self.sealed = None;
                Some(previous)
            }
            Origin::Ahead { .. } => None,
        };
        self.take_watermark(&header);
        let mut reader = FrameReader::new(&source);
        let mut summary = Summary::default();
        let (mut start, mut at, mut footer_end) = (header_end, header_end, None);
        while let Some(frame) = reader.frame(at)? {
            match (record::decode(&frame.payload), seqno) {
                (Ok(Record::Link(link)), None) => {
                    self.follow(&source, at, &link)?;
                    seqno = Some(link.previous);
                    start = frame.next;
                }
                (Ok(Record::Commit(commit)), Some(previous)) if commit.seqno == previous.next() => {
                    seqno = Some(commit.seqno);
                    summary.add(frame.checksum);
                    self.take(&commit);
                }
                (Ok(Record::Footer { summary: found, last }), Some(previous))
                    if found == summary && last == previous =>
                {
                    self.sealed = Some(summary);
                    footer_end = Some(frame.next);
                    break;
                }
                _ => return Err(source.corruption(at, "a record with a right checksum makes no sense")),
            }
            at = frame.next;
        }
        Ok(Walked { source, header_end, start, end: at, footer_end })
    }

    /// A segment that a recovery closed at `end`: it must be whole up to there.
    ///
    /// # Errors
    /// As [`Walk::segment`].
    pub(super) fn closed(&mut self, mut source: Source, end: u64) -> Result<Walked> {
        source.end = source.end.min(end);
        let walked = self.segment(source)?;
        if walked.end != end {
            return Err(walked.source.corruption(walked.end, "a record that was durable is damaged"));
        }
        self.sealed = None;
        Ok(walked)
    }

    /// Walks the records in the ring, which carries on the segment `walked`. Returns where they begin and end, and nothing if
    /// there are none.
    ///
    /// # Errors
    /// As [`Walk::segment`].
    pub(super) fn staged(&mut self, walked: &Walked, staged: &Source) -> Result<Option<(u64, u64)>> {
        let begin = u64::from(staged.base);
        if begin > walked.footer_end.unwrap_or(walked.end) {
            // A gap before the base: the file has lost what the ring follows.
            return Ok(None);
        }
        let mut reader = FrameReader::new(staged);
        let (mut start, mut at) = (begin, begin);
        while let Some(frame) = reader.frame(at)? {
            match record::decode(&frame.payload) {
                Ok(Record::Link(link)) if at == walked.header_end => {
                    self.follow(staged, at, &link)?;
                    start = frame.next;
                }
                Ok(Record::Commit(commit)) if commit.seqno <= self.last.next() => self.take(&commit),
                Ok(Record::Commit(_)) => {
                    return Err(staged.corruption(at, "commits before a staged one are missing"));
                }
                _ => break,
            }
            at = frame.next;
        }
        Ok((at > start).then_some((start, at)))
    }

    /// Whether a whole commit in `from..end` of `source` proves that a commit was durable once and is not there.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn is_disproved_by(&self, source: &Source, from: u64, end: u64) -> Result<bool> {
        FrameReader::new(source).find_commit(from, end, |commit| commit.durable > self.last)
    }

    /// Checks the link at `at`.
    fn follow(&self, source: &Source, at: u64, link: &Link) -> Result<()> {
        if link.previous > self.last {
            return Err(source.corruption(at, "commits before this segment are missing"));
        }
        if self.sealed.is_some_and(|footer| footer != link.sealed) {
            return Err(source.corruption(at, "the link does not repeat the footer before it"));
        }
        Ok(())
    }

    /// Takes note of what a segment's header says was durable.
    pub(super) fn take_watermark(&mut self, header: &SegmentHeader) {
        if let Origin::Ahead { durable } = header.origin {
            self.durable = self.durable.max(durable);
        }
    }

    /// Takes note of a commit; the caller has checked that none is missing before it.
    fn take(&mut self, commit: &Commit<'_>) {
        self.durable = self.durable.max(commit.durable);
        self.last = self.last.max(commit.seqno);
    }
}

/// The staged bytes as a part of the segment in `file`, which the ring must be about.
pub(super) fn staged_part(file: &Source, ring: &dyn Staging) -> Source {
    let (_, base) = staged_place(ring);
    let bytes = Slice::from(ring.bytes());
    Source { base, end: u64::from(base) + bytes.len() as u64, bytes: Bytes::Ring(bytes), ..file.clone() }
}

/// What the staging ring is about: a segment, and where in it the staged bytes begin.
pub(super) fn staged_place(ring: &dyn Staging) -> (SegmentId, u32) {
    parse_word(ring.word())
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

/// The link of a segment that was made ahead, and where it ends; `None` if it never came into use.
pub(super) fn link(source: &Source, header_end: u64) -> Result<Option<(Link, u64)>> {
    let Some(frame) = FrameReader::new(source).frame(header_end)? else { return Ok(None) };
    match record::decode(&frame.payload) {
        Ok(Record::Link(link)) => Ok(Some((link, frame.next))),
        _ => Err(source.corruption(header_end, "a segment without a link has records")),
    }
}
