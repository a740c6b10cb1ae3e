//! The one error type of the engine. Every variant names what a caller would do differently about it, and carries
//! the facts (file, offset, key length) as fields, so that nobody has to parse text. Unless a variant says
//! otherwise, the store's state is unchanged when an error is returned.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{KeyRange, NodeId, SeqNo, Stamp, ValueDigest};

/// What the engine's fallible calls return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed, and by its kind what to do about it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused an operation. Reads may be tried again; a failed write has poisoned the store.
    #[error("{op} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb: "open", "write", "fsync".
        op: &'static str,
        /// The file or folder it was done to.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Stored bytes are not what was written. Restore the file or heal the span from a replica; nothing was changed.
    #[error("corruption in {} at byte {offset}: {what}", file.display())]
    Corruption {
        /// The damaged file.
        file: PathBuf,
        /// Where in it the damage was noticed, in bytes from the start.
        offset: u64,
        /// What did not hold.
        what: &'static str,
    },
    /// Keys that the question touches lie in spans of which a file is damaged, so what they hold is unknown: neither that they
    /// are there nor that they are not. Heal the spans from a replica. Writes to them are taken meanwhile, and what was written
    /// since can be read.
    #[error("unknown for damage, until it is healed from a replica: {}", spans_text(spans))]
    Unknown {
        /// The spans, in order, of keys as they are stored: nine bytes of their keyspace's prefix, then the user's key.
        spans: Vec<KeyRange>,
    },
    /// The value is damaged, while stamp and digest of its entry are intact. Heal it from a replica, or write it anew.
    #[error("the value of a key of {} bytes is lost, though its entry is intact: {source}", stored_key.len())]
    ValueLost {
        /// The key as it is stored: nine bytes of its keyspace's prefix, then the user's key.
        stored_key: Vec<u8>,
        /// Stamp of the entry.
        stamp: Stamp,
        /// Digest of the value.
        value_digest: ValueDigest,
        /// Where the damage is.
        source: Box<Error>,
    },
    /// Another process, or another handle of this one, has the store open for writing. Close that one first.
    #[error("{} is open elsewhere", path.display())]
    Locked {
        /// The store's folder.
        path: PathBuf,
    },
    /// There is no store in this folder. Create one by [`Builder::create`](crate::Builder::create) or
    /// [`Builder::open_or_create`](crate::Builder::open_or_create).
    #[error("{} holds no store", path.display())]
    NotFound {
        /// The folder that was looked at.
        path: PathBuf,
    },
    /// The folder is in use already, by a store or by foreign files, and a new store was asked for.
    #[error("{} cannot take a new store: it already holds {found}", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// One of the files that stand in the way.
        found: String,
    },
    /// The file was written by another format version. Nothing was written; use a matching version of Syncline.
    #[error("{} has format version {found}, this build reads version {supported}", file.display())]
    UnsupportedVersion {
        /// The file whose header was read.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this build reads.
        supported: u32,
    },
    /// The path's blocks are, or its new ones would be, compressed in a way that this build was made without. Nothing is
    /// damaged: build with the features `lz4` and `zstd`, or choose another [`Compression`](crate::Compression).
    #[error("{} is compressed in a way that this build lacks", path.display())]
    UnsupportedCodec {
        /// The run or the store's folder.
        path: PathBuf,
    },
    /// A key is longer than [`Key::LEN_MAX`](crate::Key::LEN_MAX). Shorten it.
    #[error("key of {len} bytes is longer than {max}")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The greatest length allowed.
        max: usize,
    },
    /// A value or batch is larger than one commit may be. Split it.
    #[error("commit of {len} bytes is larger than {max}")]
    CommitTooLarge {
        /// Its size in bytes.
        len: u64,
        /// The greatest size allowed.
        max: u64,
    },
    /// An earlier write failed, so the store takes no more of them. Reads go on at the durable state; reopen to write.
    #[error("the store takes no more writes until it is reopened: {reason}")]
    Poisoned {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The store was opened read-only.
    #[error("the store is open read-only")]
    ReadOnly,
    /// This keyspace name was taken with other resolvers, or, by different replicas, with several: each is a keyspace of its
    /// own. Say which one is meant: [`Db::keyspace_with`](crate::Db::keyspace_with).
    #[error("keyspace {name:?} exists with resolvers {resolvers:?}; say which one is meant")]
    Ambiguous {
        /// The keyspace's name.
        name: String,
        /// The resolvers it was created with.
        resolvers: Vec<String>,
    },
    /// An option or argument contradicts the store or itself.
    #[error("{what}")]
    InvalidArgument {
        /// What is wrong and what would be right.
        what: String,
    },
    /// An export stream is cut off or damaged. What came before was taken; get the stream again and import it.
    #[error("export stream at byte {offset}: {what}")]
    Stream {
        /// Where in the stream it was noticed, in bytes from the start.
        offset: u64,
        /// What did not hold.
        what: &'static str,
    },
    /// The change feed no longer has all commits after the cursor. Take a snapshot, read it whole, and go on from its seqno.
    #[error("the change feed begins after commit {oldest}, later than the cursor")]
    TooOld {
        /// The least cursor that it can go on from.
        oldest: SeqNo,
    },
    /// Two stores must not repair each other: the reason says what would help.
    #[error("no session between {node} and {peer}: {why}")]
    NoSession {
        /// This store.
        node: NodeId,
        /// The other one, if it has said who it is.
        peer: NodeId,
        /// Why not.
        why: &'static str,
    },
    /// The store may lack what its replica set holds, or hold what that has deleted, so it answers no reads: the reason says what
    /// would help. [`Db::horizon_status`](crate::Db::horizon_status) tells who stands how.
    #[error("node {node} answers no reads: {why}")]
    NotServing {
        /// This store.
        node: NodeId,
        /// Why not, and until when.
        why: &'static str,
    },
    /// A long piece of work was stopped because its caller asked for that.
    #[error("stopped on request")]
    Aborted,
}

impl Error {
    /// Wraps what the operating system said about `op` on `path`.
    pub(crate) fn io(op: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { op, path: path.to_owned(), source: Arc::new(source) }
    }

    /// Damage in `file` at byte `offset`.
    pub(crate) fn corruption(file: &Path, offset: u64, what: &'static str) -> Error {
        Error::Corruption { file: file.to_owned(), offset, what }
    }

    /// A bad argument, said in one sentence.
    pub(crate) fn invalid(what: impl Into<String>) -> Error {
        Error::InvalidArgument { what: what.into() }
    }
}

/// The spans as a sentence has room for them.
fn spans_text(spans: &[KeyRange]) -> String {
    let end = |end: &Option<Vec<u8>>| {
        end.as_ref().map_or("the end".to_owned(), |end| format!("\"{}\"", end.escape_ascii()))
    };
    let text = |span: &KeyRange| format!("\"{}\" to {}", span.start.escape_ascii(), end(&span.end));
    let more = spans.len().saturating_sub(1);
    let rest = if more > 0 { format!(" and {more} more spans") } else { String::new() };
    spans.first().map(text).unwrap_or_default() + &rest
}
