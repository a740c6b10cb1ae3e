//! The server as clients and its twin meet it: a process, sockets, bytes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; killed when it is dropped.
struct Process {
    child: Child,
    clients: String,
    sync: String,
}

impl Process {
    async fn start(dir: &Path, args: &[&str]) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_resp-server"))
            .arg(dir)
            .args(["--listen", "127.0.0.1:0", "--every-ms", "50"])
            .args(args)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output is a pipe");
        BufReader::new(stdout).read_line(&mut line).await.expect("it says where it listens");
        let word = |name: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.unwrap_or_else(|| panic!("{line:?} does not say {name}")).to_owned()
        };
        Process { clients: word("clients="), sync: word("sync="), child }
    }

    /// As SIGKILL does it: by its own id, without a word.
    async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }

    async fn client(&self) -> Client {
        Client(TcpStream::connect(&self.clients).await.expect("it listens"))
    }

    /// What INFO says of `name`.
    async fn info(&self, name: &str) -> String {
        let info = self.client().await.ask(&["INFO"]).await;
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {info}")).to_owned()
    }
}

/// A client by hand.
struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        // A server that has closed the connection may say so here or at the next read.
        let _ = self.0.write_all(bytes).await;
    }

    /// Sends one command and returns the bytes of the reply.
    async fn ask(&mut self, words: &[&str]) -> String {
        self.send(&encoded(words)).await;
        String::from_utf8_lossy(&self.reply().await).into_owned()
    }

    /// The bytes of one reply.
    async fn reply(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut parts = 1;
        while parts > 0 {
            parts -= 1;
            let line = self.line().await;
            let count = String::from_utf8_lossy(&line[1..]).trim().parse::<i64>().unwrap_or_default().max(0);
            bytes.extend_from_slice(&line);
            match line[0] {
                b'*' => parts += count,
                b'$' if !line.starts_with(b"$-1") => {
                    let mut string = vec![0; count as usize + 2];
                    self.0.read_exact(&mut string).await.expect("the rest of a string");
                    bytes.extend_from_slice(&string);
                }
                _ => {}
            }
        }
        bytes
    }

    async fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.0.read_u8().await.expect("the rest of a line"));
        }
        line
    }

    /// Everything until the server closes the connection.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        // A connection that is closed with bytes unread is reset.
        let _ = read.expect("the server closes the connection");
        rest
    }
}

