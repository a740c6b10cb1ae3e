//! The verbs, a file each. A verb takes its arguments and the output, and returns whether all was as asked for.

mod cert;
mod changes;
mod checkpoint;
mod compact;
mod completions;
mod del;
mod demo;
mod diff;
mod digest;
mod doctor;
mod export;
mod get;
mod horizon;
mod import;
mod init;
mod load;
mod plot;
mod put;
mod scan;
mod scrub;
mod serve;
mod stats;
mod sync;
mod verify;
mod watch;

use crate::args::Verb;
use crate::error::{Result, Verdict};
use crate::output::Output;

/// Does what `verb` says.
pub(crate) fn run(verb: &Verb, output: Output) -> Result<Verdict> {
    match verb {
        Verb::Init(args) => init::run(args, output),
        Verb::Load(args) => load::run(args, output),
        Verb::Get(args) => get::run(args, output),
        Verb::Put(args) => put::run(args, output),
        Verb::Del(args) => del::run(args, output),
        Verb::Scan(args) => scan::run(args, output),
        Verb::Changes(args) => changes::run(args, output),
        Verb::Stats(args) => stats::run(args, output),
        Verb::Digest(args) => digest::run(args, output),
        Verb::Verify(args) => verify::run(args, output),
        Verb::Checkpoint(args) => checkpoint::run(args, output),
        Verb::Horizon(args) => horizon::run(args, output),
        Verb::Compact(args) => compact::run(args, output),
        Verb::Scrub(args) => scrub::run(args, output),
        Verb::Export(args) => export::run(args, output),
        Verb::Import(args) => import::run(args, output),
        Verb::Serve(args) => serve::run(args, output),
        Verb::Cert(args) => cert::run(args, output),
        Verb::Diff(args) => diff::run(args, output),
        Verb::Sync(args) => sync::run(args, output),
        Verb::Doctor(args) => doctor::run(args, output),
        Verb::Watch(args) => watch::run(args, output),
        Verb::Plot(args) => plot::run(args, output),
        Verb::Completions(args) => completions::completions(args, output),
        Verb::Man(args) => completions::manual(args, output),
        Verb::Demo(args) => demo::run(args, output),
        Verb::DemoWriter(args) => demo::writer::run(args),
    }
}
