//! [`Slice`]: bytes that are cheap to clone, whether they lie on the heap or in a mapped file.
//!
//! Easy to get wrong: a held slice pins whatever owns its bytes (a block, a memtable's value, a whole mapped file),
//! so copy what is kept for long.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Whatever keeps the bytes of a [`Slice`] alive.
pub(crate) type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A cheap-clone view of bytes. Holding one pins the memory or the mapped file that it points into; `to_vec` lets go.
#[derive(Clone)]
pub struct Slice {
    /// `None` is the empty slice, so that tombstones and empty `meta` cost nothing.
    owner: Option<Owner>,
    range: Range<usize>,
}

impl Slice {
    /// The empty slice.
    pub const fn empty() -> Slice {
        Slice { owner: None, range: 0..0 }
    }

    /// The bytes of `owner` in `range`, or `None` if it does not hold that many.
    pub(crate) fn of(owner: Owner, range: Range<usize>) -> Option<Slice> {
        (*owner).as_ref().get(range.clone())?;
        Some(Slice { owner: Some(owner), range })
    }

    /// The part `range` of this slice, sharing its owner, or `None` if it reaches beyond the end.
    pub(crate) fn sub(&self, range: Range<usize>) -> Option<Slice> {
        self.get(range.clone())?;
        let start = self.range.start + range.start;
        Some(Slice { owner: self.owner.clone(), range: start..start + range.len() })
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.owner {
            Some(owner) => (**owner).as_ref().get(self.range.clone()).unwrap_or_default(),
            None => &[],
        }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Slice {
    fn from(bytes: Vec<u8>) -> Slice {
        if bytes.is_empty() {
            return Slice::empty();
        }
        let range = 0..bytes.len();
        Slice { owner: Some(Arc::new(bytes)), range }
    }
}

impl From<&[u8]> for Slice {
    fn from(bytes: &[u8]) -> Slice {
        Slice::from(bytes.to_vec())
    }
}

impl From<Slice> for Vec<u8> {
    fn from(slice: Slice) -> Vec<u8> {
        slice.to_vec()
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

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Slice
where
    T: SliceLike,
{
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

/// Types that a [`Slice`] may be compared with directly. Sealed.
pub trait SliceLike: sealed::Sealed {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for [u8] {}
    impl Sealed for &[u8] {}
    impl Sealed for Vec<u8> {}
    impl<const N: usize> Sealed for [u8; N] {}
    impl<const N: usize> Sealed for &[u8; N] {}
}

impl<T: sealed::Sealed + ?Sized> SliceLike for T {}

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
}
