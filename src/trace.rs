//! Spans for whoever embeds the library with the feature `tracing`; without it nothing of this is left in the code.
//!
//! Used where work takes milliseconds or more: `flush`, `merge` (a step of one), `recovery`. Sessions have theirs in `sync-proto`.
//! Easy to get wrong: a commit has none, for asking whether somebody listens would be seen in its time.

/// Opens a span of this name until the end of the block, with fields as `tracing::info_span!` takes them.
macro_rules! span {
    ($name:literal $(, $($field:tt)+)?) => {
        #[cfg(feature = "tracing")]
        let _entered = tracing::info_span!(target: "syncline", $name $(, $($field)+)?).entered();
    };
}
