//! Where the nonces of this process's sessions come from: each is drawn afresh when its session begins.
//!
//! Easy to get wrong: a nonce travels in the clear to whoever takes part, so one that is computed from another one, or drawn
//! twice, is guessable; and a peer that guesses can prepare entries whose short fingerprints collide.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::error::ConnectError;

/// Draws nonces. Clones share the source.
#[derive(Clone)]
pub struct Nonces(Arc<dyn Fn() -> io::Result<u64> + Send + Sync>);

impl Nonces {
    /// From `draw`, each of whose numbers is to be unguessable whatever others are known: the operating system's
    /// cryptographic randomness.
    pub fn new(draw: impl Fn() -> io::Result<u64> + Send + Sync + 'static) -> Nonces {
        Nonces(Arc::new(draw))
    }

    /// One more.
    pub(super) fn draw(&self) -> Result<u64, ConnectError> {
        (self.0)().map_err(ConnectError::Nonce)
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use ::tokio::io::{AsyncReadExt, duplex};
    use ::tokio::net::TcpListener;

    use super::super::{Control, Maintenance, Security, Server, Transport, connect, initiate, maintain};
    use super::*;
    use crate::options::Options;
    use crate::schedule::ScheduleOptions;
    use crate::test_model::Model;
    use crate::wire::codec::Reader;
    use crate::wire::frame::{FRAME_HEADER_LEN, payload_len};
    use crate::wire::hello::HelloBody;
    use crate::wire::message::Message;

    /// The nonce in the hello of whoever connects next.
    async fn next_nonce(listener: &TcpListener) -> u64 {
        let (mut stream, _) = listener.accept().await.expect("somebody comes");
        let mut header = [0; FRAME_HEADER_LEN];
        stream.read_exact(&mut header).await.expect("a frame");
        let mut payload = vec![0; payload_len(&header).expect("a frame")];
        stream.read_exact(&mut payload).await.expect("a frame");
        let Ok(Message::Hello(hello)) = Message::decode(&mut Reader::new(&payload)) else {
            panic!("no hello")
        };
        HelloBody::decode(&hello.body).expect("a hello").party.nonce
    }

    #[tokio::test]
    async fn every_session_has_a_nonce_that_was_drawn_for_it_whatever_was_cloned_or_begun_again() {
        let count = Arc::new(AtomicU64::new(0));
        let drawn = Arc::clone(&count);
        let nonces = Nonces::new(move || Ok(1000 + drawn.fetch_add(1, Ordering::Relaxed)));
        let transport = Transport::new(Security::Insecure, nonces);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (replica, options) = (Arc::new(Model::new(1)), Options::new(7));
        let mut seen = Vec::new();
        for _ in 0..2 {
            let connecting = connect(&address, &transport, replica.clone(), options.clone(), |_| ());
            let (nonce, _) = ::tokio::join!(next_nonce(&listener), connecting);
            seen.push(nonce);
        }
        let (every, seed) = (Duration::from_secs(60), 1);
        let maintenance = Maintenance {
            replica: replica.clone(),
            peers: vec![address],
            options: options.clone(),
            transport: transport.clone(),
            schedule: ScheduleOptions { every, jitter_percent: 0, visits_max: 1, seed },
        };
        for _ in 0..2 {
            let stopped = async { seen.push(next_nonce(&listener).await) };
            maintain(maintenance.clone(), Control::default(), |_, _, _| (), stopped).await;
        }
        assert_eq!(seen, [1000, 1001, 1002, 1003]);
        let server = Server::new(replica, options, transport);
        for server in [server.clone(), server] {
            let (here, there) = duplex(1 << 20);
            let calling = initiate(here, Arc::new(Model::new(2)), Options::new(9), |_| ());
            let (_, (_, answered)) = ::tokio::join!(calling, server.answer(there));
            assert!(answered.expect("a session").is_complete());
        }
        assert_eq!(count.load(Ordering::Relaxed), 6);
    }
}
