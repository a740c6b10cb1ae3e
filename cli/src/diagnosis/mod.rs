//! What `doctor` finds: each finding says what was looked at, what is there, and what to do next.
//!
//! Easy to get wrong: thresholds are for telling what is wrong from what is only busy. A warning that is always there is read
//! by nobody, so what has no remedy is a note at most.

mod machine;
mod pair;
mod store;

use std::path::Path;

use serde_json::{Value, json};

use crate::address::Address;
use crate::args::Doctor;
use crate::error::Result;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// As it should be.
    Fine,
    /// Worth knowing, and nothing has to be done.
    Note,
    /// Will be a problem.
    Warning,
    /// Data are damaged or lost, or something does not work.
    Problem,
}

impl Severity {
    /// The word for it in all output. These words are kept from version to version.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Fine => "fine",
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Problem => "problem",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The store or peer that was looked at, as the command line names it.
    pub(crate) store: String,
    pub(crate) severity: Severity,
    /// What was looked at. These words are kept from version to version.
    pub(crate) check: &'static str,
    /// What is there, as a sentence without its period.
    pub(crate) what: String,
    /// What to do next; empty if nothing.
    pub(crate) next: String,
}

impl Finding {
    fn new(
        severity: Severity,
        check: &'static str,
        what: impl Into<String>,
        next: impl Into<String>,
    ) -> Finding {
        Finding { store: String::new(), severity, check, what: what.into(), next: next.into() }
    }

    fn fine(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(Severity::Fine, check, what, "")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let next = Some(&self.next).filter(|next| !next.is_empty());
        json!({
            "store": self.store, "severity": self.severity.as_str(), "check": self.check, "what": self.what, "next": next,
        })
    }
}

/// Looks at the store in a folder, and at the peer, if one is named.
///
/// # Errors
/// What opening fails with if there is no store, or nothing can be read of it; `Usage` if two folders are one.
pub(crate) fn diagnose(args: &Doctor) -> Result<Vec<Finding>> {
    let mut findings = of_folder(&args.dir, args.deep)?;
    if let Some(peer) = &args.peer {
        if let Address::Directory(path) = peer {
            findings.extend(of_folder(path, args.deep)?);
        }
        findings.extend(of(peer.to_string(), pair::check(args, peer)?));
    }
    Ok(findings)
}

fn of_folder(dir: &Path, deep: bool) -> Result<Vec<Finding>> {
    let findings = machine::lock(dir).into_iter().chain(store::check(dir, deep)?);
    Ok(of(dir.display().to_string(), findings).collect())
}

fn of(store: String, findings: impl IntoIterator<Item = Finding>) -> impl Iterator<Item = Finding> {
    findings.into_iter().map(move |finding| Finding { store: store.clone(), ..finding })
}
