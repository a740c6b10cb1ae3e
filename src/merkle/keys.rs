//! [`SortedKeys`]: an immutable sorted list of byte strings that is quick to search. `bounds` keeps the starts of chunks
//! and of buckets in it.
//!
//! All bytes lie in one allocation, and beside them sixteen bytes of each key as a number. The numbers begin after the
//! prefix that all keys share; they are as long as that because inner keys of one keyspace have nine bytes in common.
//!
//! Easy to get wrong: equal numbers do not mean equal keys, so among those the whole keys decide.

/// Byte strings in strictly rising order.
#[derive(Debug)]
pub(super) struct SortedKeys {
    bytes: Box<[u8]>,
    /// Where each key ends in `bytes`.
    ends: Box<[u32]>,
    /// Length of the prefix that all keys share.
    common_len: usize,
    /// The sixteen bytes after the common prefix, big-endian, zeros where a key is shorter.
    heads: Box<[u128]>,
}

impl SortedKeys {
    /// A list of these keys, which must rise strictly and hold less than 4 GiB together.
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a [u8]> + Clone) -> SortedKeys {
        let (count, len) = keys.clone().fold((0, 0), |(count, len), key| (count + 1, len + key.len()));
        let (mut bytes, mut ends) = (Vec::with_capacity(len), Vec::with_capacity(count));
        for key in keys {
            bytes.extend_from_slice(key);
            ends.push(u32::try_from(bytes.len()).expect("a chunk holds at most 128 keys of 64 KiB"));
        }
        let (bytes, ends) = (bytes.into_boxed_slice(), ends.into_boxed_slice());
        let mut keys = SortedKeys { bytes, ends, common_len: 0, heads: Box::default() };
        let (first, last) = (keys.get(0), keys.get(keys.len().saturating_sub(1)));
        keys.common_len = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        keys.heads = (0..keys.len()).map(|index| head(tail(keys.get(index), keys.common_len))).collect();
        keys
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Key number `index`; empty beyond the last one.
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let start =
            index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |&end| end as usize);
        let end = self.ends.get(index).map_or(start, |&end| end as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// How many keys are at or before `key`. O(log keys).
    pub(super) fn count_through(&self, key: &[u8]) -> usize {
        let common = self.bytes.get(..self.common_len).unwrap_or_default();
        if !key.starts_with(common) {
            return if key < common { 0 } else { self.len() };
        }
        let wanted = head(tail(key, self.common_len));
        let before = self.heads.partition_point(|&head| head < wanted);
        let same = tail(&self.heads, before);
        if same.first() != Some(&wanted) {
            return before;
        }
        let (mut low, mut high) = (before, before + same.partition_point(|&head| head == wanted));
        while low < high {
            let middle = low.midpoint(high);
            if self.get(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn tail<T>(items: &[T], from: usize) -> &[T] {
    items.get(from..).unwrap_or_default()
}

fn head(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    match key.first_chunk() {
        Some(first) => bytes = *first,
        None => bytes.iter_mut().zip(key).for_each(|(to, &from)| *to = from),
    }
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_finds_what_a_walk_finds() {
        let lists: [&[&[u8]]; 5] = [
            &[],
            &[b"\x01"],
            &[b"\x01", b"\x01a", b"\x01a\0", b"\x01a\0\0", b"\x01b"],
            &[b"common 12345678", b"common 12345678a", b"common 12345678b", b"common 2"],
            &[b"", b"\0", b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\0\0", b"\xff"],
        ];
        for list in lists {
            let keys = SortedKeys::new(list.iter().copied());
            let probes = lists.iter().flat_map(|list| list.iter()).flat_map(|key| {
                [key.to_vec(), [*key, b"\0"].concat(), key.get(1..).unwrap_or_default().to_vec()]
            });
            for probe in probes.chain([b"".to_vec(), b"com".to_vec(), b"cz".to_vec()]) {
                let walked = list.iter().filter(|key| **key <= &probe[..]).count();
                assert_eq!(keys.count_through(&probe), walked, "{list:?} at {probe:?}");
            }
            assert!(list.iter().enumerate().all(|(index, key)| keys.get(index) == *key));
        }
    }
}
