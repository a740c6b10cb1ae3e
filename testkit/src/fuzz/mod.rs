//! Bodies of the fuzz targets. One function is a target of `cargo fuzz` (`fuzz/`), the replay of a corpus in `cargo test`, and
//! what the seeded mutator runs there and in rows F14 and F19.
//!
//! `files` tampers with a store and opens it, `work` takes the input for operations, `wire` for what a peer sends. `mutate` is
//! the mutator.
//!
//! Easy to get wrong: a body panics when something is wrong and returns otherwise, whatever the input; an input that makes no
//! sense is not an error.

mod files;
mod mutate;
mod wire;
mod work;

pub use mutate::mutate;

/// Something to be fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of the cargo-fuzz target and of its corpus.
    pub name: &'static str,
    /// Panics if something is wrong.
    pub body: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "recover", body: files::recover },
    Target { name: "recover_crc_fixup", body: files::recover_crc_fixup },
    Target { name: "recover_mutate", body: files::recover_mutate },
    Target { name: "run_file", body: files::run_file },
    Target { name: "manifest", body: files::manifest },
    Target { name: "ops", body: work::ops },
    Target { name: "ops_crash", body: work::ops_crash },
    Target { name: "frame", body: wire::frame },
    Target { name: "session", body: wire::session },
    Target { name: "two_peers", body: wire::two_peers },
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or something is wrong.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    (target.body)(data);
}
