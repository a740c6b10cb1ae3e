//! One session over one byte stream: frames in and out, each under a deadline, and the replica between them where tokio
//! lets code block. At most one frame in each direction is held; nothing is queued.
//!
//! Easy to get wrong: a side that ends early still has the peer's bytes in its receive buffer. Closing then would reset the
//! connection and could destroy the reason that was just sent, so the rest is read and dropped first, for a moment.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::task::spawn_blocking;
use ::tokio::time::{Instant, timeout};

use super::throttle::Throttle;
use crate::driver::pump::{Pump, Step};
use crate::error::PeerReason;
use crate::options::Options;
use crate::replica::Replica;
use crate::rights::Rights;
use crate::session::{Input, Outcome, Progress, Session};
use crate::wire::frame::{self, FRAME_HEADER_LEN, payload_len};
use crate::wire::hello::Abort;
use crate::wire::message::Message;

/// How long a side that is done waits for the other one to close, and a failed one for the other one's reason.
const LINGER: Duration = Duration::from_secs(1);

/// What a session needs beside its stream, its replica and its observer.
pub(super) struct Setup {
    pub(super) options: Options,
    pub(super) rights: Rights,
    pub(super) throttle: Throttle,
    /// When the connection began: the handshake's deadline counts from there, TLS included.
    pub(super) opened_at: Instant,
}

impl Setup {
    fn plain(options: Options) -> Setup {
        let (rights, throttle) = (Rights::ALL, Throttle::unlimited());
        Setup { options, rights, throttle, opened_at: Instant::now() }
    }
}

/// Runs one session as the initiator over `stream`, whose other end runs [`respond`]. `observer` hears the progress.
pub async fn initiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    replica: Arc<dyn Replica>,
    options: Options,
    observer: impl FnMut(Progress),
) -> Outcome {
    initiate_with(stream, replica, Setup::plain(options), observer).await.0
}

/// Runs one session as the responder over `stream`, whose other end runs [`initiate`].
pub async fn respond<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    replica: Arc<dyn Replica>,
    options: Options,
) -> Outcome {
    respond_with(stream, replica, Setup::plain(options), |_| ()).await
}

/// [`initiate`]; also returns what was wrong with the stream, if it failed.
pub(super) async fn initiate_with<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    replica: Arc<dyn Replica>,
    setup: Setup,
    observer: impl FnMut(Progress),
) -> (Outcome, Option<io::Error>) {
    let session = Session::initiator(setup.options.clone(), Duration::ZERO);
    traced(run(stream, session, replica, setup, observer), "initiator").await
}

/// [`respond`].
pub(super) async fn respond_with<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    replica: Arc<dyn Replica>,
    setup: Setup,
    observer: impl FnMut(Progress),
) -> Outcome {
    let session = Session::responder(setup.options.clone(), Duration::ZERO);
    traced(run(stream, session, replica, setup, observer), "responder").await.0
}

/// Tells whoever opens a session why there is none, and closes.
pub(super) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, reason: PeerReason) {
    let mut frame = frame::begin();
    Message::Abort(Abort::Reason(reason)).encode(&mut frame);
    frame::set_last(&mut frame);
    frame::seal(&mut frame, 0);
    if let Ok(Ok(())) = timeout(LINGER, send(&mut stream, &frame)).await {
        linger(&mut stream).await;
    }
}

/// `session` in a span of its own, for programs that listen to `tracing`.
#[cfg(feature = "tracing")]
fn traced<F: Future>(session: F, role: &'static str) -> impl Future<Output = F::Output> {
    tracing::Instrument::instrument(session, tracing::info_span!(target: "syncline", "session", role))
}

#[cfg(not(feature = "tracing"))]
fn traced<F: Future>(session: F, _role: &'static str) -> F {
    session
}

async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    session: Session,
    replica: Arc<dyn Replica>,
    setup: Setup,
    mut observer: impl FnMut(Progress),
) -> (Outcome, Option<io::Error>) {
    let Setup { options, rights, throttle, opened_at } = setup;
    let idle_timeout = options.limits.idle_timeout;
    // A throttled side is silent to its peer, which must not take it for dead.
    let throttled_max = idle_timeout / 4;
    let mut pump = Pump::with_rights(session, rights);
    let mut failure = None;
    loop {
        let step;
        (pump, step) = step_blocking(pump, &replica, opened_at.elapsed()).await;
        match step {
            Step::Tell(progress) => observer(progress),
            Step::Send(frame) => {
                let sent = timeout(idle_timeout, send(&mut stream, &frame)).await;
                if matches!(sent, Ok(Ok(()))) {
                    throttle.pay(frame.len(), throttled_max).await;
                } else {
                    // A peer that ended the session has said why before it closed.
                    match timeout(LINGER, receive(&mut stream)).await {
                        Ok(Ok(frame)) => pump.handle(Input::Frame(frame), opened_at.elapsed()),
                        Ok(Err(error)) => failure = Some(error),
                        Err(_) => {}
                    }
                    pump.handle(Input::Closed, opened_at.elapsed());
                }
            }
            Step::Receive => {
                let deadline =
                    pump.deadline().map_or(idle_timeout, |at| at.saturating_sub(opened_at.elapsed()));
                let input = match timeout(deadline, receive(&mut stream)).await {
                    Ok(Ok(frame)) => {
                        throttle.pay(frame.len(), throttled_max).await;
                        Input::Frame(frame)
                    }
                    Ok(Err(error)) => {
                        failure = Some(error);
                        Input::Closed
                    }
                    Err(_) => Input::Tick,
                };
                pump.handle(input, opened_at.elapsed());
            }
            Step::Ended(outcome) => {
                linger(&mut stream).await;
                return (*outcome, failure);
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

/// Writes one frame. A stream that encrypts keeps back what is not flushed.
async fn send<S: AsyncWrite + Unpin>(stream: &mut S, frame: &[u8]) -> io::Result<()> {
    stream.write_all(frame).await?;
    stream.flush().await
}

/// Says that nothing more comes, and waits a moment for the other side to say so.
pub(super) async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let closing = async {
        stream.shutdown().await?;
        let mut rest = [0; 4096];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // However it ends, the stream is dropped next.
    let _ = timeout(LINGER, closing).await;
}
