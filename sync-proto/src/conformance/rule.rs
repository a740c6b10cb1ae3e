//! What a store can break, by name, and how it is told.

use std::fmt;

use crate::error::ReplicaError;
use crate::types::RangeSum;

/// Rules and what they say, which is their documentation as well.
macro_rules! rules {
    ($($name:ident: $text:literal,)*) => {
        /// What the suite checks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// The rule in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Rule::$name => $text,)*
                }
            }
        }
    };
}

rules! {
    Answered: "a request that is legal is answered",
    Fresh: "a new store holds nothing",
    Identity: "stores of one set have the same set id and hash check, and each its own node id; reopening keeps all",
    Root: "the root is the sum of every entry in `replicated`, and every entry lies there",
    EntryHash: "the entry hash depends on all fields jointly",
    ChildrenCover: "children cover the range: the first starts where it starts, the others at rising keys within",
    ChildrenSum: "the sum of each child is that of the entries in it",
    ChildrenCut: "a fence of a level is one of every lower level; `Pieces` cuts as the level that it names, and cuts at all if there is an inner fence",
    ChildrenContinue: "children that are cut short go on from the last piece, and come to the same",
    Sums: "the sums between bounds are those of the entries there, one more than bounds",
    SplitCovers: "a split covers the range, and its sums are those of the entries there",
    SplitDivides: "a split has at most as many pieces as asked for, at least two of two entries, about equally large",
    Heads: "heads are those of the entries of the range, in key order, and `next` is the first one left out",
    Entries: "entries are the current versions of the keys that are held, in order, as far as is said to be answered",
    EntriesIn: "entries of a range are its current versions in key order, and `next` is the first one left out",
    Limits: "an answer keeps to its limits, but holds one element if there is one; longer values come in parts",
    Value: "parts of a value are its bytes from there on, and there are none of a version that is not current",
    UserReads: "users read what the protocol shows",
    Merge: "of all versions of a key the greatest by (stamp, kind, entry hash) stays, whatever the order of arrival",
    Counted: "the four counts of what was applied add up to the entries, and say truly what was taken",
    Deferred: "a stamp far in the future is deferred, and changes nothing",
    LocalWrite: "a write of this store's user is newer than what was held, bears this node's id, and leaves a tombstone if it deletes",
    StagedValue: "a value that comes in parts is merged like any other entry",
    AbandonedValue: "a value that is not committed leaves nothing behind",
    Reopened: "a store that is opened again holds and sums up what it did, and says that it was opened again",
    Table: "an empty table of members has the checksum 0, and where that is 0 anybody may meet",
    Pin: "all that one reader compares is as of when it was pinned, and what it sends is as of now",
    Cut: "at a cut, all answers leave out what ended before it and nothing else",
    Lost: "what is lost is told: spans in order and apart, values of entries that are held; all else is as it was",
    Healing: "what heals a peer's span is all that is held of the first part that is known, at a cut no lower than the horizon",
    Healed: "a session with a peer that holds it all brings back what was lost, and leaves what is newer; the next one compares",
    SessionEnds: "a session between two stores of a set completes on both sides",
    SessionConverges: "after a session both hold the merge of what each held",
    SessionIsFrugal: "a session sends every entry that differs once",
    DryRun: "a dry run changes nothing",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A store breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {rule:?} is broken ({rule}): {detail}")]
#[non_exhaustive]
pub struct Failure {
    /// Which.
    pub rule: Rule,
    /// The seed that breaks it again, by `check(seed..seed + 1, ..)`.
    pub seed: u64,
    /// What was seen, and what was expected.
    pub detail: String,
}

/// A failure that does not know its seed yet.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) detail: String,
}

/// What a check comes to.
pub(super) type Checked<T = ()> = Result<T, Broken>;

impl Rule {
    /// Fails unless `holds`.
    pub(super) fn holds(self, holds: bool, detail: impl FnOnce() -> String) -> Checked {
        if holds { Ok(()) } else { Err(self.broken(detail())) }
    }

    /// Fails unless both are the same.
    pub(super) fn same<T: PartialEq + fmt::Debug>(self, what: &str, seen: &T, expected: &T) -> Checked {
        self.holds(seen == expected, || format!("{what} is {}, not {}", short(seen), short(expected)))
    }

    /// Fails unless both are sums of the same entries. What counts as an entry's bytes is the store's own affair.
    pub(super) fn same_sum(self, what: &str, seen: &RangeSum, expected: &RangeSum) -> Checked {
        self.holds(seen.is_same_set(expected), || format!("{what} is {seen:?}, not {expected:?}"))
    }

    pub(super) fn broken(self, detail: impl Into<String>) -> Broken {
        Broken { rule: self, detail: detail.into() }
    }
}

/// The answer to a request that is legal.
pub(super) fn answer<T>(what: &str, result: Result<T, ReplicaError>) -> Checked<T> {
    result.map_err(|error| Rule::Answered.broken(format!("{what} fails: {error}")))
}

/// A value for people, cut where it gets too long for them.
pub(super) fn short(value: &impl fmt::Debug) -> String {
    const CHARS_MAX: usize = 400;
    let text = format!("{value:?}");
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}... ({} bytes)", text.get(..end).unwrap_or_default(), text.len()),
        None => text,
    }
}
