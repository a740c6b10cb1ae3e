//! `bench-compare`: the same workloads on Syncline and on other embedded engines, side by side, and repairs by Syncline and by
//! other protocols. See the README.

mod bulk;
mod child;
mod data;
mod engine;
mod foreground;
mod index;
mod measure;
mod parent;
mod plot;
mod row;
mod steady;
mod sync;
mod table;
mod workload;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use tempfile::TempDir;

use crate::child::{Job, Stage};
use crate::engine::{Engine, Fjall, Heed, Redb, Syncline};
use crate::parent::Plan;
use crate::row::Row;
use crate::steady::{Load, Second};
use crate::sync::{Shape, SyncRow};

/// Any engine's error; a benchmark only reports them.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Debug, Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run workloads on engines.
    Engines(Engines),
    /// Make a table of the lines that `engines --json` has printed.
    Table {
        /// The file of lines.
        file: PathBuf,
    },
    /// Overwrite a loaded store for minutes, and tell of every second.
    Steady(Steady),
    /// What Syncline's Merkle index takes and gives.
    Index(Index),
    /// What repairs cost, by Syncline and by other protocols.
    Sync(Repairs),
    /// What a repair costs those who use a store meanwhile.
    Foreground(Foreground),
    /// How fast an empty replica takes everything from a full one, beside a local bulk ingest.
    Bulk(Bulk),
    /// What `engines` starts; not for people.
    #[command(hide = true)]
    Child {
        /// A job as JSON.
        job: String,
    },
}

#[derive(Debug, Args)]
struct Engines {
    /// Engines to compare.
    #[arg(long, value_delimiter = ',', default_value = "syncline,fjall,redb,heed")]
    #[arg(value_parser = PossibleValuesParser::new(engine::NAMES))]
    engines: Vec<String>,
    /// Some workloads instead of all.
    #[arg(long, value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(workload::ALL.map(|row| row.0)))]
    workloads: Vec<String>,
    /// Entries of a store.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    entries: u64,
    /// Operations of the workloads that read, overwrite or mix. Default: as many as entries.
    #[arg(long)]
    ops: Option<u64>,
    /// Bytes of a value; everything is run for each.
    #[arg(long, value_delimiter = ',', default_value = "100", value_parser = clap::value_parser!(u32).range(16..))]
    values: Vec<u32>,
    /// How often everything is run.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where stores are made. Default: a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of keys, values and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// LZ4 in the engines that offer compression.
    #[arg(long)]
    compress: bool,
    /// Print a line of JSON for each engine, workload and round.
    #[arg(long)]
    json: bool,
    /// Print a table at the end; also if `--json` is not given.
    #[arg(long)]
    table: bool,
}

#[derive(Debug, Args)]
struct Foreground {
    /// Entries of each store.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    entries: u64,
    /// Keys in which the replicas differ when a session begins.
    #[arg(long, default_value_t = 10_000)]
    differing: u64,
    /// Operations of the foreground in a second: half reads, half overwrites.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Sessions, each with as much time without one.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    windows: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(16..))]
    value: u32,
    /// Where the stores are made. Default: a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of keys and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Bulk {
    /// Entries that are loaded.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    entries: u64,
    /// How often, either way.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(16..))]
    value: u32,
    /// Where the stores are made. Default: a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Index {
    /// Entries of the store.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2..))]
    entries: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(16..))]
    value: u32,
    /// Where the store is made. Default: a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of keys and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Args)]
