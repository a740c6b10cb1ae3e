//! What a server tells of each connection with a peer: a line for people, or one JSON object a line for programs.

use serde_json::{Value, json};
use sync_proto::driver::tokio::{ConnectError, PeerResult, PeerStatus};
use sync_proto::schedule::Task;
use sync_proto::{Divergence, End, Outcome};

use super::report::phrases;

/// What became of one connection.
#[derive(Debug)]
pub(crate) struct Event {
    /// Where the peer is.
    pub(crate) address: String,
    /// Who it is, if its certificate says so and it came to this server.
    name: Option<String>,
    /// Whether the peer connected to this server.
    pub(crate) incoming: bool,
    /// The words below. They are kept from version to version.
    pub(crate) outcome: &'static str,
    /// Why it is not complete, or came to no session.
    reasons: Vec<String>,
    /// Entries that this side sent and received.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Bytes of frames, both ways.
    pub(crate) bytes: u64,
    /// Entries by which the peer and this side still differ, at least, as far as that is known.
    divergence: Option<u64>,
    /// Entries by which they differed when the session began, at least, as far as that was found out.
    found: Option<u64>,
}

impl Event {
    /// Of a peer that came here.
    pub(super) fn incoming(result: &PeerResult) -> Event {
        let name = result.peer.as_ref().map(|name| name.to_string());
        let outcome = result.result.as_ref().ok();
        let divergence = outcome.and_then(Divergence::after).and_then(Divergence::gauge);
        let event = Event::of(result.address.to_string(), &result.result);
        Event { name, incoming: true, divergence, ..event }
    }

    /// Of a peer that was visited.
    pub(super) fn visit(status: &PeerStatus, task: Task, result: &Result<Outcome, ConnectError>) -> Event {
        let event = Event::of(status.address.clone(), result);
        let compared = task == Task::Probe && event.outcome == "partial";
        let outcome = if compared { "compared" } else { event.outcome };
        Event { outcome, divergence: status.divergence.gauge(), ..event }
    }

    fn of(address: String, result: &Result<Outcome, ConnectError>) -> Event {
        let (outcome, reasons) = match result {
            Err(error) => ("refused", vec![error.to_string()]),
            Ok(session) => match &session.end {
                End::Complete => ("complete", Vec::new()),
                End::Partial(reasons) => {
                    ("partial", phrases(*reasons).into_iter().map(str::to_owned).collect())
                }
                End::Aborted(reason) => ("aborted", vec![reason.to_string()]),
            },
        };
        let report = result.as_ref().map(|session| session.report.clone()).unwrap_or_default();
        Event {
            address,
            name: None,
            incoming: false,
            outcome,
            reasons,
            sent: report.entries_sent,
            received: report.entries_received,
            bytes: report.metadata_bytes.saturating_add(report.value_bytes),
            divergence: None,
            found: result.as_ref().ok().and_then(Divergence::before).and_then(Divergence::gauge),
        }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "event": "session", "direction": if self.incoming { "in" } else { "out" }, "address": self.address,
            "peer": self.name, "outcome": self.outcome, "reasons": self.reasons, "entries_sent": self.sent,
            "entries_received": self.received, "bytes": self.bytes, "divergence": self.divergence,
            "found": self.found,
        })
    }

    /// For people.
    pub(crate) fn line(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let way = if self.incoming { "from" } else { "to" };
        let reasons =
            if self.reasons.is_empty() { String::new() } else { format!(": {}", self.reasons.join(", ")) };
        format!(
            "{way} {}{name}: {}{reasons}; {} entries sent, {} received",
            self.address, self.outcome, self.sent, self.received
        )
    }
}
