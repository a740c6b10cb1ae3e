//! [`KeyList`]: many keys in one allocation. A session keeps thousands of bounds; a vector for each would double what
//! they cost.

/// Keys in the order in which they were pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyList {
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<u32>,
}

impl KeyList {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Appends a key. The list as a whole is far below 4 GiB, for its owner counts its memory.
    pub(crate) fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(u32::try_from(self.bytes.len()).expect("a session holds megabytes, not gigabytes"));
    }

    /// The last key.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Takes the last key off.
    pub(crate) fn pop(&mut self) {
        self.ends.pop();
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// The keys, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)? as usize,
        };
        self.bytes.get(start..end)
    }

    /// Bytes held, spare capacity included.
    pub(crate) fn memory_len(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }
}

impl<K: AsRef<[u8]>> FromIterator<K> for KeyList {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> KeyList {
        let mut list = KeyList::default();
        keys.into_iter().for_each(|key| list.push(key.as_ref()));
        list.shrink();
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went_in() {
        let keys: [&[u8]; 4] = [b"", b"a", b"", b"long key"];
        let list: KeyList = keys.into_iter().collect();
        assert!((0..4).all(|index| list.get(index) == Some(keys[index])));
        assert_eq!((list.len(), list.get(4)), (4, None));
    }
}
