//! [`Compression`]: how the blocks of new runs are stored. Every block says for itself how it is, so a store may hold all
//! kinds at once, and its digest never depends on it.

/// How blocks are stored from now on. What is there already stays as it is until a merge writes it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// As they are: reads take them from the map without a copy.
    #[default]
    None,
    /// LZ4 (feature `lz4`, on by default): quick both ways.
    Lz4,
    /// Zstandard (feature `zstd`) of this level, 1 to 22: smaller and slower. Builds its C library.
    Zstd(u8),
}

impl Compression {
    /// Whether this build can write and read such blocks.
    pub const fn is_supported(self) -> bool {
        match self {
            Compression::None => true,
            Compression::Lz4 => cfg!(feature = "lz4"),
            Compression::Zstd(_) => cfg!(feature = "zstd"),
        }
    }

    /// Codec and level, as the manifest stores them.
    pub(crate) const fn code(self) -> (u8, u8) {
        match self {
            Compression::None => (0, 0),
            Compression::Lz4 => (1, 0),
            Compression::Zstd(level) => (2, level),
        }
    }

    /// What was stored as this codec and level, if that is anything.
    pub(crate) const fn of_code(codec: u8, level: u8) -> Option<Compression> {
        match (codec, level) {
            (0, 0) => Some(Compression::None),
            (1, 0) => Some(Compression::Lz4),
            (2, 1..=22) => Some(Compression::Zstd(level)),
            _ => None,
        }
    }
}
