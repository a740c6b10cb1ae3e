//! The initiator's end of a connection: reach a peer, secure the way to it, run one session.

use std::sync::Arc;

use ::tokio::net::TcpStream;
use ::tokio::time::{Instant, timeout};

use super::error::ConnectError;
use super::secure::{Secured, Transport};
use super::stream::{Setup, initiate_with};
use crate::error::AbortReason;
use crate::options::{Mode, Options};
use crate::replica::Replica;
use crate::session::{End, Outcome, Progress, Reason, Reasons};

/// A probe's flights: the hello, and the reply to it.
const PROBE_LEG_COUNT: u32 = 2;

/// Connects to a peer that serves at `address`, a `host:port`, and runs one session as its initiator. `observer` hears
/// the progress. The nonce of `options` is not used: each session draws its own. The peer may do what the transport's table of rights has for the name in its certificate.
///
/// # Errors
/// Of whatever keeps a session from beginning, a server that refuses this side's certificate included. What happens
/// afterwards is told by the outcome.
pub async fn connect(
    address: &str,
    transport: &Transport,
    replica: Arc<dyn Replica>,
    options: Options,
    mut observer: impl FnMut(Progress),
) -> Result<Outcome, ConnectError> {
    let opened_at = Instant::now();
    let options = Options { nonce: transport.nonces.draw()?, ..options };
    let securing = timeout(options.limits.handshake_timeout, secured(address, transport));
    let Secured { stream, peer } = securing.await.map_err(|_| ConnectError::Timeout)??;
    let (rights, throttle) = (transport.rights.of(peer.as_ref()), transport.throttle.clone());
    let setup = Setup { options, rights, throttle, opened_at };
    let watching = transport.observer(Some(address), peer.as_ref(), opened_at);
    let observe = |progress| {
        watching(progress);
        observer(progress);
    };
    let (outcome, failure) = initiate_with(stream, replica, setup, observe).await;
    match failure {
        // A server looks at the certificate when the client's handshake is over, so its refusal comes late.
        #[cfg(feature = "tls")]
        Some(error) if outcome.end == End::Aborted(AbortReason::Closed) => match ConnectError::of(error) {
            ConnectError::Io(_) => Ok(outcome),
            refused => Err(refused),
        },
        _ => Ok(outcome),
    }
}

/// Connects to a peer and compares roots, without walking further and without moving anything. The outcome's report has
/// both roots; its end is only of interest if they are missing.
///
/// # Errors
/// As [`connect`].
pub async fn probe(
    address: &str,
    transport: &Transport,
    replica: Arc<dyn Replica>,
    mut options: Options,
) -> Result<Outcome, ConnectError> {
    options.mode = Mode::DryRun;
    options.limits.legs_max = PROBE_LEG_COUNT;
    let mut outcome = connect(address, transport, replica, options, |_| ()).await?;
    if outcome.end == End::Aborted(AbortReason::Limit("legs")) {
        outcome.end = End::Partial(Reasons::of(Reason::DryRun));
    }
    Ok(outcome)
}

async fn secured(address: &str, transport: &Transport) -> Result<Secured, ConnectError> {
    let host = address.rsplit_once(':').map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']'));
    let host = host.ok_or_else(|| ConnectError::Address(address.to_owned()))?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    transport.security.connect(stream, host).await
}
