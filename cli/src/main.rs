//! The `syncline` command. Everything is in the modules; this only joins arguments, verb, output and exit code.

#![forbid(unsafe_code)]

mod address;
mod args;
mod diagnosis;
mod error;
mod host;
mod output;
mod peer;
mod picture;
mod progress;
mod recording;
mod store;
mod table;
mod units;
mod verb;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Args;
use crate::output::Output;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse(&error),
    };
    let output = Output::new(args.json);
    match verb::run(&args.verb, output) {
        Ok(verdict) => verdict.exit_code(),
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error.to_string(), error.kind());
            error.exit_code()
        }
    }
}

/// Tells what is wrong with the command line, in JSON if that was asked for, or prints the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && json {
        let text = error.to_string();
        Output::new(true).error(text.trim().trim_start_matches("error: "), "usage");
    } else {
        // Nobody is left to be told if the stream is closed.
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
