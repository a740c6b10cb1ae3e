//! What a program that listens to `tracing` hears of a store and of a session.

use std::sync::{Arc, Mutex};

use syncline::Db;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down the names of spans.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<&'static str>>>);

impl Subscriber for Names {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "syncline"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.lock().expect("nothing panics here").push(span.metadata().name());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn recovery_flushes_merges_and_sessions_have_spans() {
    let names = Names::default();
    tracing::subscriber::with_default(names.clone(), || {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Db::builder(folder.path()).background(false);
        let db = open().create().expect("a store");
        for key in ["a", "b"] {
            db.put(key, "1").expect("a put");
            db.flush().expect("a flush");
        }
        db.compact(|_| true).expect("a compaction");
        drop(db);
        drop(open().open().expect("the store"));
        session();
    });
    let mut names = names.0.lock().expect("nothing panics here").clone();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names, ["flush", "merge", "recovery", "session"]);
}

fn session() {
    use sync_proto::Options;
    use sync_proto::driver::tokio::{initiate, respond};
    use syncline::replica::DbReplica;
    let folder = tempfile::tempdir().expect("a folder");
    let left = Db::builder(folder.path().join("a")).create().expect("a store");
    let right = Db::builder(folder.path().join("b")).create_replica(&left.replica_set()).expect("a store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (left, right) = (Arc::new(DbReplica::new(&left)), Arc::new(DbReplica::new(&right)));
    runtime.block_on(async {
        let initiator = initiate(ours, left, Options::new(1), |_| ());
        tokio::join!(initiator, respond(theirs, right, Options::new(2)))
    });
}
