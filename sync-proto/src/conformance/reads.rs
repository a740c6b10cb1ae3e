//! The read requests of a replica against what it should hold, for one range at a time.
//!
//! Easy to get wrong: where a store has its fences is its own affair. Any cut is right that covers the range and adds up.

use super::expected::{Expected, Held};
use super::random::Random;
use super::rule::{Checked, Rule, answer, short};
use crate::replica::{Children, Cut, Fetched, Piece, ReadLimit, Replica, ReplicaReader};
use crate::types::{Entry, KeyRange, Kind, RangeSum, Stamp};

/// More than any test holds.
const UNLIMITED: ReadLimit = ReadLimit { count: 1 << 20, bytes: 1 << 30 };

/// A range of a replica, and what it should say of it.
pub(super) struct Reads<'a> {
    pub(super) reader: &'a dyn ReplicaReader,
    pub(super) expected: &'a Expected,
    pub(super) range: KeyRange,
}

impl Reads<'_> {
    /// Asks everything that can be asked of the range.
    pub(super) fn check(&self, random: &mut Random) -> Checked {
        self.check_compared(random)?;
        self.check_sent(random)
    }

    /// Asks everything that sessions compare.
    pub(super) fn check_compared(&self, random: &mut Random) -> Checked {
        self.children(random)?;
        self.sums(random)?;
        self.split(random)?;
        self.heads(random)
    }

    /// Asks everything that sessions send.
    pub(super) fn check_sent(&self, random: &mut Random) -> Checked {
        self.entries(random)?;
        self.entries_in(random)?;
        self.values(random)
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.expected.within(&self.range)
    }

    fn children(&self, random: &mut Random) -> Checked {
        let ask = |cut| self.children_of(&self.range, cut, UNLIMITED);
        let finest = ask(Cut::Level(0))?;
        let mut finer = finest.clone();
        for level in 1..4 {
            let coarser = ask(Cut::Level(level))?;
            Rule::ChildrenCut.same("the level", &coarser.level, &level)?;
            let are_among =
                coarser.pieces.iter().all(|piece| finer.pieces.iter().any(|p| p.start == piece.start));
            Rule::ChildrenCut
                .holds(are_among, || format!("{}: level {level} cuts elsewhere", self.named()))?;
            finer = coarser;
        }
        let pieces = random.one_of([2, 8, 24, 256]);
        let cut = ask(Cut::Pieces(pieces))?;
        Rule::ChildrenCut.same("the cut by pieces", &cut.pieces, &ask(Cut::Level(cut.level))?.pieces)?;
        Rule::ChildrenCut.holds(cut.pieces.len() >= finest.pieces.len().min(2), || {
            format!("{} is not cut into {pieces}, and has an inner fence", self.named())
        })?;
        self.children_continued(&finest, random.one_of([2, 3, 10]))
    }

    /// Children asked for few at a time.
    fn children_continued(&self, whole: &Children, count: u32) -> Checked {
        let mut range = self.range.clone();
        let mut starts: Vec<Vec<u8>> = Vec::new();
        loop {
            let part = self.children_of(&range, Cut::Level(0), ReadLimit { count, ..UNLIMITED })?;
            Rule::Limits.holds(part.pieces.len() <= count as usize, || {
                format!("{} children instead of at most {count}", part.pieces.len())
            })?;
            let mut found = part.pieces.into_iter().map(|piece| piece.start);
            if !part.more {
                starts.extend(found);
                break;
            }
            let last = found.next_back().filter(|last| *last > range.start);
            starts.extend(found);
            let Some(last) = last else {
                return Err(
                    Rule::ChildrenContinue.broken("more is to come, and there is nowhere to go on from")
                );
            };
            range.start = last;
        }
        let expected = whole.pieces.iter().map(|piece| piece.start.clone()).collect();
        Rule::ChildrenContinue.same("the cut in parts", &starts, &expected)
    }

    fn children_of(&self, range: &KeyRange, cut: Cut, limit: ReadLimit) -> Checked<Children> {
        let children = answer("children", self.reader.children(range, cut, limit))?;
        self.covers(Rule::ChildrenCover, range, &children.pieces)?;
        self.add_up(Rule::ChildrenSum, range, &children.pieces)?;
        Ok(children)
    }

    /// Whether pieces cover a range.
    fn covers(&self, rule: Rule, range: &KeyRange, pieces: &[Piece]) -> Checked {
        let is_first = pieces.first().is_some_and(|piece| piece.start == range.start);
        let rise = pieces.is_sorted_by(|a, b| a.start < b.start);
        let within = pieces.iter().all(|piece| range.contains(&piece.start));
        rule.holds(is_first && rise && within, || {
            let starts: Vec<_> = pieces.iter().map(|piece| &piece.start).collect();
            format!("{} falls into pieces at {}", short(range), short(&starts))
        })
    }

    /// Whether each of these pieces has the sum of its entries.
    fn add_up(&self, rule: Rule, range: &KeyRange, pieces: &[Piece]) -> Checked {
        let ends = pieces.iter().skip(1).map(|piece| Some(piece.start.clone())).chain([range.end.clone()]);
        pieces.iter().zip(ends).try_for_each(|(piece, end)| {
            let part = KeyRange { start: piece.start.clone(), end };
            rule.same_sum(&format!("the sum of {}", short(&part)), &piece.sum, &self.expected.sum(&part))
        })
    }

    fn sums(&self, random: &mut Random) -> Checked {
        let mut bounds: Vec<Vec<u8>> = (0..random.below(6)).map(|_| random.bound(self.expected)).collect();
        bounds.retain(|bound| *bound > self.range.start && self.range.contains(bound));
        bounds.sort();
        bounds.dedup();
        let sums = answer("sums", self.reader.sums(&self.range, &bounds))?;
        Rule::Sums.same("the number of sums", &sums.len(), &(bounds.len() + 1))?;
        let starts = [self.range.start.clone()].into_iter().chain(bounds);
        let pieces: Vec<Piece> = starts.zip(sums).map(|(start, sum)| Piece { start, sum }).collect();
        self.add_up(Rule::Sums, &self.range, &pieces)
    }

    fn split(&self, random: &mut Random) -> Checked {
        let asked = random.one_of([2, 3, 16, 256]);
        let pieces = answer("split", self.reader.split(&self.range, asked))?;
        self.covers(Rule::SplitCovers, &self.range, &pieces)?;
        self.add_up(Rule::SplitCovers, &self.range, &pieces)?;
        let count = self.held().count();
        let greatest = pieces.iter().map(|piece| piece.sum.count()).max().unwrap_or_default();
        let is_even = greatest <= 2 * count.div_ceil(asked as usize) as u64;
        let is_cut = pieces.len() >= count.min(2);
        Rule::SplitDivides.holds(is_even && is_cut && pieces.len() <= asked as usize, || {
            let counts: Vec<_> = pieces.iter().map(|piece| piece.sum.count()).collect();
            format!("{count} entries, asked for in {asked} pieces, are split into {counts:?}")
        })
    }

    fn heads(&self, random: &mut Random) -> Checked {
        let limit = random_limit(random);
        let mut range = self.range.clone();
        loop {
            let answer = answer("heads", self.reader.heads(&range, limit))?;
            let (count, next) = (answer.heads.len(), answer.next);
            self.is_continued(Rule::Heads, &range, count, next.as_ref())?;
            for (head, held) in answer.heads.iter().zip(self.expected.within(&range)) {
                Rule::Heads.same("a head", head, &held.head())?;
            }
            let len = answer.heads.iter().map(|head| head.key.len()).sum();
            within_limit(limit, count, len)?;
            match next {
                Some(next) => range.start = next,
                None => return Ok(()),
            }
        }
    }

    /// Whether an answer of `count` elements from the start of `range` leaves out what `next` says, and goes on.
    fn is_continued(&self, rule: Rule, range: &KeyRange, count: usize, next: Option<&Vec<u8>>) -> Checked {
        let left_out = self.expected.within(range).nth(count).map(|held| &held.entry.key);
        rule.same(&format!("of {}, {count} answered, next", short(range)), &next, &left_out)?;
        rule.holds(count <= self.expected.within(range).count(), || {
            format!("{count} are more than there are")
        })?;
        rule.holds(count > 0 || next.is_none(), || "the answer is empty, and not the last".into())
    }

    fn entries(&self, random: &mut Random) -> Checked {
        let limit = random_limit(random);
        let mut keys: Vec<Vec<u8>> = self.held().map(|held| held.entry.key.clone()).collect();
        keys.retain(|_| !random.one_in(3));
        keys.extend((0..random.below(3)).map(|_| random.bound(self.expected)));
        keys.sort();
        keys.dedup();
        let mut keys = keys.as_slice();
        while !keys.is_empty() {
            let answer = answer("entries", self.reader.entries(keys, limit))?;
            let answered = keys.get(..answer.answered).filter(|answered| !answered.is_empty());
            let Some(answered) = answered else {
                let detail = format!("{} of {} keys are answered", answer.answered, keys.len());
                return Err(Rule::Entries.broken(detail));
            };
            let held: Vec<_> = answered.iter().filter_map(|key| self.expected.get(key)).collect();
            are_fetched(Rule::Entries, &answer.entries, held.into_iter(), limit)?;
            keys = keys.get(answer.answered..).unwrap_or_default();
        }
        Ok(())
    }

    fn entries_in(&self, random: &mut Random) -> Checked {
        let limit = random_limit(random);
        let mut range = self.range.clone();
        loop {
            let answer = answer("entries of a range", self.reader.entries_in(&range, limit))?;
            let count = answer.entries.len();
            self.is_continued(Rule::EntriesIn, &range, count, answer.next.as_ref())?;
            are_fetched(Rule::EntriesIn, &answer.entries, self.expected.within(&range).take(count), limit)?;
            match answer.next {
                Some(next) => range.start = next,
                None => return Ok(()),
            }
        }
    }

    fn values(&self, random: &mut Random) -> Checked {
        let held: Vec<_> = self.held().filter(|held| held.entry.kind == Kind::Put).collect();
        let Some(Held { entry: Entry { key, stamp, value, .. }, .. }) =
            held.get(random.below(held.len() as u64) as usize)
        else {
            return Ok(());
        };
        let part =
            |key: &[u8], stamp, offset, len| answer("value", self.reader.value(key, stamp, offset, len));
        let len = random.one_of([1, 7, 100, 1 << 20]).max(value.len() as u32 / 64);
        let mut seen = Vec::new();
        while seen.len() < value.len() {
            let bytes = part(key, *stamp, seen.len() as u64, len)?.unwrap_or_default();
            Rule::Value.holds(!bytes.is_empty() && bytes.len() <= len as usize, || {
                format!("{} bytes where up to {len} are to come", bytes.len())
            })?;
            seen.extend_from_slice(&bytes);
        }
        Rule::Value.holds(seen == *value, || format!("{} instead of {}", short(&seen), short(value)))?;
        Rule::Value.same(
            "what is beyond the value",
            &part(key, *stamp, value.len() as u64, len)?,
            &Some(Vec::new()),
        )?;
        let other = Stamp { hlc: stamp.hlc + 1, ..*stamp };
        Rule::Value.same("the value of another version", &part(key, other, 0, len)?, &None)?;
        let absent = [key.as_slice(), b"absent"].concat();
        match self.expected.get(&absent) {
            None => Rule::Value.same("the value of an absent key", &part(&absent, *stamp, 0, len)?, &None),
            Some(_) => Ok(()),
        }
    }

    fn named(&self) -> String {
        format!("{} ({} entries)", short(&self.range), self.held().count())
    }
}

