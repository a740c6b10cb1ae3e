//! What `serve --metrics` tells a Prometheus server: figures of the store, of sessions and of peers, at `/metrics`; and at
//! `/health` whether the store takes writes, for whoever restarts or balances servers.
//!
//! Easy to get wrong: names and labels are kept from version to version, for dashboards and alerts are made of them. Values of
//! labels come from a small fixed set or from the command line, never from a peer, or a peer could fill the server's memory.

mod http;
mod text;

use std::collections::BTreeMap;
use std::sync::Mutex;

use sync_proto::driver::tokio::{Control, PeerStatus};
use syncline::clock::{SystemClock, WallClock};
use syncline::{Db, Health, Stats};

pub(crate) use http::expose;
use text::{Sample, Text};

use super::event::Event;
use crate::error::Result;

/// What is told of a served store.
#[derive(Debug)]
pub(crate) struct Metrics {
    db: Db,
    /// Knows the peers that are visited.
    control: Control,
    counted: Mutex<Counted>,
}

/// What was counted since the server started.
#[derive(Debug, Default)]
struct Counted {
    /// Sessions by direction and outcome.
    sessions: BTreeMap<(&'static str, &'static str), u64>,
    entries_sent: u64,
    entries_received: u64,
    bytes: u64,
    /// When the last complete session with a peer that is visited ended, in seconds since 1970.
    completed_at: BTreeMap<String, u64>,
}

impl Metrics {
    /// Of `db`, which visits the peers that `control` knows.
    pub(crate) fn new(db: &Db, control: Control) -> Metrics {
        Metrics { db: db.clone(), control, counted: Mutex::default() }
    }

    /// Counts a connection that ended.
    pub(crate) fn count(&self, event: &Event) {
        let mut counted = self.counted.lock().expect("nothing panics while it holds the lock");
        let direction = if event.incoming { "in" } else { "out" };
        *counted.sessions.entry((direction, event.outcome)).or_default() += 1;
        counted.entries_sent = counted.entries_sent.saturating_add(event.sent);
        counted.entries_received = counted.entries_received.saturating_add(event.received);
        counted.bytes = counted.bytes.saturating_add(event.bytes);
        if !event.incoming && event.outcome == "complete" {
            counted.completed_at.insert(event.address.clone(), SystemClock.now_ms() / 1000);
        }
    }

    /// Whether the store takes writes, and if not, why.
    pub(crate) fn health(&self) -> std::result::Result<(), String> {
        match self.db.health() {
            Health::Poisoned { reason } => Err(reason),
            _ => Ok(()),
        }
    }

    /// Everything, in the text format of Prometheus.
    ///
    /// # Errors
    /// What the store's statistics fail with.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = Text::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        text.gauge("syncline_build_info", "The version that serves.", &[Sample::of(&version, 1)]);
        let writable = u64::from(self.health().is_ok());
        text.gauge("syncline_writable", "1 if the store takes writes.", &[Sample::plain(writable)]);
        if writable == 1 {
            put_store(&mut text, &self.db.stats()?);
        }
        let counted = self.counted.lock().expect("nothing panics while it holds the lock");
        put_sessions(&mut text, &counted);
        put_peers(&mut text, &self.control.peers(), &counted);
        Ok(text.finish())
    }
}

fn put_store(text: &mut Text, stats: &Stats) {
    let gauges = [
        ("syncline_entries", "Keys with a value.", stats.entries),
        ("syncline_tombstones", "Keys that were deleted and are remembered.", stats.tombstones),
        ("syncline_live_bytes", "Bytes of keys and values.", stats.live_bytes),
        ("syncline_runs", "Runs, through which reads go.", stats.runs),
        ("syncline_run_bytes", "Bytes of runs.", stats.run_bytes),
        ("syncline_value_segments", "Log segments kept for large values.", stats.value_segments),
        ("syncline_value_segment_bytes", "Bytes of those segments.", stats.value_segment_bytes),
        (
            "syncline_retained_segment_bytes",
            "Bytes of log kept for the change feed.",
            stats.retained_segment_bytes,
        ),
        ("syncline_log_bytes", "Bytes of log that no flush has taken over.", stats.log_bytes),
        ("syncline_memtable_bytes", "Bytes in memtables.", stats.memtable_bytes),
        ("syncline_garbage_bytes", "Bytes that compaction can give back.", stats.garbage_bytes()),
        ("syncline_unknown_spans", "Spans of keys that are unknown for damage.", stats.unknown_spans),
        ("syncline_lost_values", "Large values that are lost for damage.", stats.lost_values),
        ("syncline_merkle_buckets", "Buckets of the Merkle index.", stats.buckets),
        ("syncline_visible_seqno", "The newest visible commit.", stats.visible.0),
        ("syncline_durable_seqno", "The newest durable commit.", stats.durable.0),
        ("syncline_flushed_seqno", "The newest commit in runs.", stats.flushed.0),
        (
            "syncline_horizon_timestamp_seconds",
            "What ended by then may be gone; 0 if nothing may.",
            (stats.horizon >> 16) / 1000,
        ),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help, &[Sample::plain(value)]);
    }
    let written = stats.written;
    let samples = [
        ("committed", written.committed),
        ("logged", written.logged),
        ("flushed", written.flushed),
        ("merged", written.merged),
    ];
    text.counter(
        "syncline_written_bytes_total",
        "Bytes written since the store was created.",
        &samples.map(|(by, bytes)| Sample::of(&[("by", by)], bytes)),
    );
}

fn put_sessions(text: &mut Text, counted: &Counted) {
    let sessions = counted.sessions.iter().map(|((direction, outcome), number)| {
        Sample::of(&[("direction", direction), ("outcome", outcome)], *number)
    });
    text.counter("syncline_sessions_total", "Connections with peers.", &sessions.collect::<Vec<_>>());
    let entries = [("sent", counted.entries_sent), ("received", counted.entries_received)];
    text.counter(
        "syncline_session_entries_total",
        "Entries moved by sessions.",
        &entries.map(|(direction, number)| Sample::of(&[("direction", direction)], number)),
    );
    text.counter("syncline_session_bytes_total", "Bytes moved by sessions.", &[Sample::plain(counted.bytes)]);
}

/// Peers that are visited; they were named on the command line.
fn put_peers(text: &mut Text, peers: &[PeerStatus], counted: &Counted) {
    let of_each = |value: &dyn Fn(&PeerStatus) -> Option<u64>| -> Vec<Sample> {
        let sample = |peer: &PeerStatus| Some(Sample::of(&[("peer", &peer.address)], value(peer)?));
        peers.iter().filter_map(sample).collect()
    };
    let divergence = of_each(&|peer| peer.divergence.gauge());
    text.gauge("syncline_peer_divergence_entries", "Entries by which a peer differs, at least.", &divergence);
    let found = of_each(&|peer| peer.found.gauge());
    text.gauge(
        "syncline_peer_found_entries",
        "Entries by which a peer differed when it was visited last.",
        &found,
    );
    let visits = of_each(&|peer| Some(peer.visits));
    text.counter("syncline_peer_visits_total", "Visits to a peer that ended.", &visits);
    let failures = of_each(&|peer| Some(u64::from(peer.failures)));
    text.gauge("syncline_peer_failures", "Visits that failed since one did not.", &failures);
    let completed = of_each(&|peer| counted.completed_at.get(&peer.address).copied());
    text.gauge(
        "syncline_peer_complete_timestamp_seconds",
        "When the last complete session with a peer ended.",
        &completed,
    );
}
