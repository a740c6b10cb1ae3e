//! As much of HTTP/1.1 as a scraper needs: one `GET` or `HEAD` a connection, answered and closed.
//!
//! Easy to get wrong: whoever reaches the address can send anything, slowly and often. So a connection has one deadline for
//! everything and a small buffer for its request, there are few connections at a time, and what costs the store something is
//! done for one of them after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{sleep, timeout};

use super::Metrics;

/// Longest request, headers included.
const REQUEST_LEN_MAX: usize = 8 << 10;
/// Connections at a time. Further ones wait to be accepted.
const CONNECTION_COUNT_MAX: usize = 16;
/// For everything on one connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// After a connection could not be accepted, for instance for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer: status line, type of content, content.
type Answer = (&'static str, &'static str, String);

const PLAIN: &str = "text/plain; charset=utf-8";

/// Answers requests at `listener` for ever.
pub(crate) async fn expose(listener: TcpListener, metrics: Arc<Metrics>) {
    let permits = Arc::new(Semaphore::new(CONNECTION_COUNT_MAX));
    let at_work = Arc::new(Mutex::new(()));
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Err(_) => sleep(ACCEPT_PAUSE).await,
            Ok((stream, _)) => {
                let (metrics, at_work) = (Arc::clone(&metrics), Arc::clone(&at_work));
                tokio::spawn(async move {
                    // Whoever went away or was too slow is told nothing.
                    let _ = timeout(DEADLINE, answer_one(stream, metrics, at_work)).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn answer_one(mut stream: TcpStream, metrics: Arc<Metrics>, at_work: Arc<Mutex<()>>) -> io::Result<()> {
    let mut buffer = [0; REQUEST_LEN_MAX];
    let mut len = 0;
    let head = loop {
        let Some(room) = buffer.get_mut(len..).filter(|room| !room.is_empty()) else { break None };
        match stream.read(room).await? {
            0 => return Ok(()),
            read => len += read,
        }
        let request = buffer.get(..len).unwrap_or_default();
        if request.windows(4).any(|end| end == b"\r\n\r\n") {
            break request.split(|&byte| byte == b'\r').next();
        }
    };
    let (method, target) = head.map_or((None, None), request_line);
    let (status, content_type, body) = match (method, target) {
        _ if head.is_none() => plain("431 Request Header Fields Too Large", "too long a request"),
        (Some("GET" | "HEAD"), Some("/metrics")) => {
            // The turn is the work's own, for that goes on when the deadline ends the wait for it.
            let turn = at_work.lock_owned().await;
            let work = move || {
                let _turn = turn;
                metrics.text()
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(Ok(text)) => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", text),
                Ok(Err(error)) => plain("500 Internal Server Error", &error.to_string()),
                Err(_) => plain("500 Internal Server Error", "the figures could not be gathered"),
            }
        }
        (Some("GET" | "HEAD"), Some("/health")) => match metrics.health() {
            Ok(()) => plain("200 OK", "good"),
            Err(reason) => plain("503 Service Unavailable", &reason),
        },
        (Some("GET" | "HEAD"), Some(_)) => plain("404 Not Found", "there are /metrics and /health"),
        (Some(_), Some(_)) => plain("405 Method Not Allowed", "use GET"),
        _ => plain("400 Bad Request", "no HTTP/1 request"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nAllow: GET, HEAD\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if method != Some("HEAD") {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Method and path of a request's first line, if it is one of HTTP/1.
fn request_line(line: &[u8]) -> (Option<&str>, Option<&str>) {
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) => {
            (Some(method), target.split('?').next())
        }
        _ => (None, None),
    }
}

fn plain(status: &'static str, text: &str) -> Answer {
    (status, PLAIN, format!("{text}\n"))
}
