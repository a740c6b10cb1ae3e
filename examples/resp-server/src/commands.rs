//! The commands that clients know, one line of dispatch for each.
//!
//! Easy to get wrong: a reply is written when nothing can fail any more, or half of it would stand before an error. Nor may a
//! short command have an endless reply: see [`REPLY_LEN_MAX`].

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sync_proto::driver::tokio::Control;
use tokio::task::block_in_place;

use crate::glob::PATTERN_LEN_MAX;
use crate::keys::{Condition, Expiry, Keys, NoCounter, now_ms};
use crate::latency::Latencies;
use crate::resp::{Command, Replies, number};

/// Longer replies are refused: a client could ask for one large value a thousand times.
const REPLY_LEN_MAX: usize = 32 << 20;
/// Keys that one step of SCAN looks at, unless said otherwise and at most.
const SCAN_COUNT: i64 = 10;
const SCAN_COUNT_MAX: i64 = 1000;

/// What commands work on.
pub(crate) struct Server {
    pub(crate) keys: Keys,
    /// Knows how far the twin is.
    pub(crate) control: Control,
    pub(crate) client_count: AtomicUsize,
    /// How long clients wait.
    pub(crate) latencies: Arc<Latencies>,
}

/// What becomes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    GoOn,
    Quit,
}

/// Why a command is refused, as the client is told.
struct Refusal(String);

impl From<syncline::Error> for Refusal {
    fn from(error: syncline::Error) -> Refusal {
        Refusal(format!("ERR {error}"))
    }
}

type Outcome = Result<(), Refusal>;

fn refused<T>(text: &str) -> Result<T, Refusal> {
    Err(Refusal(format!("ERR {text}")))
}

impl Server {
    /// Runs one command and appends its reply.
    pub(crate) fn run(&self, command: &Command, replies: &mut Replies) -> After {
        let Some((name, args)) = command.split_first() else { return After::GoOn };
        let name = name.to_ascii_uppercase();
        if let Err(Refusal(text)) = self.execute(&name, args, replies) {
            replies.error(&text);
        }
        if name == b"QUIT" { After::Quit } else { After::GoOn }
    }

    fn execute(&self, name: &[u8], args: &[Vec<u8>], replies: &mut Replies) -> Outcome {
        match (name, args) {
            (b"GET", [key]) => replies.string_or_null(self.keys.get(key)?.as_deref()),
            (b"SET", [key, value, options @ ..]) => self.set(key, value, options, replies)?,
            (b"MGET", [_, ..]) => self.get_all(args, replies)?,
            (b"MSET", [_, _, ..]) if args.len().is_multiple_of(2) => {
                let pairs = args.chunks_exact(2).filter_map(|pair| Some((&**pair.first()?, &**pair.get(1)?)));
                self.keys.set_all(&pairs.collect::<Vec<_>>())?;
                replies.simple("OK");
            }
            (b"DEL" | b"UNLINK", [_, ..]) => replies.integer(self.keys.delete(args)?),
            (b"EXISTS", [_, ..]) => {
                let mut count = 0;
                for key in args {
                    count += i64::from(self.keys.contains(key)?);
                }
                replies.integer(count);
            }
            (b"INCR", [key]) => self.add(key, Some(1), replies)?,
            (b"DECR", [key]) => self.add(key, Some(-1), replies)?,
            (b"INCRBY", [key, by]) => self.add(key, number(by), replies)?,
            (b"DECRBY", [key, by]) => self.add(key, number(by).and_then(i64::checked_neg), replies)?,
            (b"EXPIRE", [key, seconds]) => self.expire(key, seconds, 1000, replies)?,
            (b"PEXPIRE", [key, millis]) => self.expire(key, millis, 1, replies)?,
            (b"TTL", [key]) => self.time_to_live(key, 1000, replies)?,
            (b"PTTL", [key]) => self.time_to_live(key, 1, replies)?,
            (b"PERSIST", [key]) => {
                let expires = self.keys.expiry(key)?.is_some_and(|expiry| expiry != 0);
                replies.integer((expires && self.keys.set_expiry(key, 0)?).into());
            }
            (b"SCAN", [cursor, options @ ..]) => self.scan(cursor, options, replies)?,
            (b"DBSIZE", []) => replies.integer(self.keys.count()? as i64),
            (b"FLUSHDB", []) => {
                block_in_place(|| self.keys.delete_everything())?;
                replies.simple("OK");
            }
            (b"INFO", _) => replies.string(self.info()?.as_bytes()),
            (b"PING", []) => replies.simple("PONG"),
            (b"PING" | b"ECHO", [text]) => replies.string(text),
            (b"HELLO", options) => hello(options, replies)?,
            (b"SELECT", [index]) if index == b"0" => replies.simple("OK"),
            (b"SELECT", [_]) => return refused("DB index is out of range"),
            (b"COMMAND", _) => replies.array(0),
            (b"QUIT", _) => replies.simple("OK"),
            (
                b"GET" | b"SET" | b"MGET" | b"MSET" | b"DEL" | b"UNLINK" | b"EXISTS" | b"INCR" | b"DECR"
                | b"INCRBY" | b"DECRBY" | b"EXPIRE" | b"PEXPIRE" | b"TTL" | b"PTTL" | b"PERSIST" | b"SCAN"
                | b"DBSIZE" | b"FLUSHDB" | b"PING" | b"ECHO" | b"SELECT",
                _,
            ) => return refused(&format!("wrong number of arguments for '{}' command", shown(name))),
            _ => return refused(&format!("unknown command '{}'", shown(name))),
        }
        Ok(())
    }

