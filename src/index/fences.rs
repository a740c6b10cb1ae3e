//! The block index of a run: fence keys and the places of what begins at them, searched where they lie in the file.
//!
//! A block's *fence* is a key at or below its first key and above every key of the block before. Fences lie in pages of
//! [`PAGE_LEN`], and a directory holds the first fence of each page; page and directory have the same form:
//!
//! ```text
//! table = count u32 | length of the common prefix u32
//!       | places: u64 each, count + 1, the last one being where the last thing ends
//!       | heads: 8 each, big-endian: the first bytes of a key beyond the common prefix, filled up with zeros
//!       | starts: u32 each, count + 1: where the rest of a key lies among the rests, and where the last one ends
//!       | common prefix | rests of the keys beyond the common prefix, one after the other
//! ```
//!
//! The places of a page are those of blocks in the file, the places of the directory those of pages in the index. A search
//! compares heads as numbers and looks at rests only where heads agree; taking the common prefix away first is what makes
//! heads differ, for all keys of a keyspace begin with the same nine bytes.
//!
//! Easy to get wrong: the bytes have passed a checksum, and still every read of them is bounded.

use std::cmp::Ordering;
use std::ops::Range;

use crate::codec::{Malformed, Reader};

/// Fences per page: all pages but the last one have exactly so many.
pub(super) const PAGE_LEN: usize = 128;

/// The least bytes that the index spends on a block, by which a number of blocks can be checked before it is believed.
pub(super) const FENCE_LEN_MIN: u64 = 20;

const MALFORMED: Malformed = Malformed { at: 0 };

/// The shortest key above `before` and not above `first`. `before` is below `first`.
pub(super) fn separator<'a>(before: &[u8], first: &'a [u8]) -> &'a [u8] {
    let shared = common_len(before, first);
    first.get(..=shared).unwrap_or(first)
}

/// Length of the common prefix of two keys.
pub(super) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Collects fences in key order. Holds the finished pages, a few bytes for each block of the run.
#[derive(Debug, Default)]
pub(super) struct FencesBuilder {
    pages: Vec<u8>,
    page: TableBuilder,
    directory: TableBuilder,
}

impl FencesBuilder {
    /// Adds the fence of a block that begins at `offset` in the file, where the block before it ends.
    pub(super) fn push(&mut self, fence: &[u8], offset: u64) {
        if self.page.keys.len() == PAGE_LEN {
            self.close_page(offset);
        }
        self.page.push(fence, offset);
    }

    fn close_page(&mut self, blocks_end: u64) {
        let page = std::mem::take(&mut self.page);
        if let Some(first) = page.keys.first() {
            self.directory.push(first, self.pages.len() as u64);
            page.finish(blocks_end, &mut self.pages);
        }
    }

    /// The bytes of the pages and of the directory, the last block of the run ending at `blocks_end` in the file.
    pub(super) fn finish(mut self, blocks_end: u64) -> (Vec<u8>, Vec<u8>) {
        self.close_page(blocks_end);
        let mut directory = Vec::new();
        self.directory.finish(self.pages.len() as u64, &mut directory);
        (self.pages, directory)
    }
}

#[derive(Debug, Default)]
struct TableBuilder {
    keys: Vec<Vec<u8>>,
    places: Vec<u64>,
}

impl TableBuilder {
    fn push(&mut self, key: &[u8], place: u64) {
        self.keys.push(key.to_vec());
        self.places.push(place);
    }

    fn finish(self, end: u64, out: &mut Vec<u8>) {
        let prefix_len = match (self.keys.first(), self.keys.last()) {
            (Some(first), Some(last)) => common_len(first, last),
            _ => 0,
        };
        out.extend_from_slice(&(self.keys.len() as u32).to_le_bytes());
        out.extend_from_slice(&(prefix_len as u32).to_le_bytes());
        for place in self.places.iter().chain([&end]) {
            out.extend_from_slice(&place.to_le_bytes());
        }
        let rests = || self.keys.iter().filter_map(|key| key.get(prefix_len..));
        for rest in rests() {
            out.extend_from_slice(&head(rest).to_be_bytes());
        }
        let mut start = 0u32;
        for len in rests().map(<[u8]>::len).chain([0]) {
            out.extend_from_slice(&start.to_le_bytes());
            start += len as u32;
        }
        out.extend_from_slice(self.keys.first().and_then(|key| key.get(..prefix_len)).unwrap_or_default());
        rests().for_each(|rest| out.extend_from_slice(rest));
    }
}