struct Steady {
    /// The engine.
    #[arg(long, default_value = "syncline", value_parser = PossibleValuesParser::new(engine::NAMES))]
    engine: String,
    /// Entries of the store.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    entries: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(16..))]
    value: u32,
    /// How long.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Overwrites per second. Default: as many as there can be.
    #[arg(long)]
    rate: Option<u64>,
    /// Where the store is made. Default: a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of keys and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw the seconds into this file.
    #[arg(long)]
    svg: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Repairs {
    /// Protocols to compare.
    #[arg(long, value_delimiter = ',', default_value = "syncline,negentropy,rbsr")]
    #[arg(value_parser = PossibleValuesParser::new(sync::NAMES))]
    peers: Vec<String>,
    /// Entries of the side that is behind; everything is run for each.
    #[arg(long, value_delimiter = ',', default_value = "100000,1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    entries: Vec<u64>,
    /// How many keys differ, half of them missing and half stale.
    #[arg(long, value_delimiter = ',', default_value = "0,1,100,1000,10000,100000")]
    differing: Vec<u64>,
    /// Where they lie: scattered (U), in runs of a hundred (C), the newest of keys in order of time (T).
    #[arg(long, value_delimiter = ',', default_value = "U,C,T")]
    shapes: Vec<Shape>,
    /// Where stores are made. Default: a temporary folder.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of keys, values and choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a line of JSON for each repair.
    #[arg(long)]
    json: bool,
    /// Print tables at the end; also if `--json` is not given.
    #[arg(long)]
    table: bool,
}

fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Engines(arguments) => run_engines(arguments),
        Command::Table { file } => {
            let lines = BufReader::new(std::fs::File::open(file)?).lines();
            // Lines that are no rows are comments or a table printed behind the rows.
            let rows: Vec<Row> = lines
                .map_while(|line| line.ok())
                .filter_map(|line| serde_json::from_str(&line).ok())
                .collect();
            println!("{}", table::render(&rows));
            Ok(ExitCode::SUCCESS)
        }
        Command::Steady(arguments) => run_steady(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Index(Index { entries, value, dir, seed }) => {
            let root = folder(dir.as_deref())?;
            let report = index::run(root.path(), entries, value as usize, seed)?;
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Sync(arguments) => run_sync(arguments).map(|()| ExitCode::SUCCESS),
        Command::Foreground(Foreground { entries, differing, rate, windows, value, dir, seed }) => {
            let root = folder(dir.as_deref())?;
            let value_bytes = value as usize;
            let plan = foreground::Plan { entries, differing, rate, windows, value_bytes, seed };
            let report = foreground::run(root.path(), &plan)?;
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Bulk(Bulk { entries, rounds, value, dir, seed }) => {
            let root = folder(dir.as_deref())?;
            let plan = bulk::Plan { entries, rounds, value_bytes: value as usize, seed };
            let report = bulk::run(root.path(), &plan)?;
            println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Child { job } => {
            let job: Job = serde_json::from_str(&job)?;
            run_child(&job)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_engines(arguments: Engines) -> Result<ExitCode> {
    let root = folder(arguments.dir.as_deref())?;
    let filesystem = parent::filesystem(root.path())?;
    eprintln!("stores are made in {} on {filesystem}", root.path().display());
    if filesystem == "tmpfs" {
        eprintln!("warning: this is memory, not a disk: durable figures and write stalls mean nothing");
    }
    let plan = Plan {
        engines: arguments.engines,
        workloads: arguments.workloads,
        values: arguments.values.into_iter().map(|len| len as usize).collect(),
        rounds: arguments.rounds,
        common: Job {
            engine: String::new(),
            dir: root.path().to_owned(),
            filesystem,
            stage: Stage::Whole,
            workloads: Vec::new(),
            entries: arguments.entries,
            ops: arguments.ops.unwrap_or(arguments.entries),
            value_bytes: 0,
            seed: arguments.seed,
            compress: arguments.compress,
            round: 0,
        },
    };
    let mut rows = Vec::new();
    let is_good = plan.run(|row| {
        if arguments.json {
            println!("{}", serde_json::to_string(&row).expect("a row is plain data"));
        }
        rows.push(row);
    });
    if arguments.table || !arguments.json {
        println!("{}", table::render(&rows));
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A new folder for stores, in `dir` or the system's place for temporary ones.
fn folder(dir: Option<&Path>) -> Result<TempDir> {
    let dir = dir.map_or_else(std::env::temp_dir, Path::to_owned);
    Ok(tempfile::Builder::new().prefix("bench-compare-").tempdir_in(dir)?)
}

fn run_steady(arguments: &Steady) -> Result<()> {
    let root = folder(arguments.dir.as_deref())?;
    let &Steady { entries, value, seconds, rate, seed, .. } = arguments;
    let load = Load { entries, value_bytes: value as usize, seconds, rate, seed };
    let mut all = Vec::new();
    let each = |second: Second| {
        println!("{}", serde_json::to_string(&second).expect("a second is plain data"));
        all.push(second);
    };
    match arguments.engine.as_str() {
        Syncline::NAME => steady::run::<Syncline>(root.path(), &load, each),
        Fjall::NAME => steady::run::<Fjall>(root.path(), &load, each),
        Redb::NAME => steady::run::<Redb>(root.path(), &load, each),
        Heed::NAME => steady::run::<Heed>(root.path(), &load, each),
        #[cfg(feature = "rocksdb")]
        engine::RocksDb::NAME => steady::run::<engine::RocksDb>(root.path(), &load, each),
        other => Err(format!("this build has no engine {other}").into()),
    }?;
    if let Some(svg) = &arguments.svg {
        let title = format!("{}: random overwrites of {entries} entries of {value} bytes", arguments.engine);
        std::fs::write(svg, plot::draw(&title, &all))?;
    }
    Ok(())
}

fn run_sync(arguments: Repairs) -> Result<()> {
    let root = folder(arguments.dir.as_deref())?;
    let Repairs { peers, entries, differing, shapes, seed, json, table, .. } = arguments;
    let plan = sync::Plan { peers, entries, differing, shapes, seed };
    let mut rows: Vec<SyncRow> = Vec::new();
    plan.run(root.path(), |row| {
        if json {
            println!("{}", serde_json::to_string(&row).expect("a row is plain data"));
        }
        rows.push(row);
    })?;
    if table || !json {
        println!("{}", sync::render(&rows));
    }
    Ok(())
}

fn run_child(job: &Job) -> Result<()> {
    match job.engine.as_str() {
        Syncline::NAME => child::run::<Syncline>(job),
        Fjall::NAME => child::run::<Fjall>(job),
        Redb::NAME => child::run::<Redb>(job),
        Heed::NAME => child::run::<Heed>(job),
        #[cfg(feature = "rocksdb")]
        engine::RocksDb::NAME => child::run::<engine::RocksDb>(job),
        other => Err(format!("this build has no engine {other}").into()),
    }
}
