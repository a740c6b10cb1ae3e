//! The hybrid logical clock that stamps local writes (Kulkarni et al., "Logical Physical Clocks", 2014).
//!
//! Easy to get wrong: it never goes back, whatever the wall clock does, and it must have seen every stamp that this
//! store holds, for a local write always wins over what it replaces.

use crate::types::Stamp;

/// How far ahead of the wall clock a foreign stamp may lie before it is refused or deferred, in milliseconds.
const DRIFT_MAX_MS: u64 = 60_000;

/// Lower bits of the clock that count events within one millisecond.
const COUNTER_BITS: u32 = 16;

/// The clock of one store.
#[derive(Debug)]
pub(crate) struct HybridClock {
    last: u64,
    node: u64,
}

impl HybridClock {
    /// A clock of node `node` whose every stamp lies above `floor`.
    pub(crate) fn new(node: u64, floor: u64) -> HybridClock {
        HybridClock { last: floor, node }
    }

    /// The stamp of an event at wall time `now_ms`: greater than every stamp given out or observed before.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Stamp {
        self.last = (now_ms << COUNTER_BITS).max(self.last.saturating_add(1));
        Stamp { hlc: self.last, node: self.node }
    }

    /// Takes note of a foreign stamp that was merged, so that later local stamps lie above it.
    pub(crate) fn observe(&mut self, hlc: u64) {
        self.last = self.last.max(hlc);
    }

    /// By how many milliseconds `hlc` lies further ahead of `now_ms` than foreign stamps may; `None` if it does not.
    pub(crate) fn excess_drift_ms(hlc: u64, now_ms: u64) -> Option<u64> {
        let ahead_ms = (hlc >> COUNTER_BITS).saturating_sub(now_ms);
        (ahead_ms > DRIFT_MAX_MS).then_some(ahead_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_through_clock_jumps_and_foreign_stamps() {
        let mut clock = HybridClock::new(7, 0);
        let mut last = Stamp::default();
        for now_ms in [1_000, 1_000, 900, 5_000, 0, 4_999, 5_001] {
            let stamp = clock.tick(now_ms);
            assert!(stamp > last, "{stamp:?} after {last:?}");
            last = stamp;
        }
        clock.observe(9_000 << COUNTER_BITS);
        assert!(clock.tick(5_002).hlc > 9_000 << COUNTER_BITS);
    }

    #[test]
    fn only_stamps_beyond_the_drift_are_in_excess() {
        let now_ms = 1_000_000;
        assert_eq!(HybridClock::excess_drift_ms((now_ms + DRIFT_MAX_MS) << COUNTER_BITS, now_ms), None);
        let beyond = (now_ms + DRIFT_MAX_MS + 1) << COUNTER_BITS;
        assert_eq!(HybridClock::excess_drift_ms(beyond, now_ms), Some(DRIFT_MAX_MS + 1));
        assert_eq!(HybridClock::excess_drift_ms(0, now_ms), None);
    }
}
