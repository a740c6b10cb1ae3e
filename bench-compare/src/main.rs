//! `bench-compare`: the same workloads on Syncline and on other embedded engines, side by side. See the README.

mod child;
mod data;
mod engine;
mod measure;
mod parent;
mod row;
mod table;
mod workload;

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::child::{Job, Stage};
use crate::engine::{Engine, Fjall, Heed, Redb, Syncline};
use crate::parent::Plan;
use crate::row::Row;

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
        Command::Child { job } => {
            let job: Job = serde_json::from_str(&job)?;
            run_child(&job)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_engines(arguments: Engines) -> Result<ExitCode> {
    let root = tempfile::Builder::new().prefix("bench-compare-").tempdir_in(match &arguments.dir {
        Some(dir) => dir.clone(),
        None => std::env::temp_dir(),
    })?;
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
