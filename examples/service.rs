//! The store in a tokio program: a small service that answers lines, and clients that talk to it at the same time.
//!
//! The store's calls block, some of them for as long as an fsync takes, so they run on tokio's blocking threads and no task of
//! the service waits for another one's disk. Commits that wait at the same time share one fsync. Run it with
//! `cargo run --release --example service`.
//!
//! Easy to get wrong: a handle is cheap to clone and is the same store, so each task takes its own clone; the store is
//! closed when the last one goes.

use std::io;

use syncline::{Db, Durability, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CLIENTS: u32 = 8;
const REQUESTS: u32 = 25;
/// Longer lines end the connection: nobody is to fill the memory.
const LINE_LEN_MAX: u64 = 64 << 10;

/// What a client may ask for, and the answer. `put KEY VALUE` is durable before it is answered.
fn answer(db: &Db, line: &str) -> Result<String> {
    let mut words = line.trim_end().splitn(3, ' ');
    Ok(match (words.next(), words.next(), words.next()) {
        (Some("get"), Some(key), None) => match db.get(key)? {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "-".to_owned(),
        },
        (Some("put"), Some(key), Some(value)) => {
            let mut batch = db.batch();
            batch.put(&db.default_keyspace(), key, value)?;
            db.write(batch, Durability::Sync)?;
            "stored".to_owned()
        }
        (Some("len"), None, None) => db.len()?.to_string(),
        _ => "get KEY | put KEY VALUE | len".to_owned(),
    })
}

async fn serve(listener: TcpListener, db: Db) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let db = db.clone();
        // A client that goes away, or breaks the rules, ends its own task.
        tokio::spawn(async move { converse(stream, db).await });
    }
}

async fn converse(stream: TcpStream, db: Db) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = String::new();
        let len = (&mut reader).take(LINE_LEN_MAX).read_line(&mut line).await?;
        if len == 0 || !line.ends_with('\n') {
            return Ok(());
        }
        let db = db.clone();
        let answered = tokio::task::spawn_blocking(move || answer(&db, &line)).await?;
        let told = answered.unwrap_or_else(|error| format!("error: {error}"));
        writer.write_all(format!("{told}\n").as_bytes()).await?;
    }
}

/// Sends one line and waits for the answer.
async fn ask(stream: &mut BufReader<TcpStream>, line: String) -> io::Result<String> {
    stream.get_mut().write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer.trim_end().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let db = Db::builder(dir.path().join("service")).create()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, db.clone()));

    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(async move {
            let mut stream = BufReader::new(TcpStream::connect(address).await?);
            for request in 0..REQUESTS {
                let stored = ask(&mut stream, format!("put {client}/{request} by client {client}")).await?;
                assert_eq!(stored, "stored");
            }
            ask(&mut stream, format!("get {client}/0")).await
        });
    }
    while let Some(read) = clients.join_next().await {
        println!("a client read: {}", read??);
    }
    let mut stream = BufReader::new(TcpStream::connect(address).await?);
    assert_eq!(ask(&mut stream, "len".to_owned()).await?, (CLIENTS * REQUESTS).to_string());
    println!("the store holds {} entries, all of them durable", db.len()?);
    Ok(())
}
