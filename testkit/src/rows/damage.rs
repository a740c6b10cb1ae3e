//! F5 to F7: files that are cut, or of which bits, sectors and ranges are not what was written.
//!
//! Every length and every bit of a small store is tried, in an order in which each beginning is spread over all of it, so
//! that a short run says something, too.
//!
//! Easy to get wrong: the last records of the log may go, for nothing proves that they had been durable; then the recovery
//! must report bytes that it cut off. Records that only the staging ring had are the exception: it promises nothing after
//! damage.

use std::path::Path;

use crate::checksums;
use crate::random::Random;
use crate::run::Run;
use crate::specimen::{Outcome, Specimen};

/// How far into a file damage is tried: a little beyond the last byte that is not zero, for space is reserved.
fn tried(bytes: &[u8]) -> usize {
    let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.len().min(written + 40)
}

/// F5: the last segment ends anywhere.
pub fn cut_tail(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        let specimen = Specimen::new(run.world(seed), seed)?.without_ring();
        let Some(path) = specimen.files(&[".log"]).pop() else { return Err("there is no log".to_owned()) };
        let whole = specimen.bytes(&path);
        let frames = checksums::frames(&whole);
        let first = frames.first().map_or(0, |frame| frame.end);
        let commits = |len: usize| {
            let within = frames.iter().take_while(|frame| frame.end <= len);
            within.filter(|frame| checksums::is_commit(&whole[frame.start..frame.end])).count() as u64
        };
        let missing = specimen.last - newest(run, &specimen)?;
        let flushed = specimen.last - missing - commits(whole.len());
        for len in spread(tried(&whole) + 1) {
            run.at = format!("{} cut to {len} of {} bytes", path.display(), whole.len());
            let damaged = specimen.copy();
            damaged.put(&path, &whole[..len]);
            run.runs += 1;
            let (found, torn) = match specimen.judge(damaged)? {
                Outcome::Cut { last, torn_bytes } => (last, torn_bytes > 0),
                Outcome::Whole { .. } => (specimen.last, false),
                // A segment that bears its name had a header once.
                Outcome::Refused if len < first => continue,
                outcome => return Err(format!("a cut tail is no damage, but: {outcome:?}")),
            };
            if found != flushed + commits(len) {
                return Err(format!("{} whole commits of {} are there", found, flushed + commits(len)));
            }
            let is_torn = frames.iter().any(|frame| frame.start < len && len < frame.end);
            if is_torn && !torn {
                return Err("an unfinished record was dropped and not reported".to_owned());
            }
            run.reach("a torn tail", torn);
            if !run.goes_on() {
                break;
            }
        }
        Ok(())
    });
    run.must_reach(500, &["a torn tail"]);
}

/// The last commit that an undamaged copy shows.
fn newest(run: &mut Run<'_>, specimen: &Specimen) -> Result<u64, String> {
    run.at = "the undamaged specimen".to_owned();
    match specimen.judge(specimen.copy())? {
        Outcome::Whole { .. } => Ok(specimen.last),
        Outcome::Cut { last, .. } => Ok(last),
        outcome => Err(format!("an undamaged store, and {outcome:?}")),
    }
}

/// F6: bits flipped, ranges zeroed, copied and swapped in the log and the staging ring.
pub fn in_the_log(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        let with_ring = Specimen::new(run.world(seed), seed)?;
        let without = Specimen::new(run.world(seed), seed)?.without_ring();
        let newest = newest(run, &without)?;
        damage(run, &[with_ring, without], &[".log", "RING"], seed, |path, damage, outcome| match outcome {
            // What a flush has taken over is read again only where a value lies there.
            Outcome::Refused | Outcome::Told => Ok(()),
            Outcome::Whole { rebuilt: false } => Ok(()),
            Outcome::Cut { last, .. } if last == newest => Ok(()),
            Outcome::Cut { torn_bytes: 1.., .. } => Ok(()),
            Outcome::Cut { .. } if path.ends_with("RING") => Ok(()),
            // A log whose last records are zero is one that they were never written to.
            Outcome::Cut { .. } if damage == Damage::LastFrames => Ok(()),
            outcome => Err(format!("{outcome:?}: loss in silence")),
        })
    });
    run.must_reach(5_000, &["refused", "cut and reported", "whole"]);
}

