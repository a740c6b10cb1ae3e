//! The command line as clap reads it: one verb each, its arguments, and the words of `--help`.

mod network;
mod observe;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand};
use syncline::NodeId;

use crate::address::Address;
use crate::table::Format;
pub(crate) use network::{Cert, CertAuthority, CertPeer, Grant, Link, Serve};
pub(crate) use observe::{Diff, Doctor, Plot, Stats, Watch};

const AFTER_HELP: &str = "\
Exit codes: 0 the same or fine; 1 different, missing or damaged; 2 wrong usage; 3 failed input, output or peer.
With --json, one object goes to standard output; an error goes to standard error as {\"error\", \"kind\"}.
Text that is not UTF-8 is then given in hexadecimal digits, under its name with _hex.";

/// Load, inspect, compare and repair Syncline stores.
#[derive(Debug, Parser)]
#[command(name = "syncline", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Args {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a new, empty store
    Init(Init),
    /// Put the rows of a table into a store, which is made if there is none
    Load(Load),
    /// Print the value of a key
    Get(OneKey),
    /// Set a key to a value
    Put(Put),
    /// Delete a key, or every key of a prefix or range
    Del(Del),
    /// Print keys and values in key order
    Scan(Scan),
    /// Print what was changed since a cursor, in the order of the commits
    Changes(Changes),
    /// Show counts, sizes and health of a store
    Stats(Stats),
    /// Show the root: one number that is the same for all equal replicas
    Digest(Store),
    /// Read everything and check it against its checksums and digests; change nothing
    Verify(Store),
    /// Read all blocks and large values again at a bounded rate, to find damage early
    Scrub(Scrub),
    /// Find out what is wrong with a store, or with a pair of replicas, and say what to do about it
    Doctor(Doctor),
    /// Merge the store's files as far as they go, so that reads touch fewer
    Compact(Store),
    /// Show who belongs to the replica set and how far deleting for good has come; and move it on
    Horizon(Horizon),
    /// Make a copy of a store in another folder: by links on the same file system, else by copying.
    ///
    /// Only the process that writes to a store can do that, for it alone can write out what is in its memory. Of a store that is
    /// served use `export`, which reads beside the writer, or stop it first.
    Checkpoint(Checkpoint),
    /// Write all entries of a store, stamps and tombstones too, as one portable stream
    Export(Export),
    /// Merge an exported stream into a store, which is made if there is none
    Import(Import),
    /// Let peers compare themselves with a store and repair it, and visit peers, until interrupted
    Serve(Serve),
    /// Make the certificates by which peers know each other
    #[command(subcommand)]
    Cert(Cert),
    /// Show how two replicas differ; change nothing
    Diff(Diff),
    /// Make two replicas equal by moving exactly what differs
    Sync(Sync),
    /// Look at a store, or compare two replicas, again and again, until interrupted
    Watch(Watch),
    /// Draw what watch recorded: differences over time and key space, and sizes
    Plot(Plot),
    /// Print a script by which a shell completes this command's verbs and options
    Completions(Completions),
    /// Print this command's page for man, or write it and the verbs' pages into a folder
    Man(Manual),
    /// Kill, repair and check two replicas of a real table before your eyes
    Demo(Demo),
    /// The part of the demo that is killed: puts the rows on standard input and acknowledges their keys
    #[command(hide = true)]
    DemoWriter(Store),
}

/// A store and nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Store {
    /// The store's folder
    pub(crate) dir: PathBuf,
}

/// The keyspace a verb works in.
#[derive(Debug, clap::Args)]
pub(crate) struct InKeyspace {
    /// The keyspace to work in
    #[arg(long = "keyspace", value_name = "NAME", default_value = "default")]
    pub(crate) name: String,
}

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The new store's folder: not there yet, or empty
    pub(crate) dir: PathBuf,
    /// Belong to the replica set of this store, so that the two can be compared
    #[arg(long, value_name = "OTHER_DIR")]
    pub(crate) replica_of: Option<PathBuf>,
    /// Keep so many bytes of the log for `changes`, beyond what is not flushed yet
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) retain_log: u64,
    /// Compress what is written in key order: smaller files, slower reads
    #[arg(long, value_enum, value_name = "CODEC", default_value_t = Codec::None)]
    pub(crate) compression: Codec,
}

/// How a store's runs are compressed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Codec {
    /// Not at all
    None,
    /// LZ4
    Lz4,
    /// Zstandard, if this command was built with it
    Zstd,
}

/// Arguments of `horizon`. Without options it changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct Horizon {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// Make an empty replica a member of the set, by its node id
    #[arg(long, value_name = "NODE", value_parser = node_id)]
    pub(crate) admit: Option<NodeId>,
    /// Take a member out of the set for good, by its node id
    #[arg(long, value_name = "NODE", value_parser = node_id)]
    pub(crate) expel: Option<NodeId>,
    /// Take no more of what clients bring that was stamped so long ago or longer, and raise the horizon as far as is proven
    #[arg(long, value_name = "SECONDS")]
    pub(crate) close: Option<u64>,
}

fn node_id(text: &str) -> Result<NodeId, String> {
    text.parse().map_err(|_| "write a node as the 16 digits that `syncline stats` shows".to_owned())
}

