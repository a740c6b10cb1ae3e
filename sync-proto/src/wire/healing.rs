//! The two messages that heal: what a side has lost, and all that the other one holds of a part of it.
//!
//! Easy to get wrong: a part without entries says something, too: that there are none.

use super::codec::{Decoded, Malformed, Reader, put_key_after, put_range, put_varint};
use super::entry::{self, ValueBegin};
use crate::healing::{Healing, Lost};
use crate::limits::LOST_COUNT_MAX;
use crate::types::{Entry, KeyRange};

/// "This I have lost; give me what you have of it."
///
/// ```text
/// v   number of spans of unknown keys; for each: a range, where the one before ends or behind it
/// v   number of lost values; for each: its key, against the one before, rising
/// ```
pub(crate) fn put_lost(out: &mut Vec<u8>, lost: &Lost) {
    put_varint(out, lost.spans.len() as u64);
    lost.spans.iter().for_each(|span| put_range(out, span));
    put_varint(out, lost.values.len() as u64);
    let mut previous: &[u8] = &[];
    for key in &lost.values {
        put_key_after(out, previous, key);
        previous = key;
    }
}

/// See [`put_lost`].
pub(crate) fn lost(reader: &mut Reader<'_>) -> Decoded<Lost> {
    let mut lost = Lost::default();
    for _ in 0..reader.count(0, LOST_COUNT_MAX, 3)? {
        let span = reader.range()?;
        let follows = |previous: &KeyRange| previous.end.as_ref().is_some_and(|end| *end <= span.start);
        if !lost.spans.last().is_none_or(follows) {
            return Err(Malformed("spans do not rise"));
        }
        lost.spans.push(span);
    }
    for _ in 0..reader.count(0, LOST_COUNT_MAX, 2)? {
        let previous = lost.values.last();
        let key = reader.key_after(previous.map(Vec::as_slice).unwrap_or_default())?;
        if previous.is_some_and(|previous| key <= *previous) {
            return Err(Malformed("keys do not rise"));
        }
        lost.values.push(key);
    }
    if lost.is_empty() { Err(Malformed("nothing is lost")) } else { Ok(lost) }
}

const NONE: u8 = 0;
const ALL: u8 = 1;
const LONG: u8 = 2;

/// "These are all entries that I hold of the range, but for what ended at or before the cut."
///
/// ```text
/// ..  range        v   cut        1   0 = there are none, 1 = entries follow, as in `entries`, keys rising,
///     2 = one follows, as in `value begin`, and its value after this message, in parts
/// ```
pub(crate) fn put_healing(out: &mut Vec<u8>, healing: &Healing) {
    put_range(out, &healing.range);
    put_varint(out, healing.cut);
    match (&healing.entries[..], healing.value_len) {
        ([entry], Some(value_len)) => {
            out.push(LONG);
            ValueBegin { entry: entry.clone(), value_len }.encode(out);
        }
        ([], _) => out.push(NONE),
        (entries, _) => {
            out.push(ALL);
            entry::put_entries(out, entries);
        }
    }
}

/// See [`put_healing`].
pub(crate) fn healing(reader: &mut Reader<'_>) -> Decoded<Healing> {
    let (range, cut) = (reader.range()?, reader.varint()?);
    let (entries, value_len) = match reader.u8()? {
        NONE => (Vec::new(), None),
        ALL => (entry::entries(reader)?, None),
        LONG => {
            let ValueBegin { entry, value_len } = ValueBegin::decode(reader)?;
            (vec![entry], Some(value_len))
        }
        _ => return Err(Malformed("flag of a range")),
    };
    let rises = entries.is_sorted_by(|a, b| a.key < b.key);
    let is_of_one = |entry: &Entry| {
        range.start == entry.key
            && range.end.as_ref().is_some_and(|end| *end == [&entry.key[..], &[0]].concat())
    };
    if !rises || !entries.iter().all(|entry| range.contains(&entry.key)) {
        return Err(Malformed("entries outside of their range"));
    }
    if value_len.is_some() && !entries.iter().all(is_of_one) {
        return Err(Malformed("a long value that is not alone"));
    }
    Ok(Healing { range, cut, entries, value_len })
}
