//! [`Slice`]: bytes that are cheap to clone, whether they lie on the heap or in a mapped file.
//!
//! Easy to get wrong: a held slice pins whatever owns its bytes (a block, a memtable's value, a whole mapped file),
//! so copy what is kept for long.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Whatever keeps the bytes of a [`Slice`] alive.
pub(crate) type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// Bytes up to this many are copied to where their reference count is; more are left in the vector that they came in.
const COPIED_MAX: usize = 1024;

/// Key and value of a commit share an allocation if they have no more bytes than this.
const JOINED_MAX: usize = 256;

/// The kinds of owners.
#[derive(Clone)]
enum Bytes {
    /// Of the empty slice, so that tombstones and empty `meta` cost nothing.
    None,
    /// On the heap, beside their reference count.
    Heap(Arc<[u8]>),
    Owned(Owner),
}

/// A cheap-clone view of bytes. Holding one pins the memory or the mapped file that it points into; `to_vec` lets go.
#[derive(Clone)]
pub struct Slice {
    bytes: Bytes,
    range: Range<usize>,
}

impl Slice {
    /// The empty slice.
    pub const fn empty() -> Slice {
        Slice { bytes: Bytes::None, range: 0..0 }
    }

    /// The bytes of `owner` in `range`, or `None` if it does not hold that many.
    pub(crate) fn of(owner: Owner, range: Range<usize>) -> Option<Slice> {
        (*owner).as_ref().get(range.clone())?;
        Some(Slice { bytes: Bytes::Owned(owner), range })
    }

    /// The part `range` of this slice, sharing its owner, or `None` if it reaches beyond the end.
    pub(crate) fn sub(&self, range: Range<usize>) -> Option<Slice> {
        self.get(range.clone())?;
        let start = self.range.start + range.start;
        Some(Slice { bytes: self.bytes.clone(), range: start..start + range.len() })
    }

    /// Two slices of one allocation: `parts` one after the other, divided before the last one. For short bytes, which a
    /// commit would otherwise allocate twice.
    pub(crate) fn joined(prefix: &[u8], key: &[u8], value: &[u8]) -> (Slice, Slice) {
        let key_len = prefix.len() + key.len();
        let len = key_len + value.len();
        let mut bytes = [0; JOINED_MAX];
        let Some(bytes) = bytes.get_mut(..len) else {
            return (Slice::from([prefix, key].concat()), Slice::from(value));
        };
        bytes[..prefix.len()].copy_from_slice(prefix);
        bytes[prefix.len()..key_len].copy_from_slice(key);
        bytes[key_len..].copy_from_slice(value);
        let bytes: Arc<[u8]> = Arc::from(&*bytes);
        let value = match value {
            [] => Slice::empty(),
            _ => Slice { bytes: Bytes::Heap(bytes.clone()), range: key_len..len },
        };
        (Slice { bytes: Bytes::Heap(bytes), range: 0..key_len }, value)
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::None => return &[],
            Bytes::Heap(bytes) => bytes,
            Bytes::Owned(owner) => (**owner).as_ref(),
        };
        bytes.get(self.range.clone()).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        let range = 0..bytes.len();
        match bytes.len() {
            0..=COPIED_MAX => Slice::from(&bytes[..]),
            _ => Slice { bytes: Bytes::Owned(Arc::new(bytes)), range },
        }
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Slice {
        match bytes {
            [] => Slice::empty(),
            _ => Slice { range: 0..bytes.len(), bytes: Bytes::Heap(Arc::from(bytes)) },
        }
    }
}

impl From<String> for Slice {
    fn from(text: String) -> Slice {
        Slice::from(text.into_bytes())
    }
}

impl From<&str> for Slice {
    fn from(text: &str) -> Slice {
        Slice::from(text.as_bytes())
    }
}

impl From<Slice> for Vec<u8> {
    fn from(slice: Slice) -> Vec<u8> {
        slice.to_vec()
    }
}

/// Shares the slice's bytes instead of copying them: a network server can hand a value that lies in a mapped file to its
/// socket as it is. As long as the `Bytes` or a clone of it lives, it pins what the slice pinned.
#[cfg(feature = "bytes")]
impl From<Slice> for bytes::Bytes {
    fn from(slice: Slice) -> bytes::Bytes {
        match slice.bytes {
            Bytes::None => bytes::Bytes::new(),
            _ => bytes::Bytes::from_owner(slice),
        }
    }
}

