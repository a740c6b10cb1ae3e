//! Sessions over real sockets and pipes: they converge, they end when the peer is slow, silent or gone, and a server
//! serves no more than it should.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::rng::diverged;
use common::{Model, entry};
use sync_proto::driver::tokio::{
    Caps, ConnectError, Control, Maintenance, Nonces, PeerStatus, Security, Server, SessionProgress,
    Throttle, Transport, Watcher, connect, initiate, maintain, respond, serve,
};
use sync_proto::rate::{BYTES_PER_SECOND_MIN, RateLimit};
use sync_proto::schedule::{ScheduleOptions, Task};
use sync_proto::{AbortReason, End, Options, Outcome, PeerReason, Progress, Replica};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

fn shared(model: &Model) -> Arc<dyn Replica> {
    Arc::new(model.clone())
}

/// A transport without security, whose nonces count up.
fn insecure() -> Transport {
    let count = AtomicU64::new(5);
    Transport::new(Security::Insecure, Nonces::new(move || Ok(count.fetch_add(1, Ordering::Relaxed))))
}

fn insecure_server(model: &Model) -> Server {
    Server::new(shared(model), Options::new(5), insecure())
}

/// Runs a session with a server, unsecured.
async fn call(
    address: std::net::SocketAddr,
    model: &Model,
    seed: u64,
    observer: impl FnMut(Progress),
) -> Result<Outcome, ConnectError> {
    connect(&address.to_string(), &insecure(), shared(model), Options::new(seed), observer).await
}

/// A server on a port of its own, and what ends it.
async fn server(model: &Model) -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let serving = serve(listener, insecure_server(model), |_| (), shutdown);
    (address, stop, tokio::spawn(serving))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_converge_over_tcp_and_the_server_stops_when_told() {
    for seed in 0..20 {
        let (left, right) = diverged(seed);
        let (address, stop, serving) = server(&right).await;
        let mut legs = 0;
        let outcome = call(address, &left, seed, |progress| legs = progress.legs).await;
        let outcome = outcome.expect("the server is there");
        assert_eq!(outcome.end, End::Complete, "seed {seed}");
        assert_eq!(left.root(), right.root(), "seed {seed}");
        assert!(legs <= outcome.report.legs, "seed {seed}");
        stop.send(()).expect("it still runs");
        serving.await.expect("no panic");
    }
}