fn encoded(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

#[tokio::test]
async fn commands_reply_as_redis_clients_expect() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Process::start(dir.path(), &[]).await;
    let client = &mut server.client().await;
    for (command, expected) in [
        ("PING", "+PONG\r\n"),
        ("ping hello", "$5\r\nhello\r\n"),
        ("ECHO hello", "$5\r\nhello\r\n"),
        ("GET a", "$-1\r\n"),
        ("SET a 1", "+OK\r\n"),
        ("GET a", "$1\r\n1\r\n"),
        ("SET a 2 NX", "$-1\r\n"),
        ("SET b 2 XX", "$-1\r\n"),
        ("SET a 5 xx", "+OK\r\n"),
        ("SET a 5 NX XX", "-ERR syntax error\r\n"),
        ("SET a 5 EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET a 5 EX x", "-ERR value is not an integer or out of range\r\n"),
        ("SET a 5 PX 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"),
        ("INCR a", ":6\r\n"),
        ("INCRBY a -16", ":-10\r\n"),
        ("DECR a", ":-11\r\n"),
        ("DECRBY a 9", ":-20\r\n"),
        ("INCR new", ":1\r\n"),
        ("SET a 9223372036854775807", "+OK\r\n"),
        ("INCR a", "-ERR increment or decrement would overflow\r\n"),
        ("DECRBY a -9223372036854775808", "-ERR value is not an integer or out of range\r\n"),
        ("SET word one", "+OK\r\n"),
        ("INCR word", "-ERR value is not an integer or out of range\r\n"),
        ("MSET c 3 d 4 c 5", "+OK\r\n"),
        ("MGET c d nothing", "*3\r\n$1\r\n5\r\n$1\r\n4\r\n$-1\r\n"),
        ("MSET c 3 d", "-ERR wrong number of arguments for 'mset' command\r\n"),
        ("EXISTS c d d nothing", ":3\r\n"),
        ("DEL c c nothing", ":1\r\n"),
        ("EXISTS c", ":0\r\n"),
        ("TTL nothing", ":-2\r\n"),
        ("TTL d", ":-1\r\n"),
        ("EXPIRE d 1000", ":1\r\n"),
        ("EXPIRE nothing 1000", ":0\r\n"),
        ("TTL d", ":1000\r\n"),
        ("INCR d", ":5\r\n"),
        ("TTL d", ":1000\r\n"),
        ("PERSIST d", ":1\r\n"),
        ("PERSIST d", ":0\r\n"),
        ("TTL d", ":-1\r\n"),
        ("EXPIRE d -1", ":1\r\n"),
        ("GET d", "$-1\r\n"),
        ("SET e soon PX 1", "+OK\r\n"),
        ("SET e later EX 1000", "+OK\r\n"),
        ("TTL e", ":1000\r\n"),
        ("SET e never", "+OK\r\n"),
        ("TTL e", ":-1\r\n"),
        ("HELLO 3", "-NOPROTO unsupported protocol version\r\n"),
        ("COMMAND DOCS", "*0\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("LPUSH list x", "-ERR unknown command 'lpush'\r\n"),
        ("DBSIZE", ":4\r\n"),
        ("FLUSHDB", "+OK\r\n"),
        ("DBSIZE", ":0\r\n"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        assert_eq!(client.ask(&words).await, expected, "{command}");
    }
    assert!(client.ask(&["HELLO", "2"]).await.starts_with("*14\r\n$6\r\nserver\r\n$8\r\nsyncline\r\n"));
    client.send(b"QUIT\r\nPING\r\n").await;
    assert_eq!(client.rest().await, b"+OK\r\n");
}

#[tokio::test]
async fn a_walk_finds_every_key_once_and_patterns_choose() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Process::start(dir.path(), &[]).await;
    let client = &mut server.client().await;
    for number in 0..250 {
        client
            .ask(&["SET", &format!("{}:{number:03}", if number % 2 == 0 { "even" } else { "odd" }), "x"])
            .await;
    }
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let found = client.ask(&["SCAN", &cursor, "MATCH", "odd:*", "COUNT", "7"]).await;
        let strings: Vec<&str> =
            found.lines().filter(|line| !line.starts_with(['*', '$'])).map(str::trim).collect();
        let (next, keys) = strings.split_first().expect("a cursor");
        seen.extend(keys.iter().map(ToString::to_string));
        cursor = (*next).to_owned();
        if cursor == "0" {
            break;
        }
    }
    let expected: Vec<String> =
        (0..250).filter(|number| number % 2 == 1).map(|number| format!("odd:{number:03}")).collect();
    assert_eq!(seen, expected);
    assert!(client.ask(&["SCAN", "12345"]).await.starts_with("-ERR invalid cursor"));
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order_however_they_are_cut() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Process::start(dir.path(), &[]).await;
    let client = &mut server.client().await;
    let mut bytes = Vec::new();
    for number in 0..3000 {
        bytes.extend(encoded(&["SET", "key", &number.to_string()]));
        bytes.extend(encoded(&["GET", "key"]));
    }
    for part in bytes.chunks(977) {
        client.send(part).await;
    }
    for number in 0..3000 {
        assert_eq!(client.reply().await, b"+OK\r\n");
        let text = number.to_string();
        assert_eq!(client.reply().await, format!("${}\r\n{text}\r\n", text.len()).as_bytes());
    }
}

#[tokio::test]
async fn no_increment_of_many_clients_is_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Process::start(dir.path(), &[]).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let mut client = server.client().await;
        clients.spawn(async move {
            client.send(&encoded(&["INCR", "count"]).repeat(8000)).await;
            for _ in 0..8000 {
                client.reply().await;
            }
        });
    }
    clients.join_all().await;
    assert_eq!(server.client().await.ask(&["GET", "count"]).await, "$5\r\n32000\r\n");
}