/// F7: the same in runs, Merkle files and the manifest.
pub fn in_what_is_derived(run: &mut Run<'_>) {
    run.each_seed(|run, seed| {
        let specimen = Specimen::new(run.world(seed), seed)?;
        let files = [".run", ".merkle", ".manifest", ".values"];
        damage(run, &[specimen], &files, seed, |path, _, outcome| {
            let is_merkle = path.extension().is_some_and(|extension| extension == "merkle");
            match outcome {
                Outcome::Whole { rebuilt } if !rebuilt || is_merkle => Ok(()),
                Outcome::Refused | Outcome::Told if !is_merkle => Ok(()),
                outcome => Err(format!("{outcome:?}")),
            }
        })
    });
    run.must_reach(5_000, &["refused", "entries told to be damaged", "rebuilt", "whole"]);
}

/// What was done to a file of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// Nothing is left of the last frames, and all of those before.
    LastFrames,
    Other,
}

/// Whether what is left of the file is a beginning of it that ends with a frame, and zeros.
fn is_beginning(whole: &[u8], left: &[u8]) -> bool {
    let end = left.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    checksums::frames(whole)
        .iter()
        .any(|frame| frame.start >= end && whole[..frame.start] == left[..frame.start])
}

/// Tries every bit of some files, and as many random changes of ranges.
fn damage(
    run: &mut Run<'_>,
    specimens: &[Specimen],
    extensions: &[&str],
    seed: u64,
    is_allowed: impl Fn(&Path, Damage, Outcome) -> Result<(), String>,
) -> Result<(), String> {
    let mut random = Random::new(seed);
    let files = specimens.iter().flat_map(|specimen| {
        specimen.files(extensions).into_iter().map(move |path| (specimen, specimen.bytes(&path), path))
    });
    let files: Vec<_> = files.collect();
    let bits = files.iter().flat_map(|file| (0..tried(&file.1) * 8).map(move |bit| (file, bit)));
    let bits: Vec<_> = bits.collect();
    for index in spread(bits.len()) {
        let ((specimen, bytes, path), bit) = bits[index];
        let damaged = specimen.copy();
        let mut damage = Damage::Other;
        if random.chance(90) {
            run.at = format!("bit {} of byte {} of {}", bit % 8, bit / 8, path.display());
            damaged.flip(path, bit / 8, 1 << (bit % 8)).map_err(|error| error.to_string())?;
        } else {
            let (what, scrambled) = scramble(bytes, tried(bytes), &mut random);
            run.at = format!("{what} of {}", path.display());
            if is_beginning(bytes, &scrambled) {
                damage = Damage::LastFrames;
            }
            damaged.put(path, &scrambled);
        }
        run.runs += 1;
        let outcome = specimen.judge(damaged)?;
        run.reach("refused", outcome == Outcome::Refused);
        run.reach("entries told to be damaged", outcome == Outcome::Told);
        run.reach("cut and reported", matches!(outcome, Outcome::Cut { torn_bytes: 1.., .. }));
        run.reach("rebuilt", outcome == Outcome::Whole { rebuilt: true });
        run.reach("whole", outcome == Outcome::Whole { rebuilt: false });
        is_allowed(path, damage, outcome)?;
        if !run.goes_on() {
            break;
        }
    }
    Ok(())
}

/// A range zeroed, copied over another, or swapped with it; sectors of 512 bytes or any length.
fn scramble(bytes: &[u8], tried: usize, random: &mut Random) -> (String, Vec<u8>) {
    let mut bytes = bytes.to_vec();
    let len = tried as u64;
    let grain = if random.chance(50) { 512.min(len.max(1)) } else { 1 };
    let place = |random: &mut Random| (random.below(len) / grain * grain) as usize;
    let (a, b) = (place(random), place(random));
    let count = (1 + random.below(300)).max(grain).min(len - a.max(b) as u64) as usize;
    let what = match random.below(3) {
        0 => {
            bytes[a..a + count].fill(0);
            "zeroed"
        }
        1 => {
            bytes.copy_within(a..a + count, b);
            "copied"
        }
        _ => {
            (0..count).for_each(|index| bytes.swap(a + index, b + index));
            "swapped"
        }
    };
    (format!("{count} bytes {what} at {a} and {b}"), bytes)
}

/// The numbers below `count`, each once, any beginning of them spread over all.
pub(super) fn spread(count: usize) -> impl Iterator<Item = usize> {
    let count = count as u64;
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = (count as f64 * 0.618_033_988_75) as u64;
    let stride = (golden.max(1)..).find(|stride| gcd(*stride, count) == 1).unwrap_or(1);
    (0..count).map(move |index| (u128::from(index) * u128::from(stride) % u128::from(count)) as usize)
}
