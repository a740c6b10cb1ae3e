//! What a comparison with a peer tells: whether the two can talk at all, whether one is a copy of the other, and how far they
//! are apart.

use std::path::Path;

use syncline::{Db, MemberStatus};

use super::{Finding, Severity};
use crate::address::Address;
use crate::args::{Doctor, Pair, Part};
use crate::error::{Error, Result};
use crate::output::count;
use crate::peer::{self, Mode};
use crate::store;

pub(super) fn check(args: &Doctor, peer: &Address) -> Result<Vec<Finding>> {
    let pair = Pair {
        left: Address::Directory(args.dir.clone()),
        right: peer.clone(),
        part: Part::default(),
        link: args.link.clone(),
    };
    let report = match peer::session(&pair, Mode::compare(0)) {
        Ok(report) => report,
        // The command line makes no sense, which is no finding.
        Err(error @ Error::Usage(_)) => return Err(error),
        Err(error) => {
            let (what, next) = error.parts();
            return Ok(vec![Finding::new(Severity::Problem, "peer", what, next)]);
        }
    };
    let mut findings = Vec::new();
    if let Address::Directory(path) = peer {
        findings.extend(strangers(&args.dir, path)?);
    }
    findings.push(Finding::fine("peer", format!("{peer} is of the same set and speaks the same protocol")));
    let differing = report.differing();
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

/// Whether one of the two has members, the other not among them: they can be compared, and have no sessions that repair.
fn strangers(left: &Path, right: &Path) -> Result<Option<Finding>> {
    let (left_db, right_db) = (store::open_read_only(left)?, store::open_read_only(right)?);
    let lacks = |db: &Db, other: &Db| {
        let members = db.horizon_status().members;
        let is_owner_or_joins = |member: &MemberStatus| member.node == other.node_id() && !member.is_expelled;
        !members.is_empty() && !members.iter().any(is_owner_or_joins)
    };
    let finding = |dir: &Path, own: &Db, other: &Db| {
        let what = format!(
            "{} is a member of a set that node {} does not belong to",
            dir.display(),
            other.node_id()
        );
        let next = if own.horizon_status().members.iter().any(|member| member.node == other.node_id()) {
            "It was expelled: make it anew with `syncline init`, as an empty replica".to_owned()
        } else {
            format!(
                "Admit it with `syncline horizon {} --admit {}`, if it is empty",
                dir.display(),
                other.node_id()
            )
        };
        Finding::new(Severity::Problem, "members", what, next)
    };
    Ok(match (lacks(&left_db, &right_db), lacks(&right_db, &left_db)) {
        (true, _) => Some(finding(left, &left_db, &right_db)),
        (_, true) => Some(finding(right, &right_db, &left_db)),
        _ => None,
    })
}
