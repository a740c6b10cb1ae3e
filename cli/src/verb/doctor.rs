//! `doctor`: what is wrong with a store, or with two, and what to do about it.

use serde_json::json;

use crate::args::Doctor;
use crate::diagnosis::{Finding, Severity, diagnose};
use crate::error::{Result, Verdict};
use crate::output::Output;

pub(super) fn run(args: &Doctor, output: Output) -> Result<Verdict> {
    let findings = diagnose(args)?;
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine);
    let listed: Vec<_> = findings.iter().map(Finding::json).collect();
    output.answer(&json!({ "worst": worst.as_str(), "findings": listed }), &[])?;
    let mut store = "";
    for finding in &findings {
        if args.peer.is_some() && finding.store != store {
            store = &finding.store;
            output.say(store)?;
        }
        let Finding { severity, check, what, next, .. } = finding;
        output.say(&format!("{:<7}  {check:<10}  {what}", severity.as_str()))?;
        if !next.is_empty() {
            output.say(&format!("{:<7}  {:<10}  what to do: {next}", "", ""))?;
        }
    }
    Ok(Verdict::of(worst < Severity::Warning))
}