/// The first eight bytes as a number that orders as they do.
pub(super) fn head(rest: &[u8]) -> u64 {
    let mut head = [0; 8];
    head.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(head)
}

/// A page or the directory, where it lies.
#[derive(Debug, Clone, Copy)]
struct Table<'a> {
    places: &'a [[u8; 8]],
    heads: &'a [[u8; 8]],
    starts: &'a [[u8; 4]],
    prefix: &'a [u8],
    rests: &'a [u8],
}

impl<'a> Table<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Table<'a>, Malformed> {
        let mut reader = Reader::new(bytes);
        let (count, prefix_len) = (reader.u32()? as usize, reader.u32()? as usize);
        // Checked before it is multiplied: every key takes more bytes than one.
        if count > bytes.len() {
            return Err(MALFORMED);
        }
        let places = reader.bytes(8 * (count + 1))?.as_chunks().0;
        let heads = reader.bytes(8 * count)?.as_chunks().0;
        let starts = reader.bytes(4 * (count + 1))?.as_chunks().0;
        let prefix = reader.bytes(prefix_len)?;
        let rests = reader.bytes(reader.remaining())?;
        Ok(Table { places, heads, starts, prefix, rests })
    }

    fn count(&self) -> usize {
        self.heads.len()
    }

    /// Where thing `index` begins and ends.
    fn place(&self, index: usize) -> Result<Range<u64>, Malformed> {
        match self.places.get(index..).unwrap_or_default() {
            [start, end, ..] => Ok(u64::from_le_bytes(*start)..u64::from_le_bytes(*end)),
            _ => Err(MALFORMED),
        }
    }

    fn rest(&self, index: usize) -> Result<&'a [u8], Malformed> {
        match self.starts.get(index..).unwrap_or_default() {
            [start, end, ..] => {
                let range = u32::from_le_bytes(*start) as usize..u32::from_le_bytes(*end) as usize;
                self.rests.get(range).ok_or(MALFORMED)
            }
            _ => Err(MALFORMED),
        }
    }

    /// Number of keys at or below `key`.
    fn count_through(&self, key: &[u8]) -> Result<usize, Malformed> {
        let Some(wanted) = key.strip_prefix(self.prefix) else {
            return Ok(if key < self.prefix { 0 } else { self.count() });
        };
        let wanted_head = head(wanted);
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            let head = self.heads.get(middle).map_or(0, |head| u64::from_be_bytes(*head));
            let order = match head.cmp(&wanted_head) {
                Ordering::Equal => self.rest(middle)?.cmp(wanted),
                order => order,
            };
            if order == Ordering::Greater {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(low)
    }
}

/// The block index of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fences<'a> {
    pages: &'a [u8],
    directory: &'a [u8],
}

impl<'a> Fences<'a> {
    pub(super) fn new(pages: &'a [u8], directory: &'a [u8]) -> Fences<'a> {
        Fences { pages, directory }
    }

    /// The number of the block that holds `key` if the run does: the last one whose fence is at or below it. `None` if
    /// the key is below every fence.
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<usize>, Malformed> {
        let directory = Table::parse(self.directory)?;
        let Some(page) = directory.count_through(key)?.checked_sub(1) else { return Ok(None) };
        let index = self.page(&directory, page)?.count_through(key)?;
        // The page was chosen because its first fence is at or below the key.
        Ok(Some(page * PAGE_LEN + index.saturating_sub(1)))
    }

    /// Where block `number` lies in the file.
    pub(super) fn place(&self, number: usize) -> Result<Range<u64>, Malformed> {
        self.page_of(number)?.place(number % PAGE_LEN)
    }

    /// The fence of block `number`.
    pub(super) fn fence(&self, number: usize) -> Result<Vec<u8>, Malformed> {
        let page = self.page_of(number)?;
        Ok([page.prefix, page.rest(number % PAGE_LEN)?].concat())
    }

    fn page_of(&self, number: usize) -> Result<Table<'a>, Malformed> {
        self.page(&Table::parse(self.directory)?, number / PAGE_LEN)
    }

    fn page(&self, directory: &Table<'a>, page: usize) -> Result<Table<'a>, Malformed> {
        let place = directory.place(page)?;
        let range = usize::try_from(place.start).ok().zip(usize::try_from(place.end).ok());
        let bytes = range.and_then(|(start, end)| self.pages.get(start..end)).ok_or(MALFORMED)?;
        Table::parse(bytes)
    }
}