/// Arguments of `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Load {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The table; may be compressed with gzip
    pub(crate) file: PathBuf,
    /// The table's format, if its name does not end in .tsv, .csv, .jsonl or .ndjson (and .gz)
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// The rows are in the order of their keys, bytewise and without repeats: take in all of them or none, several times as
    /// fast, as new ones whatever the store held
    #[arg(long)]
    pub(crate) sorted: bool,
    /// The column of the key [default: the first]; of JSON lines the field, which has to be named
    #[arg(long, value_name = "COLUMN")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) keyspace: InKeyspace,
}

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub(crate) struct OneKey {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(value_parser = bytes())]
    pub(crate) key: Bytes,
    #[command(flatten)]
    pub(crate) keyspace: InKeyspace,
}

/// Arguments of `del`.
#[derive(Debug, clap::Args)]
pub(crate) struct Del {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(value_parser = bytes(), conflicts_with_all = ["prefix", "from", "to"])]
    pub(crate) key: Option<Bytes>,
    /// Every key that begins with this
    #[arg(long, value_parser = bytes(), conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<Bytes>,
    /// Every key from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) from: Option<Bytes>,
    /// Every key before this one
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) to: Option<Bytes>,
    #[command(flatten)]
    pub(crate) keyspace: InKeyspace,
}

/// Arguments of `put`.
#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The key
    #[arg(value_parser = bytes())]
    pub(crate) key: Bytes,
    /// Its new value
    #[arg(value_parser = bytes())]
    pub(crate) value: Bytes,
    #[command(flatten)]
    pub(crate) keyspace: InKeyspace,
}

/// Arguments of `scan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Scan {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// Only keys that begin with this
    #[arg(long, value_parser = bytes(), conflicts_with_all = ["from", "to"])]
    pub(crate) prefix: Option<Bytes>,
    /// The first key
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) from: Option<Bytes>,
    /// The key to stop before
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) to: Option<Bytes>,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many entries
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Leave the values out
    #[arg(long)]
    pub(crate) keys_only: bool,
    #[command(flatten)]
    pub(crate) keyspace: InKeyspace,
}

/// Arguments of `changes`.
#[derive(Debug, clap::Args)]
pub(crate) struct Changes {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The commit after which to begin: the cursor that the last run printed
    #[arg(long, value_name = "SEQNO", default_value_t = 0)]
    pub(crate) since: u64,
    /// Wait for further changes until interrupted, and print each once it is durable and, beside a writer, a later one has
    /// said so; with --json one object a line, the last of which has the cursor
    #[arg(long)]
    pub(crate) follow: bool,
}

/// Arguments of `checkpoint`.
#[derive(Debug, clap::Args)]
pub(crate) struct Checkpoint {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The copy's folder: not there yet, or empty
    pub(crate) target: PathBuf,
}

/// Arguments of `scrub`.
#[derive(Debug, clap::Args)]
pub(crate) struct Scrub {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// Read at most so many MiB in a second; 0 reads as fast as it goes
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    pub(crate) rate: u64,
}

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The file to write, which holds the replica set's secret [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The store's folder
    pub(crate) dir: PathBuf,
    /// The stream; may be compressed with gzip [default: standard input]
    pub(crate) file: Option<PathBuf>,
}

/// Two replicas, and the way between them.
#[derive(Debug, clap::Args)]
pub(crate) struct Pair {
    /// The left replica: a folder or tls://host:port
    #[arg(value_name = "A")]
    pub(crate) left: Address,
    /// The right replica: a folder, or tls://host:port if the left one is a folder
    #[arg(value_name = "B")]
    pub(crate) right: Address,
    #[command(flatten)]
    pub(crate) part: Part,
    #[command(flatten)]
    pub(crate) link: Link,
}

/// The part of two replicas that counts; all of them, keyspaces and keys, if nothing is said.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Part {
    /// Only this keyspace
    #[arg(long = "keyspace", value_name = "NAME")]
    pub(crate) keyspace: Option<String>,
    /// Only keys that begin with this, of the default keyspace or the one that is named; may be given several times
    #[arg(long = "prefix", value_name = "PREFIX", value_parser = bytes(), conflicts_with_all = ["from", "to"])]
    pub(crate) prefixes: Vec<Bytes>,
    /// Only keys from this one on
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) from: Option<Bytes>,
    /// Only keys before this one
    #[arg(long, value_name = "KEY", value_parser = bytes())]
    pub(crate) to: Option<Bytes>,
}

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sync {
    #[command(flatten)]
    pub(crate) pair: Pair,
    /// Say what would be moved, and move nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where entries go: to both sides, or, with push, only from A to B, with pull only from B to A
    #[arg(long, value_enum, default_value_t)]
    pub(crate) direction: Direction,
    /// Move at most so many deletions to a side, so that a replica that was emptied by mistake does not empty the other
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    pub(crate) max_delete: u64,
}

/// Where a repair moves entries, seen from the left replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Direction {
    #[default]
    Both,
    Push,
    Pull,
}

impl Direction {
    /// Seen from the right replica.
    pub(crate) fn turned(self) -> Direction {
        match self {
            Direction::Both => Direction::Both,
            Direction::Push => Direction::Pull,
            Direction::Pull => Direction::Push,
        }
    }
}

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Manual {
    /// Write all pages into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// Work in this folder, new or empty, and leave the replicas there [default: a temporary one]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

/// An argument taken as bytes, text or not.
#[derive(Debug, Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

fn bytes() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().map(|text: OsString| Bytes(text.into_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