impl Default for Slice {
    fn default() -> Slice {
        Slice::empty()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

impl PartialEq for Slice {
    fn eq(&self, other: &Slice) -> bool {
        **self == **other
    }
}

impl Eq for Slice {}

impl PartialOrd for Slice {
    fn partial_cmp(&self, other: &Slice) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As byte strings order, and keys do.
impl Ord for Slice {
    fn cmp(&self, other: &Slice) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Slice {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Equality, order and hash are those of the bytes, so that a map with slices for keys is asked with bytes.
impl Borrow<[u8]> for Slice {
    fn borrow(&self) -> &[u8] {
        self
    }
}

/// Equality of bytes, both ways round.
macro_rules! equals_bytes_of {
    ($([$($generics:tt)*] $other:ty),* $(,)?) => {$(
        impl<$($generics)*> PartialEq<$other> for Slice {
            fn eq(&self, other: &$other) -> bool {
                **self == *AsRef::<[u8]>::as_ref(other)
            }
        }

        impl<$($generics)*> PartialEq<Slice> for $other {
            fn eq(&self, other: &Slice) -> bool {
                other == self
            }
        }
    )*};
}

equals_bytes_of! {
    [] [u8], [] &[u8], [] Vec<u8>, [const N: usize] [u8; N], [const N: usize] &[u8; N],
    [] str, [] &str, [] String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_shares_the_owner_and_refuses_to_reach_beyond_it() {
        let whole = Slice::from(b"hello world".to_vec());
        let part = whole.sub(6..11).expect("within");
        drop(whole);
        assert_eq!(part, b"world");
        assert_eq!(part.sub(1..3).expect("within"), b"or");
        assert!(part.sub(3..6).is_none());
        assert_eq!(Slice::empty().sub(0..0).expect("empty"), b"");
    }

    #[test]
    fn a_slice_is_its_bytes_whatever_holds_them() {
        let (short, long) = (Slice::from("plum"), Slice::from("plum".repeat(1_000)));
        let part = long.sub(0..4).expect("within");
        assert_eq!(short, part);
        assert_eq!(short, "plum");
        assert_eq!("plum", part);
        assert_eq!(part, b"plum");
        assert_eq!(*b"plum", short);
        let (text, bytes) = (String::from("plum"), Vec::from("plum"));
        assert_eq!(short, text);
        assert_eq!(bytes, part);
        assert_ne!(part, "plums");
        let longer = Slice::from("plumage");
        assert!(Slice::empty() < part && part < longer && longer < long);
        let colours = std::collections::HashMap::from([(part, "blue")]);
        assert_eq!(colours.get(&b"plum"[..]), Some(&"blue"));
        let ordered = std::collections::BTreeMap::from([(long, 1), (short, 2)]);
        assert_eq!(ordered.get(&b"plum"[..]), Some(&2));
    }

    #[cfg(feature = "bytes")]
    #[test]
    fn bytes_of_a_slice_are_where_the_slice_has_them_and_keep_their_owner_alive() {
        let owner: Owner = Arc::new(b"hello world".to_vec());
        let alive = Arc::downgrade(&owner);
        let part = Slice::of(owner, 6..11).expect("within");
        let address = part.as_ptr();
        let bytes = bytes::Bytes::from(part);
        let tail = bytes.slice(1..);
        drop(bytes);
        assert_eq!((&tail[..], tail.as_ptr()), (&b"orld"[..], address.wrapping_add(1)));
        assert!(alive.upgrade().is_some());
        drop(tail);
        assert!(alive.upgrade().is_none(), "the last view lets go of the owner");
        assert!(bytes::Bytes::from(Slice::empty()).is_empty());
    }

    #[test]
    fn joined_slices_are_the_parts_whatever_their_lengths() {
        let bytes: Vec<u8> = (0..3_000).map(|number| number as u8).collect();
        for (key_len, value_len) in
            [(0, 0), (16, 0), (0, 5), (16, 100), (16, 232), (16, 233), (248, 0), (249, 0), (2_000, 900)]
        {
            let (key, value) = (&bytes[..key_len], &bytes[bytes.len() - value_len..]);
            let (joined, joined_value) = Slice::joined(b"prefix__", key, value);
            assert_eq!(joined, [b"prefix__", key].concat());
            assert_eq!(joined_value, value);
        }
    }
}
