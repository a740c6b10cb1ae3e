//! F14: huge lengths and counts in files, with checksums made right. Whatever they say, memory stays bounded and the error is
//! typed.
//!
//! The row runs in a child whose address space is limited, so that an allocation of what a file claims ends it.
//!
//! Easy to get wrong: without right checksums nothing behind them is ever reached.

use std::path::Path;
use std::process::Command;

use crate::checksums;
use crate::random::Random;
use crate::run::Run;
use crate::specimen::{Outcome, Specimen};
use crate::world::World;

/// Address space of the child, in KiB: the program, and little more.
const SPACE_KIB: u64 = 256 << 10;

/// Numbers that a length may claim to be.
const CLAIMS: [&[u8]; 6] = [
    &[0xff; 4],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff; 8],
    // Varints of 2^32, 2^63 and 2^35.
    &[0x80, 0x80, 0x80, 0x80, 0x10],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
];

/// F14.
pub fn huge(run: &mut Run<'_>) {
    let Some(child) = run.child.clone() else {
        run.skipped = Some("there is no program to start as a child".to_owned());
        return;
    };
    run.each_seed(|run, seed| {
        run.at = "in a child".to_owned();
        let out = in_little_space(&child, SPACE_KIB, &format!("lengths {seed}"))?;
        let mut counts = out.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(tried)), Some(Ok(refused))) = (counts.next(), counts.next()) else {
            return Err(format!("the child said {out}"));
        };
        run.runs += tried;
        run.reach("a claim refused", refused > 0);
        run.reach("a claim nobody looked at", refused < tried);
        Ok(())
    });
    run.must_reach(500, &["a claim refused", "a claim nobody looked at"]);
}

/// Runs `program` as a child of these words in an address space of so many KiB; what it said.
pub(super) fn in_little_space(program: &Path, kib: u64, words: &str) -> Result<String, String> {
    let limited = format!("ulimit -v {kib} && exec \"$0\" child {words}");
    let outcome = Command::new("sh").arg("-c").arg(limited).arg(program).output();
    let outcome = outcome.map_err(|error| format!("the child cannot be run: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match outcome.status.success() {
        true => Ok(said(&outcome.stdout)),
        false => Err(format!("{}: {} {}", outcome.status, said(&outcome.stdout), said(&outcome.stderr))),
    }
}

/// The child: tries claims at random places of the files of one specimen; how many, and of how many it was told.
///
/// # Errors
/// A sentence that says what was wrong and where.
pub fn child(seed: u64) -> Result<(u64, u64), String> {
    let specimen = Specimen::new(World::new(seed), seed)?;
    let mut random = Random::new(seed);
    let files = specimen.files(&[".log", ".run", ".merkle", ".manifest", "RING"]);
    let (count, mut refused) = (500, 0);
    for tried in 0..count {
        let path = random.pick(&files);
        let mut bytes = specimen.bytes(path);
        let at = random.below(bytes.len().min(6_000) as u64) as usize;
        let claim = random.pick(&CLAIMS);
        for (place, byte) in bytes.iter_mut().skip(at).zip(*claim) {
            *place = *byte;
        }
        checksums::repair(path, &mut bytes);
        let damaged = specimen.copy();
        damaged.put(path, &bytes);
        // With right checksums it may show anything; it must neither panic nor take memory, nor fail untyped.
        let judged = specimen.judge(damaged);
        refused += u64::from(matches!(judged, Ok(Outcome::Refused | Outcome::Told)));
        if let Err(what) = judged
            && what.contains("the error is not one of damage")
        {
            return Err(format!("claim {tried} at byte {at} of {}: {what}", path.display()));
        }
    }
    Ok((count, refused))
}
