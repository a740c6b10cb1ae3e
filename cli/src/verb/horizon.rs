//! `horizon`: who belongs to the replica set, what each has closed, and who holds the horizon back.

use serde_json::json;
use syncline::clock::{SystemClock, WallClock};
use syncline::{HorizonStatus, MemberStatus};

use crate::args::Horizon;
use crate::error::{Result, Verdict};
use crate::output::{Output, ago, standing};
use crate::store;

pub(super) fn run(args: &Horizon, output: Output) -> Result<Verdict> {
    let now_ms = SystemClock.now_ms();
    let is_change = args.admit.is_some() || args.expel.is_some() || args.close.is_some();
    let db = if is_change { store::open(&args.dir)? } else { store::open_read_only(&args.dir)? };
    if let Some(node) = args.admit {
        db.admit(node)?;
    }
    if let Some(node) = args.expel {
        db.expel(node)?;
    }
    if let Some(seconds) = args.close {
        db.close_through(now_ms.saturating_sub(seconds.saturating_mul(1000)) << 16)?;
        db.raise_horizon()?;
    }
    let own = db.node_id();
    let status = db.horizon_status();
    let members: Vec<_> = status.members.iter().map(member_json).collect();
    let held_by: Vec<_> = status.held_by.iter().map(|(a, b)| json!([a.to_string(), b.to_string()])).collect();
    let object = json!({
        "node": own.to_string(), "horizon": status.horizon, "proven": status.proven,
        "member_version": status.member_version, "members": members, "held_by": held_by,
    });
    output.answer(
        &object,
        &[
            ("node", own.to_string()),
            ("horizon", ago(status.horizon, now_ms)),
            ("proven", ago(status.proven, now_ms)),
        ],
    )?;
    for member in &status.members {
        output.say(&member_line(member, now_ms))?;
    }
    for line in held_lines(&status) {
        output.say(&line)?;
    }
    Ok(Verdict::Fine)
}

fn member_json(member: &MemberStatus) -> serde_json::Value {
    json!({
        "node": member.node.to_string(), "standing": standing(member), "closed": member.closed,
        "horizon": member.horizon, "opens": member.opens,
    })
}

fn member_line(member: &MemberStatus, now_ms: u64) -> String {
    let (closed, horizon) = (ago(member.closed, now_ms), ago(member.horizon, now_ms));
    format!("{}  {:<8}  closed {closed}, horizon {horizon}", member.node, standing(member))
}

/// What would help the horizon on.
fn held_lines(status: &HorizonStatus) -> Vec<String> {
    let line =
        |(own, peer): &(_, _)| format!("{own} has to have a complete session with {peer}, or to tell of it");
    status.held_by.iter().map(line).collect()
}