#[tokio::test]
async fn hostile_bytes_end_their_own_connection_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Process::start(dir.path(), &[]).await;
    let bystander = &mut server.client().await;
    let mut long = b"*1000\r\n".to_vec();
    for _ in 0..5 {
        long.extend_from_slice(b"$1000000\r\n");
        long.extend_from_slice(&vec![7; 1_000_000]);
        long.extend_from_slice(b"\r\n");
    }
    for bytes in [
        &b"*2147483647\r\n"[..],
        b"*1\r\n$2147483647\r\n",
        b"*1\r\n$-5\r\n",
        b"*1\r\n*1\r\n*1\r\n",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        &[0xff; 100_000],
        &[b'*'; 100_000],
        &long,
    ] {
        let client = &mut server.client().await;
        client.send(bytes).await;
        let rest = client.rest().await;
        assert!(
            rest.is_empty() || rest.starts_with(b"-ERR Protocol error"),
            "{:?}",
            String::from_utf8_lossy(&rest)
        );
        assert_eq!(bystander.ask(&["PING"]).await, "+PONG\r\n");
    }
    // A short question with an endless answer.
    let value = "x".repeat(3_000_000);
    bystander.ask(&["SET", "large", &value]).await;
    let words: Vec<&str> = std::iter::once("MGET").chain(std::iter::repeat_n("large", 1000)).collect();
    assert_eq!(bystander.ask(&words).await, "-ERR the reply would be too long\r\n");
}

#[tokio::test]
async fn twins_become_equal_and_what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().expect("a folder");
    let (dir_a, dir_b) = (dir.path().join("a"), dir.path().join("b"));
    let a = Process::start(&dir_a, &[]).await;
    let like = dir_a.to_str().expect("a plain path");
    let b = Process::start(&dir_b, &["--like", like, "--peer", &a.sync]).await;
    b.client().await.ask(&["SET", "from b", "1"]).await;
    let client = &mut a.client().await;
    for number in 0..500 {
        assert_eq!(client.ask(&["SET", &format!("key:{number}"), "x"]).await, "+OK\r\n");
    }
    let sync = a.sync.clone();
    a.kill().await;
    b.client().await.ask(&["DEL", "key:7"]).await;
    b.client().await.ask(&["SET", "key:8", "newer"]).await;

    let a = Process::start(&dir_a, &["--sync-listen", &sync]).await;
    let equal = async {
        while a.info("root:").await != b.info("root:").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, equal).await.expect("they become equal");
    for server in [&a, &b] {
        let client = &mut server.client().await;
        assert_eq!(client.ask(&["GET", "key:8"]).await, "$5\r\nnewer\r\n");
        assert_eq!(client.ask(&["GET", "key:499"]).await, "$1\r\nx\r\n");
        assert_eq!(client.ask(&["GET", "from b"]).await, "$1\r\n1\r\n");
    }
    // Whether b knew key:7 when it deleted it depends on when it visited; both agree in any case.
    let left = [a.client().await.ask(&["DBSIZE"]).await, b.client().await.ask(&["DBSIZE"]).await];
    assert_eq!(left[0], left[1]);
}

#[tokio::test]
async fn redis_cli_can_talk_to_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let server = Process::start(dir.path(), &[]).await;
    let (host, port) = server.clients.rsplit_once(':').expect("host and port");
    let run = async |args: &[&str]| {
        Command::new("redis-cli").args(["-h", host, "-p", port]).args(args).output().await
    };
    match run(&["SET", "apple", "red"]).await {
        Err(error) => eprintln!("SKIPPED: there is no redis-cli here ({error})"),
        Ok(set) => {
            assert_eq!(set.stdout, b"OK\n");
            assert_eq!(run(&["GET", "apple"]).await.expect("it ran before").stdout, b"red\n");
            assert_eq!(run(&["--scan", "--pattern", "a*"]).await.expect("it ran before").stdout, b"apple\n");
        }
    }
}
