//! What a horizon means for a single entry: whether it counts, may come in, may be dropped, and what a session compares.
//!
//! All are functions of plain numbers in units of the hybrid clock. Easy to get wrong: of the two horizons of a session the
//! *higher* one cuts, for who has it may have purged already; and an entry that came from a peer is refused by its stamp even
//! if it never ends, for every owner is proven to hold or cover what has such a stamp.

/// Where an entry comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A client, a forward, a hint, an import: anything but a session.
    Outside,
    /// A session.
    Session {
        /// Whether the sender is an owner that is neither joining nor expelled, and knows the key's span.
        in_good_standing: bool,
        /// Whether the key lies in a span that the receiver holds to be unknown, or the receiver is joining.
        wanted: bool,
    },
}

impl Source {
    /// The same, of an entry whose key the store does not know if `is_unknown`.
    pub(crate) fn of_key(self, is_unknown: bool) -> Source {
        match self {
            Source::Session { in_good_standing, wanted } => {
                Source::Session { in_good_standing, wanted: wanted || is_unknown }
            }
            Source::Outside => Source::Outside,
        }
    }
}

/// Whether an entry stamped `hlc` from `source`, which the store neither holds nor covers, is refused.
///
/// Everything with a stamp up to the horizon is proven to be known, so what is not known was dropped and must not come
/// back; and what is closed must not change any more, for a session may have proven it already. Only a
/// store that has lost something, or never had it, may be told by one that has it all.
pub(crate) fn refuses(hlc: u64, horizon: u64, closed: u64, source: Source) -> bool {
    match source {
        Source::Outside => hlc <= closed.max(horizon),
        Source::Session { in_good_standing: true, wanted: true } => false,
        Source::Session { .. } => hlc <= horizon,
    }
}

/// Whether an entry that ends at `end` counts in sums at `cut`; `None` never ends.
pub(crate) fn counts(end: Option<u64>, cut: u64) -> bool {
    end.is_none_or(|end| end > cut)
}

/// Whether the newest version of a key may be dropped. `hides_older` says that a version which it covers is left anywhere in
/// the store, where it would come to light.
pub(crate) fn may_drop(end: Option<u64>, horizon: u64, hides_older: bool, is_unknown: bool) -> bool {
    !counts(end, horizon) && !hides_older && !is_unknown
}

/// What a session between stores with these horizons compares ends after this.
pub(crate) fn cut(own: u64, peer: u64) -> u64 {
    own.max(peer)
}

/// Whether an entry stamped `hlc` survives where a span is replaced by a peer's entries at `cut` and the peer lacks it.
pub(crate) fn survives(hlc: u64, cut: u64) -> bool {
    hlc > cut
}
