//! What can go wrong in a verb, the word that scripts tell it by, and the exit code.
//!
//! Easy to get wrong: the message says what to do next, for it is all that a user sees; what the engine says is only
//! the first half of it.

use std::io;
use std::process::ExitCode;

use crate::table;

/// What verbs return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// How a verb ended that did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same, found, sound: exit code 0.
    Fine,
    /// Different, missing or damaged: exit code 1.
    Differs,
}

impl Verdict {
    /// `Fine` if `fine`.
    pub(crate) fn of(fine: bool) -> Verdict {
        if fine { Verdict::Fine } else { Verdict::Differs }
    }

    /// The process's exit code.
    pub(crate) fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Verdict::Fine => 0,
            Verdict::Differs => 1,
        })
    }
}

/// Why a verb could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A table could not be read; what was loaded before is said.
    #[error("{error}. {}", loaded(*.rows_loaded))]
    Table {
        /// What is wrong, with file and line.
        error: table::Error,
        /// Rows that are in the store by now.
        rows_loaded: u64,
    },
    /// The engine refused.
    #[error("{0}{hint}", hint = sentence(hint(.0)))]
    Store(#[from] syncline::Error),
    /// The other side of a session, or the way to it, failed.
    #[error("{peer}: {what}. {next}")]
    Peer {
        /// Who.
        peer: String,
        /// What happened.
        what: String,
        /// What to try.
        next: &'static str,
    },
    /// A certificate or key cannot be used.
    #[error("{0}. Make new ones with `syncline cert`")]
    Tls(#[from] sync_proto::tls::ConfigError),
    /// The operating system refused.
    #[error("{what}: {source}{hint}", hint = sentence(io_hint(.source)))]
    Io {
        /// What was being done to what.
        what: String,
        /// What it said.
        source: io::Error,
    },
    /// A promise of the demo did not hold.
    #[error("the demo failed: {0}")]
    Demo(String),
}

impl Error {
    /// Wraps what the operating system said about `what`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// The word for the kind of error in `--json` output. These words are kept from version to version.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Error::Usage(_) => "usage",
            Error::Table { error, .. } => match error.problem {
                table::Problem::KeyColumn { .. } | table::Problem::NoKeyField => "usage",
                table::Problem::Read(_) => "io",
                _ => "table",
            },
            Error::Store(error) => store_kind(error),
            Error::Peer { .. } => "peer",
            Error::Tls(_) => "tls",
            Error::Io { .. } => "io",
            Error::Demo(_) => "demo",
        }
    }

    /// The process's exit code: 1 damaged, 2 usage, 3 input, output or peer.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind() {
            "usage" => 2,
            "corruption" | "unknown" | "value_lost" | "stream" | "demo" => 1,
            _ => 3,
        })
    }

    /// What happened, and apart from it what to do next.
    pub(crate) fn parts(&self) -> (String, &'static str) {
        match self {
            Error::Store(error) => (error.to_string(), hint(error)),
            Error::Peer { peer, what, next } => (format!("{peer}: {what}"), next),
            Error::Io { what, source } => (format!("{what}: {source}"), io_hint(source)),
            error => (error.to_string(), ""),
        }
    }

    /// Whether standard output was closed by its reader, as `head` does: no error to a user.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }
}

fn loaded(rows: u64) -> String {
    match rows {
        0 => "Nothing was loaded".to_owned(),
        rows => format!("The {rows} rows before it are in the store; mend the table and load it again"),
    }
}

fn store_kind(error: &syncline::Error) -> &'static str {
    use syncline::Error as E;
    match error {
        E::Corruption { .. } => "corruption",
        E::Unknown { .. } => "unknown",
        E::ValueLost { .. } => "value_lost",
        E::Stream { .. } => "stream",
        E::Locked { .. } => "locked",
        E::NotFound { .. } => "not_found",
        E::Occupied { .. } => "occupied",
        E::UnsupportedVersion { .. } => "unsupported_version",
        E::UnsupportedCodec { .. } => "unsupported_codec",
        E::KeyTooLong { .. } | E::CommitTooLarge { .. } | E::InvalidArgument { .. } => "usage",
        E::Poisoned { .. } => "poisoned",
        E::ReadOnly => "read_only",
        E::Ambiguous { .. } => "ambiguous",
        E::Aborted => "aborted",
        E::TooOld { .. } => "too_old",
        _ => "io",
    }
}

/// What to do about an error of the engine.
fn hint(error: &syncline::Error) -> &'static str {
    use syncline::Error as E;
    match error {
        E::Corruption { .. } => {
            "Run `syncline verify` on it, and repair it from a replica with `syncline sync`"
        }
        E::Unknown { .. } | E::ValueLost { .. } => {
            "Heal it with `syncline sync` and a replica: its folder, or tls://host:port where it is served"
        }
        E::Locked { .. } => "End the process that has it open, or reach a served store as tls://host:port",
        E::NotFound { .. } => "Make one with `syncline init` or `syncline load`",
        E::Stream { .. } => "What came before is in the store; export again and import that",
        E::ReadOnly => "Open it for writing",
        E::Occupied { .. } => "Choose an empty or a new folder",
        E::UnsupportedVersion { .. } => "Use the syncline of that version",
        E::UnsupportedCodec { .. } => "Use a syncline that was built with that codec",
        E::Poisoned { .. } => "Look after the disk, then run the command again",
        E::TooOld { .. } => {
            "Read everything anew, and keep more of the log with `syncline init --retain-log`"
        }
        E::Io { .. } => "Check the path and its permissions",
        _ => "",
    }
}

/// What to do about an error of the operating system.
fn io_hint(error: &io::Error) -> &'static str {
    use io::ErrorKind as K;
    match error.kind() {
        K::NotFound => "Check the path",
        K::PermissionDenied => "Check its permissions",
        K::AlreadyExists => "Choose another name, or remove it",
        K::StorageFull | K::QuotaExceeded => "Make room, then run the command again",
        K::InvalidInput => "Write an address as host:port",
        K::AddrInUse => "Choose another port, or end what listens there",
        _ => "",
    }
}

fn sentence(next: &str) -> String {
    if next.is_empty() { String::new() } else { format!(". {next}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_store_has_a_kind_and_says_what_to_do_next() {
        let error = Error::from(syncline::Error::NotFound { path: "x".into() });
        assert_eq!(error.kind(), "not_found");
        assert_eq!(error.to_string(), "x holds no store. Make one with `syncline init` or `syncline load`");
    }
}
