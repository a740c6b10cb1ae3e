//! What a comparison with a peer tells: whether the two can talk at all, whether one is a copy of the other, and how far they
//! are apart.

use super::{Finding, Severity};
use crate::address::Address;
use crate::args::{Doctor, Pair, Part};
use crate::error::{Error, Result};
use crate::output::count;
use crate::peer::{self, Mode};

pub(super) fn check(args: &Doctor, peer: &Address) -> Result<Vec<Finding>> {
    let pair = Pair {
        left: Address::Directory(args.dir.clone()),
        right: peer.clone(),
        part: Part::default(),
        link: args.link.clone(),
    };
    let report = match peer::session(&pair, Mode::Compare { names_max: 0 }) {
        Ok(report) => report,
        // The command line makes no sense, which is no finding.
        Err(error @ Error::Usage(_)) => return Err(error),
        Err(error) => {
            let (what, next) = error.parts();
            return Ok(vec![Finding::new(Severity::Problem, "peer", what, next)]);
        }
    };
    let differing = report.differing();
    let mut findings =
        vec![Finding::fine("peer", format!("{peer} is of the same set and speaks the same protocol"))];
    findings.push(match differing {
        0 => Finding::fine("divergence", "both hold the same"),
        _ => Finding::new(
            Severity::Warning,
            "divergence",
            format!(
                "{} keys differ: {} only here, {} only there, {} newer here, {} newer there",
                count(differing),
                count(report.only_left),
                count(report.only_right),
                count(report.newer_left),
                count(report.newer_right)
            ),
            format!(
                "Repair them with `syncline sync {} {peer}`; where they differ shows `syncline diff --svg`",
                args.dir.display()
            ),
        ),
    });
    Ok(findings)
}