/// The root, and that nothing lies outside.
pub(super) fn check_root(replica: &dyn Replica, expected: &Expected) -> Checked {
    let info = answer("info", replica.info(None))?;
    Rule::Root.same_sum("the root", &info.root, &expected.sum(&info.replicated))?;
    Rule::Root.same_sum(
        "the root",
        &info.root,
        &expected.iter().map(|held| held.head().sum()).sum::<RangeSum>(),
    )
}

fn random_limit(random: &mut Random) -> ReadLimit {
    ReadLimit { count: random.one_of([1, 2, 10, 1000]), bytes: random.one_of([1, 40, 400, 1 << 20]) }
}

fn within_limit(limit: ReadLimit, count: usize, len: usize) -> Checked {
    let fits = count <= limit.count as usize && len <= limit.bytes as usize;
    Rule::Limits.holds(fits || count <= 1, || format!("{count} elements of {len} bytes where {limit:?}"))
}

/// Whether these are the entries held, and keep to the limit.
fn are_fetched<'a>(
    rule: Rule,
    fetched: &[Fetched],
    held: impl Iterator<Item = &'a Held>,
    limit: ReadLimit,
) -> Checked {
    let mut held = held.peekable();
    let mut len = 0;
    for fetched in fetched {
        let Some(Held { entry, .. }) = held.next() else {
            return Err(rule.broken(format!("{} was not asked for, or is not held", short(fetched))));
        };
        len += fetched.entry().key.len() + fetched.entry().meta.len() + fetched.entry().value.len();
        let is_large = entry.value.len() > limit.bytes as usize;
        match fetched {
            Fetched::Whole(whole) => {
                rule.same("an entry", whole, entry)?;
                Rule::Limits
                    .holds(!is_large, || format!("a value of {} bytes comes whole", entry.value.len()))?;
            }
            Fetched::Large { entry: head, value_len } => {
                rule.same("an entry without its value", head, &Entry { value: Vec::new(), ..entry.clone() })?;
                rule.same("the length of its value", value_len, &(entry.value.len() as u64))?;
                Rule::Limits.holds(is_large, || format!("a value of {value_len} bytes comes in parts"))?;
            }
            Fetched::Lost(_) => return Err(rule.broken(format!("{} has lost its value", short(fetched)))),
        }
    }
    let left_out = held.next().map(|held| &held.entry.key);
    rule.same("an entry that is left out", &left_out, &None)?;
    within_limit(limit, fetched.len(), len)
}