#[tokio::test]
async fn values_larger_than_any_buffer_pass_a_narrow_pipe() {
    let (left, right) = (Model::new(1), Model::new(2));
    left.put(entry([1, 1], 10, 1, vec![1; 3_000_000]));
    right.put(entry([1, 2], 10, 2, vec![2; 2_000_000]));
    let (here, there) = tokio::io::duplex(1000);
    let (on_left, on_right) = tokio::join!(
        initiate(here, shared(&left), Options::new(1), |_| ()),
        respond(there, shared(&right), Options::new(2)),
    );
    assert_eq!((on_left.end, on_right.end), (End::Complete, End::Complete));
    assert_eq!(left.root(), right.root());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_left_in_time() {
    let (here, there) = tokio::io::duplex(1 << 20);
    let calling = initiate(here, shared(&Model::new(1)), Options::new(1), |_| ());
    let outcome = tokio::time::timeout(Duration::from_secs(10), calling).await.expect("left in time");
    assert_eq!(outcome.end, End::Aborted(AbortReason::Timeout));
    drop(there);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_trickles_bytes_is_left_in_time() {
    let (here, mut there) = tokio::io::duplex(1 << 20);
    let trickle = tokio::spawn(async move {
        while there.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    });
    let outcome = respond(here, shared(&Model::new(1)), Options::new(1)).await;
    assert_eq!(outcome.end, End::Aborted(AbortReason::Timeout));
    trickle.await.expect("the pipe is closed");
}

#[tokio::test(start_paused = true)]
async fn a_throttled_session_keeps_to_its_rate_and_is_not_taken_for_dead() {
    let (left, right) = (Model::new(1), Model::new(2));
    left.put(entry([1, 1], 10, 1, vec![1; 4_000_000]));
    right.put(entry([1, 2], 10, 2, vec![2; 4_000_000]));
    let limit = RateLimit { bytes_per_second: BYTES_PER_SECOND_MIN, latency_max: Duration::MAX };
    let mut server = insecure_server(&right);
    server.transport.throttle = Throttle::limited(limit);
    let (here, there) = tokio::io::duplex(1 << 20);
    let began = tokio::time::Instant::now();
    let (on_left, (_, on_right)) =
        tokio::join!(initiate(here, shared(&left), Options::new(1), |_| ()), server.answer(there));
    assert_eq!((on_left.end, on_right.expect("a session").end), (End::Complete, End::Complete));
    let moved = on_left.report.value_bytes + on_left.report.metadata_bytes;
    let seconds = began.elapsed().as_secs_f64();
    let rate = BYTES_PER_SECOND_MIN as f64;
    // A second's worth may go at once, and the last frame is not waited for.
    assert!(moved as f64 <= rate * (seconds + 1.0) + (1 << 20) as f64, "{moved} bytes in {seconds} s");
    assert!(moved as f64 >= rate * (seconds - 1.0), "{moved} bytes in {seconds} s");
}

#[tokio::test]
async fn a_peer_that_hangs_up_or_talks_nonsense_ends_the_session_typed() {
    let model = Model::new(1);
    let (address, stop, serving) = server(&model).await;
    let mut stream = TcpStream::connect(address).await.expect("the server is there");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("it listens");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers and closes");
    assert_eq!(answer.get(8..), Some(&[18, 5][..]), "abort: malformed");

    let (here, there) = tokio::io::duplex(1 << 20);
    drop(there);
    let outcome = initiate(here, shared(&model), Options::new(1), |_| ()).await;
    assert_eq!(outcome.end, End::Aborted(AbortReason::Closed));

    let outcome = call(address, &model, 1, |_| ()).await.expect("it goes on");
    assert_eq!(outcome.end, End::Aborted(AbortReason::Peer(PeerReason::SameNode)));
    drop(stop);
    serving.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let right = Model::new(2);
    let (address, stop, serving) = server(&right).await;
    let mut idle = Vec::new();
    for _ in 0..Caps::default().connections_max {
        idle.push(TcpStream::connect(address).await.expect("the server is there"));
    }
    // All places are taken, so this one is not served before another one leaves.
    let left = Model::new(1);
    left.put(entry([1, 1], 10, 1, "v"));
    let mut waiting = tokio::spawn({
        let left = left.clone();
        async move { call(address, &left, 1, |_| ()).await }
    });
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    idle.truncate(idle.len() / 2);
    let outcome = waiting.await.expect("no panic").expect("connected");
    assert_eq!(outcome.end, End::Complete);
    assert_eq!(left.root(), right.root());
    drop(stop);
    serving.await.expect("no panic");
}

/// The next statuses of visits, until `enough` of the gauges.
async fn wait_for(
    gauges: &mut mpsc::UnboundedReceiver<(Task, Option<u64>)>,
    mut enough: impl FnMut(Task, Option<u64>) -> bool,
) {
    for _ in 0..1000 {
        let (task, gauge) = gauges.recv().await.expect("it runs");
        if enough(task, gauge) {
            return;
        }
    }
    panic!("1,000 visits did not show it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_maintained_replica_follows_its_peers_and_while_paused_only_sees_how_far_they_are() {
    let (here, there) = (Model::new(1), Model::new(2));
    there.put(entry([1, 1], 10, 2, "v"));
    let (address, _stop, _serving) = server(&there).await;
    let (gone, _, _) = server(&Model::new(3)).await;
    let maintenance = Maintenance {
        replica: shared(&here),
        peers: vec![address.to_string(), gone.to_string()],
        options: Options::new(7),
        transport: insecure(),
        schedule: ScheduleOptions {
            every: Duration::from_millis(5),
            jitter_percent: 10,
            visits_max: 2,
            seed: 1,
        },
    };
    let control = Control::default();
    let (told, mut gauges) = mpsc::unbounded_channel();
    let first = address.to_string();
    let founds = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&founds);
    let observer = move |status: &PeerStatus, task, _: &_| {
        if status.address == first {
            if task == Task::Repair {
                noted.lock().expect("nobody panicked").push(status.found.gauge());
            }
            let _ = told.send((task, status.divergence.gauge()));
        }
    };
    tokio::spawn(maintain(maintenance, control.clone(), observer, std::future::pending()));
    wait_for(&mut gauges, |_, gauge| gauge == Some(0)).await;
    assert_eq!(here.root(), there.root());

    control.pause();
    wait_for(&mut gauges, |task, _| task == Task::Probe).await;
    let before = here.root();
    for key in 2..9 {
        there.put(entry([1, key], 10, 2, "v"));
    }
    wait_for(&mut gauges, |_, gauge| gauge.is_some_and(|entries| entries >= 7)).await;
    assert_eq!(here.root(), before, "nothing moved");

    control.resume();
    wait_for(&mut gauges, |task, gauge| task == Task::Repair && gauge == Some(0)).await;
    assert_eq!(here.root(), there.root());
    assert_eq!(control.peers()[0].failures, 0);
    assert!(founds.lock().expect("nobody panicked").contains(&Some(7)), "what the repair found is kept");
}

#[tokio::test]
async fn a_watcher_hears_of_visits_and_of_whoever_comes() {
    let (left, right) = diverged(3);
    let (told, mut heard) = mpsc::unbounded_channel();
    let watcher = Watcher::new(move |session: SessionProgress<'_>| {
        told.send((session.address.map(str::to_owned), session.progress.legs)).expect("it is heard");
    });
    let transport = Transport { watcher: Some(watcher), ..insecure() };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let served = Server::new(shared(&right), Options::default(), transport.clone());
    let visiting = connect(&address, &transport, shared(&left), Options::default(), |_| ());
    let answering = async { served.answer(listener.accept().await.expect("it comes").0).await };
    let (visited, (_, answered)) = tokio::join!(visiting, answering);
    assert!(visited.expect("connected").is_complete() && answered.expect("a session").is_complete());
    drop(transport);
    let (mut visit_legs, mut answer_legs) = (Vec::new(), Vec::new());
    while let Ok((at, legs)) = heard.try_recv() {
        match at {
            Some(at) => visit_legs.push((at == address, legs)),
            None => answer_legs.push(legs),
        }
    }
    assert_eq!(visit_legs.first(), Some(&(true, 1)), "{visit_legs:?}");
    assert_eq!(answer_legs.first(), Some(&2), "{answer_legs:?}");
}
