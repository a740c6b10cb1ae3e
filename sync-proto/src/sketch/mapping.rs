//! Which cells an element is in.
//!
//! Easy to get wrong: both sides must jump alike on every machine. The arithmetic is that of IEEE 754 doubles (addition,
//! multiplication, division and square root, each rounded once), which every platform computes to the same bits.

/// The cells of one element: 0, and each cell `i` with the probability 1/(1 + i/2). From cell `c` the next one lies
/// beyond `i` with the probability `(c + 1)(c + 2) / ((i + 1)(i + 2))`, and is drawn by inverting that. Never ends; about
/// 2 ln m of them lie below m.
#[derive(Debug, Clone)]
pub(crate) struct Mapping {
    state: u64,
    next: f64,
}

impl Mapping {
    pub(crate) fn new(fingerprint: u64) -> Mapping {
        Mapping { state: fingerprint, next: 0.0 }
    }

    /// The cells below `cell_count`, rising.
    pub(crate) fn below(self, cell_count: usize) -> impl Iterator<Item = usize> {
        // No index is so great that a double could not hold it: iteration ends at the first one beyond the cells.
        self.map_while(move |cell| (cell < cell_count as f64).then_some(cell as usize))
    }
}

impl Iterator for Mapping {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        let cell = self.next;
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        // The 53 bits that a double holds, as a number in (0, 1].
        let uniform = ((mix(self.state) >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let beyond = (cell + 1.0) * (cell + 2.0) / uniform;
        self.next = ((beyond + 0.25).sqrt() - 1.5).ceil().max(cell + 1.0);
        Some(cell)
    }
}

/// The finalizer of SplitMix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
