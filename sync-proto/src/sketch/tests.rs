//! Sketches against plain sets: what decodes is right, what is too much says so, and liars end.

use std::collections::BTreeSet;

use super::{Cell, Difference, Sketch, cells_for, estimate};
use crate::test_model::rng::Rng;

/// Random sets of `common` elements and some of each side's own, as a sketch of their difference and as sets.
fn differing(rng: &mut Rng, common: u64, added: u64, removed: u64, cells: usize) -> (Sketch, Difference) {
    let draw = |rng: &mut Rng, n: u64| -> BTreeSet<u64> { (0..n).map(|_| rng.next() >> 32).collect() };
    let (common, added, removed) = (draw(rng, common), draw(rng, added), draw(rng, removed));
    let mut sketch = Sketch::new(cells);
    common.iter().chain(&added).for_each(|&element| sketch.add(element));
    common.iter().chain(&removed).for_each(|&element| sketch.remove(element));
    let only = |a: &BTreeSet<u64>, b: &BTreeSet<u64>| -> Vec<u64> {
        a.difference(b).filter(|element| !common.contains(element)).copied().collect()
    };
    (sketch, Difference { added: only(&added, &removed), removed: only(&removed, &added) })
}

#[test]
fn what_decodes_is_the_difference() {
    let (mut decoded, mut refused) = (0, 0);
    for seed in 0..10_000 {
        let rng = &mut Rng(seed);
        let (added, removed) = (rng.below(40), rng.below(40));
        let cells = 1 + rng.below(200) as usize;
        let common = rng.below(100);
        let (sketch, truth) = differing(rng, common, added, removed, cells);
        match sketch.peel() {
            Some(found) => {
                assert_eq!(found, truth, "seed {seed}");
                decoded += 1;
            }
            None => refused += 1,
        }
    }
    assert!(decoded > 4000 && refused > 1000, "{decoded} decoded, {refused} refused");
}

#[test]
fn the_cells_chosen_are_enough_nine_times_in_ten_and_not_many_more() {
    for element_count in [1u64, 2, 5, 10, 30, 100, 400] {
        let tries = if element_count < 100 { 400 } else { 40 };
        let (mut decoded, mut needed) = (0, 0);
        for seed in 0..tries {
            let draw = |cells| {
                differing(&mut Rng(seed), 50, element_count / 3, element_count - element_count / 3, cells).0
            };
            decoded += u64::from(draw(cells_for(element_count)).peel().is_some());
            let least =
                (1..).find(|cells| draw(*cells * element_count.div_ceil(50) as usize).peel().is_some());
            needed += least.expect("some number is enough") as u64 * element_count.div_ceil(50);
        }
        let overhead = needed as f64 / (tries * element_count) as f64;
        let (share, cells) = (decoded as f64 / tries as f64, cells_for(element_count));
        println!("{element_count} elements: {overhead:.2} cells each needed; {share:.2} decoded of {cells}");
        assert!(share > 0.87, "{element_count}: {share}");
        assert!(overhead < 1.9, "{element_count}: {overhead}");
    }
}

#[test]
fn a_difference_that_does_not_decode_is_estimated() {
    for (added, removed) in [(100, 0), (60, 40), (1000, 500), (0, 3000), (10, 4000)] {
        let mut off = 0.0;
        for seed in 0..100 {
            let (sketch, truth) = differing(&mut Rng(seed), 500, added, removed, 65);
            let net = truth.added.len() as i64 - truth.removed.len() as i64;
            let relative = estimate(&sketch, net) as f64 / (added + removed) as f64 - 1.0;
            off += relative * relative;
        }
        let error = (off / 100.0f64).sqrt();
        println!("{added} and {removed}: off by {error:.2}");
        assert!(error < 0.25, "{added} and {removed}: {error}");
    }
}

#[test]
fn cells_of_a_liar_end() {
    for seed in 0..10_000 {
        let rng = &mut Rng(seed);
        let cells = (0..rng.below(60)).map(|_| {
            // Cells that look pure, or nearly.
            let sum = rng.below(4);
            let honest = Sketch::new(1);
            let mut one = honest;
            one.add(sum);
            let check = one.cells()[0].check;
            Cell { sum, check, count: [0, 1, 255][rng.below(3) as usize] }
        });
        let sketch = Sketch::from_cells(cells.collect());
        let cell_count = sketch.cells().len();
        estimate(&sketch, rng.next() as i64);
        if let Some(found) = sketch.peel() {
            assert!(found.added.len() + found.removed.len() <= cell_count, "seed {seed}");
        }
    }
}

#[test]
fn large_sketches_decode_and_hardly_any_cell_is_taken_for_pure_by_mistake() {
    let mut decoded = 0;
    for seed in 0..40 {
        let (sketch, truth) = differing(&mut Rng(seed), 50, 2000, 1500, cells_for(3500));
        let found = sketch.peel();
        decoded += u64::from(found.is_some());
        assert!(found.is_none_or(|found| found == truth), "seed {seed}");
    }
    assert!(decoded >= 36, "{decoded} of 40");
}
