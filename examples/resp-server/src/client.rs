//! One client's connection: bytes in, commands in order, replies out.
//!
//! Commands that came together are run together, and their replies written together: that is all that pipelining is.
//!
//! Easy to get wrong: replies leave before they become many: a client that does not read stops its own connection, not the
//! memory of the server. And what waits for an fsync must say so to tokio (`block_in_place`); what does not should not, for
//! saying it costs more than two commands: 11 us of a processor instead of 30 for a request and its reply on the loopback.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::commands::{After, Server};
use crate::resp::{Decoder, Replies};

/// Connections at a time; with the limit of a command this bounds what clients can make the server hold.
const CLIENT_COUNT_MAX: usize = 256;
/// After a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const INPUT_LEN: usize = 64 << 10;
/// Replies are written when they are as long as this, or when there are no more commands.
const REPLIES_LEN: usize = 256 << 10;

/// Accepts clients for good.
pub(crate) async fn accept(listener: TcpListener, server: Arc<Server>) {
    let places = Arc::new(Semaphore::new(CLIENT_COUNT_MAX));
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            // The client is gone again, or there are no descriptors left: neither is a reason to end.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let server = server.clone();
        match places.clone().try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    server.client_count.fetch_add(1, Ordering::Relaxed);
                    // How a client goes away is its own affair.
                    let _ = converse(stream, &server).await;
                    server.client_count.fetch_sub(1, Ordering::Relaxed);
                    drop(place);
                });
            }
            Err(_) => {
                tokio::spawn(
                    async move { stream.write_all(b"-ERR max number of clients reached\r\n").await },
                );
            }
        }
    }
}

/// What is to be done after some commands were run.
enum Next {
    /// More commands are here.
    Run,
    Read,
    Close,
}

async fn converse(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut decoder = Decoder::default();
    let mut input = vec![0; INPUT_LEN];
    loop {
        let len = stream.read(&mut input).await?;
        let Some(bytes) = input.get(..len).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        decoder.feed(bytes);
        loop {
            let mut replies = Replies::default();
            let mut run = || run(server, &mut decoder, &mut replies);
            let began = Instant::now();
            let next = if server.keys.waits() { block_in_place(run) } else { run() };
            if !replies.0.is_empty() {
                server.latencies.note(began.elapsed());
            }
            stream.write_all(&replies.0).await?;
            match next {
                Next::Run => {}
                Next::Read => break,
                Next::Close => return stream.shutdown().await,
            }
        }
    }
}

/// Runs the commands that are there whole, until there are enough replies.
fn run(server: &Server, decoder: &mut Decoder, replies: &mut Replies) -> Next {
    while replies.0.len() < REPLIES_LEN {
        match decoder.next() {
            Ok(Some(command)) => match server.run(&command, replies) {
                After::GoOn => {}
                After::Quit => return Next::Close,
            },
            Ok(None) => return Next::Read,
            Err(violation) => {
                replies.error(&violation.to_string());
                return Next::Close;
            }
        }
    }
    Next::Run
}
