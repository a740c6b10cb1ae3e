//! The `syncline` command. Everything is in the modules; this only joins arguments, verb, output and exit code.

#![forbid(unsafe_code)]

mod address;
mod args;
mod error;
mod host;
mod output;
mod progress;
mod table;

fn main() {}
