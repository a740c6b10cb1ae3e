//! Sessions over any asynchronous byte stream, and over TCP: [`connect`] and [`serve`].
//!
//! The replica blocks, so it runs where tokio lets code block; between two of its calls the stream is read or written,
//! always under a deadline.
//!
//! Easy to get wrong:
//! - A side that ends early still has the peer's bytes in its receive buffer. Closing then would reset the connection and
//!   could destroy the reason that was just sent, so the rest is read and dropped first, for a moment.
//! - Nothing here encrypts or authenticates. Give these functions a stream that does, or a network that is your own.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use ::tokio::sync::Semaphore;
use ::tokio::task::{JoinSet, spawn_blocking};
use ::tokio::time::{Instant, timeout};

use super::pump::{Pump, Step};
use crate::hash::connection_nonce;
use crate::options::Options;
use crate::replica::Replica;
use crate::session::{Input, Outcome, Progress, Session};
use crate::wire::frame::{FRAME_HEADER_LEN, payload_len};

/// Greatest number of sessions that [`serve`] runs at a time. Further connections wait to be accepted.
pub const CONNECTION_COUNT_MAX: usize = 64;

/// How long a side that is done waits for the other one to close, and a failed one for the other one's reason.
const LINGER: Duration = Duration::from_secs(1);

/// How long [`serve`] waits after it could not accept a connection, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connects to a peer that serves, and runs one session as its initiator. `observer` hears the progress.
///
/// The error is that of connecting; what happens afterwards is told by the outcome.
pub async fn connect(
    address: impl ToSocketAddrs,
    replica: Arc<dyn Replica>,
    options: Options,
    observer: impl FnMut(Progress),
) -> io::Result<Outcome> {
    let connecting = timeout(options.limits.handshake_timeout, TcpStream::connect(address));
    let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(initiate(stream, replica, options, observer).await)
}

/// Accepts connections and answers one session on each, until `shutdown` is ready; sessions that still run then are
/// cut. `observer` hears how each session ended.
///
/// `options.nonce` is the seed from which each session's nonce is made; it must be fresh and unguessable too.
pub async fn serve(
    listener: TcpListener,
    replica: Arc<dyn Replica>,
    options: Options,
    observer: impl Fn(SocketAddr, &Outcome) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()>,
) {
    let observer = Arc::new(observer);
    let permits = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    let mut sessions = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut connection_count = 0u64;
    loop {
        let accepting = async {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            (permit, listener.accept().await)
        };
        let (permit, accepted) = ::tokio::select! {
            () = &mut shutdown => break,
            Some(_) = sessions.join_next() => continue,
            accepted = accepting => accepted,
        };
        let Ok((stream, address)) = accepted else {
            ::tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        connection_count += 1;
        let nonce = connection_nonce(options.nonce, connection_count);
        let options = Options { nonce, ..options.clone() };
        let (replica, observer) = (Arc::clone(&replica), Arc::clone(&observer));
        sessions.spawn(async move {
            // Without it small frames wait for each other; the session works all the same.
            let _ = stream.set_nodelay(true);
            let outcome = respond(stream, replica, options).await;
            drop(permit);
            observer(address, &outcome);
        });
    }
    sessions.shutdown().await;
}

/// Runs one session as the initiator over `stream`, whose other end runs [`respond`]. `observer` hears the progress.
pub async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    replica: Arc<dyn Replica>,
    options: Options,
    observer: impl FnMut(Progress),
) -> Outcome {
    let idle_timeout = options.limits.idle_timeout;
    let session = Session::initiator(options, Duration::ZERO);
    run(stream, Pump::new(session), replica, idle_timeout, observer).await
}

/// Runs one session as the responder over `stream`, whose other end runs [`initiate`].
pub async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    replica: Arc<dyn Replica>,
    options: Options,
) -> Outcome {
    let idle_timeout = options.limits.idle_timeout;
    let session = Session::responder(options, Duration::ZERO);
    run(stream, Pump::new(session), replica, idle_timeout, |_| ()).await
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut pump: Pump,
    replica: Arc<dyn Replica>,
    idle_timeout: Duration,
    mut observer: impl FnMut(Progress),
) -> Outcome {
    let opened_at = Instant::now();
    loop {
        let step;
        (pump, step) = step_blocking(pump, &replica, opened_at.elapsed()).await;
        match step {
            Step::Tell(progress) => observer(progress),
            Step::Send(frame) => {
                let sent = timeout(idle_timeout, stream.write_all(&frame)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    // A peer that ended the session has said why before it closed.
                    if let Ok(Ok(frame)) = timeout(LINGER, receive(&mut stream)).await {
                        pump.handle(Input::Frame(frame), opened_at.elapsed());
                    }
                    pump.handle(Input::Closed, opened_at.elapsed());
                }
            }
            Step::Receive => {
                let deadline =
                    pump.deadline().map_or(idle_timeout, |at| at.saturating_sub(opened_at.elapsed()));
                let input = match timeout(deadline, receive(&mut stream)).await {
                    Ok(Ok(frame)) => Input::Frame(frame),
                    Ok(Err(_)) => Input::Closed,
                    Err(_) => Input::Tick,
                };
                pump.handle(input, opened_at.elapsed());
            }
            Step::Ended(outcome) => {
                let _ = timeout(LINGER, close(&mut stream)).await;
                return *outcome;
            }
        }
    }
}

/// Runs the replica where it may block.
async fn step_blocking(mut pump: Pump, replica: &Arc<dyn Replica>, now: Duration) -> (Pump, Step) {
    let replica = Arc::clone(replica);
    let stepping = spawn_blocking(move || {
        let step = pump.step(&*replica, now);
        (pump, step)
    });
    match stepping.await {
        Ok(stepped) => stepped,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Reads one frame. Of bytes that begin no frame it returns as many as were read, which the session refuses.
async fn receive<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Vec<u8>> {
    let mut header = [0; FRAME_HEADER_LEN];
    stream.read_exact(&mut header).await?;
    let mut frame = header.to_vec();
    if let Some(len) = payload_len(&header) {
        frame.resize(FRAME_HEADER_LEN + len, 0);
        stream.read_exact(frame.split_at_mut(FRAME_HEADER_LEN).1).await?;
    }
    Ok(frame)
}

/// Says that nothing more comes, and waits for the other side to say so.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}