    fn set(&self, key: &[u8], value: &[u8], options: &[Vec<u8>], replies: &mut Replies) -> Outcome {
        let (mut expiry, mut condition) = (0, Condition::Always);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let option = option.to_ascii_uppercase();
            match (option.as_slice(), condition, expiry) {
                (b"NX", Condition::Always, _) => condition = Condition::IfAbsent,
                (b"XX", Condition::Always, _) => condition = Condition::IfPresent,
                (b"EX", _, 0) => expiry = in_future(options.next(), 1000)?,
                (b"PX", _, 0) => expiry = in_future(options.next(), 1)?,
                _ => return refused("syntax error"),
            }
        }
        match self.keys.set(key, value, expiry, condition)? {
            true => replies.simple("OK"),
            false => replies.null(),
        }
        Ok(())
    }

    fn get_all(&self, keys: &[Vec<u8>], replies: &mut Replies) -> Outcome {
        let mut values = Vec::with_capacity(keys.len());
        let mut len = 0;
        for key in keys {
            let value = self.keys.get(key)?;
            len += value.as_deref().map_or(0, <[u8]>::len);
            if len > REPLY_LEN_MAX {
                return refused("the reply would be too long");
            }
            values.push(value);
        }
        replies.array(values.len());
        values.iter().for_each(|value| replies.string_or_null(value.as_deref()));
        Ok(())
    }

    fn add(&self, key: &[u8], by: Option<i64>, replies: &mut Replies) -> Outcome {
        let sum = by.map_or(Ok(Err(NoCounter::NotANumber)), |by| self.keys.add(key, by))?;
        match sum {
            Ok(sum) => replies.integer(sum),
            Err(NoCounter::NotANumber) => return refused("value is not an integer or out of range"),
            Err(NoCounter::Overflow) => return refused("increment or decrement would overflow"),
        }
        Ok(())
    }

    fn expire(&self, key: &[u8], time: &[u8], unit_ms: i64, replies: &mut Replies) -> Outcome {
        let after_ms = number(time).and_then(|time| time.checked_mul(unit_ms));
        let Some(after_ms) = after_ms else { return refused("value is not an integer or out of range") };
        // What is over before it begins is over at the least time that is not never.
        let expiry = now_ms().saturating_add_signed(after_ms).max(1);
        replies.integer(self.keys.set_expiry(key, expiry)?.into());
        Ok(())
    }

    fn time_to_live(&self, key: &[u8], unit_ms: u64, replies: &mut Replies) -> Outcome {
        replies.integer(match self.keys.expiry(key)? {
            None => -2,
            Some(0) => -1,
            Some(expiry) => ((expiry.saturating_sub(now_ms()) + unit_ms / 2) / unit_ms) as i64,
        });
        Ok(())
    }

    fn scan(&self, cursor: &[u8], options: &[Vec<u8>], replies: &mut Replies) -> Outcome {
        let cursor = number(cursor).and_then(|cursor| u64::try_from(cursor).ok());
        let Some(cursor) = cursor else { return refused("invalid cursor") };
        let (mut pattern, mut count) = (&b"*"[..], SCAN_COUNT);
        for option in options.chunks(2) {
            let [name, value] = option else { return refused("syntax error") };
            match (name.to_ascii_uppercase().as_slice(), number(value)) {
                (b"MATCH", _) if value.len() <= PATTERN_LEN_MAX => pattern = value,
                (b"MATCH", _) => return refused("the pattern is too long"),
                (b"COUNT", Some(asked)) if asked > 0 => count = asked.min(SCAN_COUNT_MAX),
                _ => return refused("syntax error"),
            }
        }
        let found = self.keys.scan(cursor, pattern, count as usize)?;
        let Some(found) = found else { return refused("invalid cursor: too many walks began since") };
        replies.array(2);
        replies.string(found.cursor.to_string().as_bytes());
        replies.array(found.keys.len());
        found.keys.iter().for_each(|key| replies.string(key));
        Ok(())
    }

    fn info(&self) -> Result<String, Refusal> {
        let db = self.keys.db();
        let (clients, keys, root) =
            (self.client_count.load(Ordering::Relaxed), self.keys.count()?, db.root()?);
        let mut text = format!(
            "# Server\r\nserver:syncline\r\nnode:{}\r\nhealth:{:?}\r\n# Clients\r\nconnected_clients:{clients}\r\n",
            db.node_id(),
            db.health(),
        );
        // Writing to a string cannot fail.
        let _ = write!(text, "# Keyspace\r\ndb0:keys={keys}\r\n# Twin\r\nroot:{}\r\n", root.fingerprint);
        for peer in self.control.peers() {
            let apart = peer.divergence.gauge().map_or("unknown".to_owned(), |entries| entries.to_string());
            let (visits, failures) = (peer.visits, peer.failures);
            let _ = write!(text, "twin:apart={apart},visits={visits},failures={failures}\r\n");
        }
        Ok(text)
    }
}

