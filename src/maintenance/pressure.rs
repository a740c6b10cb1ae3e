//! [`Pressure`]: how far background work lags behind, and how much that slows writers down. Pure arithmetic.
//!
//! A writer that outruns flushes would have to stop for a whole flush once memory is full. It is slowed down before that
//! instead, by a little for every byte it commits, and the more the fuller memory is; so it settles at the pace that flushes
//! keep up with, in waits of milliseconds. Runs that pile up because merges lag slow it in the same way.
//!
//! Easy to get wrong: how fast the disk is nobody knows beforehand, so the wait for a byte has to grow without bound as
//! room gets scarce: then its unit matters little.

/// Nanoseconds that a committed byte waits when the backlog is at one half: what a flush of it takes on a fast disk.
const NANOS_PER_BYTE: f64 = 10.0;

/// The longest wait of one commit, in nanoseconds.
const WAIT_MAX: f64 = 50e6;

/// Below this share of the room nobody waits: one memtable that is being flushed and half of the next.
const FREE: f64 = 0.5;

/// What waits for background work, and how much of it may.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pressure {
    /// Bytes in memtables, the active one included.
    pub(super) memory: usize,
    /// The most that there may be.
    pub(super) memory_max: usize,
    pub(super) runs: usize,
    /// As many as may stand when merges keep up.
    pub(super) runs_free: usize,
}

impl Pressure {
    /// From 0, when background work keeps up, to 1, when there is no room left.
    pub(super) fn level(&self) -> f64 {
        let memory = self.memory as f64 / self.memory_max.max(1) as f64;
        let runs = self.runs.saturating_sub(self.runs_free) as f64 / self.runs_free.max(1) as f64;
        ((memory - FREE) / (1.0 - FREE)).max(runs).clamp(0.0, 1.0)
    }

    /// How long whoever commits `bytes` is to wait, in nanoseconds. The square in the divisor keeps the last of the room
    /// from ever being used up by small commits, however long a flush takes.
    pub(super) fn wait(&self, bytes: u64) -> u64 {
        let level = self.level().min(0.995);
        let ratio = level / (1.0 - level);
        (bytes as f64 * NANOS_PER_BYTE * ratio * ratio).min(WAIT_MAX) as u64
    }

    /// How much of its pace a limit of background bytes may take away, from 1 down to 0 as soon as runs or memory pile up:
    /// no writer is to wait for work that only the limit holds back.
    pub(super) fn patience(&self) -> f64 {
        let half = self.runs_free / 2;
        let runs = self.runs.saturating_sub(half) as f64 / half.max(1) as f64;
        if self.level() > 0.0 { 0.0 } else { (1.0 - runs).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pressure(memory: usize, runs: usize) -> Pressure {
        Pressure { memory, memory_max: 48 << 20, runs, runs_free: 8 }
    }

    /// A writer that could commit a byte in 1 ns, and flushes that take `flush` ns for each byte of a memtable of 16 MiB.
    /// Returns the longest time that the writer stood still, in ms, and its time for a byte once it has settled.
    fn simulate(flush: f64) -> (f64, f64) {
        const MEMTABLE: f64 = (16 << 20) as f64;
        const PIECE: f64 = 1000.0;
        let (mut now, mut sealed, mut active, mut flushed_at) = (0.0, 0, 0.0, f64::INFINITY);
        let (mut longest, mut settled, mut total) = (0f64, 0.0, 0.0);
        while total < 40.0 * MEMTABLE {
            let memory = (active + f64::from(sealed) * MEMTABLE) as usize;
            let mut wait = pressure(memory, 0).wait(PIECE as u64) as f64;
            if active >= MEMTABLE {
                if sealed == 2 {
                    wait = wait.max(flushed_at - now);
                } else {
                    (sealed, active) = (sealed + 1, 0.0);
                    if flushed_at.is_infinite() {
                        flushed_at = now + flush * MEMTABLE;
                    }
                }
            }
            longest = longest.max(wait / 1e6);
            now += PIECE + wait;
            while now >= flushed_at {
                sealed -= 1;
                flushed_at = if sealed > 0 { flushed_at + flush * MEMTABLE } else { f64::INFINITY };
            }
            if total >= 20.0 * MEMTABLE {
                settled += PIECE + wait;
            }
            (active, total) = (active + PIECE, total + PIECE);
        }
        (longest, settled / (20.0 * MEMTABLE))
    }

    #[test]
    fn a_writer_settles_at_the_pace_of_flushes_without_standing_still() {
        for flush in [0.5, 1.5, 5.0, 20.0, 80.0, 300.0] {
            let (longest, pace) = simulate(flush);
            assert!(longest < 10.0, "{flush} ns: stood still for {longest:.1} ms");
            assert!(pace < 1.1 * flush.max(1.0) + 0.5, "{flush} ns: took {pace:.2} ns for a byte");
        }
    }

    #[test]
    fn nobody_waits_while_work_keeps_up_and_a_limit_gives_way_before_anybody_does() {
        assert_eq!(pressure(24 << 20, 8).wait(1 << 20), 0);
        assert!(pressure(25 << 20, 8).wait(1 << 20) > 0);
        assert!(pressure(0, 9).wait(1 << 20) > 0);
        for (memory, runs) in [(0, 0), (24 << 20, 8), (30 << 20, 2), (0, 12), (usize::MAX, usize::MAX)] {
            let pressure = pressure(memory, runs);
            assert!(pressure.patience() == 0.0 || pressure.wait(1 << 20) == 0, "{pressure:?}");
        }
        assert_eq!((pressure(0, 4).patience(), pressure(0, 8).patience()), (1.0, 0.0));
    }
}