/// The moment so many units from now.
fn in_future(time: Option<&Vec<u8>>, unit_ms: u64) -> Result<Expiry, Refusal> {
    let Some(time) = time else { return refused("syntax error") };
    let Some(time) = number(time) else { return refused("value is not an integer or out of range") };
    let after_ms =
        u64::try_from(time).ok().filter(|time| *time > 0).and_then(|time| time.checked_mul(unit_ms));
    match after_ms
        .and_then(|after_ms| now_ms().checked_add(after_ms))
        .filter(|expiry| *expiry <= i64::MAX as u64)
    {
        Some(expiry) => Ok(expiry),
        None => refused("invalid expire time in 'set' command"),
    }
}

/// RESP2 is all that is spoken, and nobody is known by name.
fn hello(options: &[Vec<u8>], replies: &mut Replies) -> Outcome {
    match options {
        [] => {}
        [version] if version == b"2" => {}
        [version] if number(version).is_some() => {
            return Err(Refusal("NOPROTO unsupported protocol version".into()));
        }
        _ => return refused("syntax error in HELLO"),
    }
    replies.array(14);
    for (name, value) in [("server", "syncline"), ("version", env!("CARGO_PKG_VERSION"))] {
        replies.string(name.as_bytes());
        replies.string(value.as_bytes());
    }
    for (name, number) in [("proto", 2), ("id", 0)] {
        replies.string(name.as_bytes());
        replies.integer(number);
    }
    for (name, value) in [("mode", "standalone"), ("role", "master")] {
        replies.string(name.as_bytes());
        replies.string(value.as_bytes());
    }
    replies.string(b"modules");
    replies.array(0);
    Ok(())
}

/// A word of a client's in an error, cut short.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name.get(..64).unwrap_or(name)).to_lowercase()
}
