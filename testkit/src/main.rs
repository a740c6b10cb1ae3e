//! The command `testkit`: runs rows of the fault table for as long as it is told, and prints a line for each.
//!
//! `testkit faults [--row F2] [--seconds N | --states N] [--seed S | --from-seed S] [--json]`: exits with 1 if anything failed, with 2 if it
//! does not understand its arguments. `testkit rows`: their names. `testkit planted`: looks for each planted bug, and exits with 1 if one
//! is not caught. `testkit skipped`: which rows cannot run here, or only in part, and why, for a passing test says nothing.
#![allow(clippy::disallowed_methods, reason = "a command reads the clock to know when to stop")]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use testkit::Run;
use testkit::planted;
use testkit::rows::{self, ROWS, Row};

const USAGE: &str =
    "usage: testkit faults [--row F2] [--seconds N | --states N] [--seed S | --from-seed S] [--json]
       testkit rows
       testkit planted [NAME]
       testkit skipped
       testkit golden FOLDER";

/// How much of each row is run, and how it is told.
#[derive(Debug, Default)]
struct Arguments {
    row: Option<String>,
    seconds: Option<u64>,
    states: Option<u64>,
    seed: Option<u64>,
    from_seed: Option<u64>,
    json: bool,
}

impl Arguments {
    fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("{text} is not a number"));
            match word.as_str() {
                "--row" => arguments.row = Some(value()?),
                "--seconds" => arguments.seconds = Some(number(value()?)?),
                "--states" => arguments.states = Some(number(value()?)?),
                "--from-seed" => arguments.from_seed = Some(number(value()?)?),
                "--seed" => arguments.seed = Some(number(value()?)?),
                "--json" => arguments.json = true,
                _ => return Err(format!("{word} is not understood")),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let outcome = match words.next().as_deref() {
        Some("faults") => Arguments::parse(words).and_then(|arguments| faults(&arguments)),
        Some("rows") => {
            ROWS.iter().for_each(|row| println!("{}", row.name));
            Ok(true)
        }
        Some("child") => child(&words.collect::<Vec<_>>()),
        Some("skipped") => {
            show_skipped();
            Ok(true)
        }
        Some("golden") => golden(words.next()),
        Some("planted") => Ok(look_for_planted(&words.next().unwrap_or_default())),
        _ => Err("no such command".to_owned()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(what) => {
            eprintln!("{what}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs the rows; whether nothing failed.
fn faults(arguments: &Arguments) -> Result<bool, String> {
    let rows = match &arguments.row {
        Some(name) => vec![rows::find(name).ok_or(format!("there is no row {name}"))?],
        None => ROWS.iter().collect(),
    };
    let failures: usize = rows.into_iter().map(|row| show(row, arguments)).sum();
    Ok(failures == 0)
}

/// What a row starts this program for as a child.
fn child(words: &[String]) -> Result<bool, String> {
    let number = |text: &String| text.parse().map_err(|_| format!("{text} is not a number"));
    match words {
        [verb, dir, seed, abort_at] if verb == "write" => {
            rows::kill::child(Path::new(dir), number(seed)?, number(abort_at)?).map(|()| true)
        }
        [verb, dir] if verb == "open" => {
            println!("{}", rows::opening::child(Path::new(dir)));
            Ok(true)
        }
        [verb, seed] if verb == "lengths" => {
            let (tried, refused) = rows::lengths::child(number(seed)?)?;
            println!("{tried} {refused}");
            Ok(true)
        }
        [verb, seed] if verb == "messages" => {
            rows::hostile::child(number(seed)?);
            Ok(true)
        }
        _ => Err("no such child".to_owned()),
    }
}

/// Makes the golden files of the present format version.
fn golden(dir: Option<String>) -> Result<bool, String> {
    let dir = dir.ok_or("golden needs a folder")?;
    rows::opening::make_golden(Path::new(&dir)).map(|()| true).map_err(|error| error.to_string())
}

/// Looks for every planted bug whose name has `wanted` in it; whether all were caught.
fn look_for_planted(wanted: &str) -> bool {
    // Bugs make stores panic, and that is a way of being caught: no need for it to be heard.
    std::panic::set_hook(Box::new(|_| ()));
    let mut all_caught = true;
    for planted in planted::all().filter(|planted| planted.name.contains(wanted)) {
        for caught in planted.look() {
            let by = caught.by.as_deref().unwrap_or("NOT CAUGHT");
            all_caught &= caught.by.is_some();
            println!("{:<56} {:<4} {:>7} states  {by}", planted.name, caught.row, caught.states);
        }
    }
    all_caught
}

/// Prints which rows cannot run on this machine.
fn show_skipped() {
    let mut count = 0;
    for row in ROWS {
        let mut run = Run::new(row.name, &|runs| runs < 1).with_child(std::env::current_exe().ok());
        (row.run)(&mut run);
        if let Some(reason) = &run.skipped {
            println!("{} SKIPPED: {reason}", row.name);
            count += 1;
        }
    }
    println!("{count} of {} rows skipped, wholly or in part", ROWS.len());
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|letter| match letter {
        '"' | '\\' => format!("\\{letter}"),
        letter if letter.is_control() => " ".to_owned(),
        letter => letter.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// Runs one row and prints its line; how often it failed.
fn show(row: &Row, arguments: &Arguments) -> usize {
    let begun = Instant::now();
    let seconds = arguments.seconds.unwrap_or(if arguments.states.is_some() { u64::MAX } else { 5 });
    let states = arguments.states.unwrap_or(u64::MAX);
    let goes_on = |runs| runs < states && begun.elapsed() < Duration::from_secs(seconds);
    let mut run = Run::new(row.name, &goes_on).with_child(std::env::current_exe().ok());
    if let Some(seed) = arguments.from_seed {
        run = run.from_seed(seed);
    }
    if let Some(seed) = arguments.seed {
        run = run.of_seed(seed);
    }
    (row.run)(&mut run);
    let (failures, seconds) = (run.failures.len(), begun.elapsed().as_secs_f64());
    let Row { name, what, .. } = row;
    if arguments.json {
        let skipped = run.skipped.as_deref().map_or("null".to_owned(), quoted);
        println!(
            r#"{{"row":"{name}","what":"{what}","runs":{},"failures":{failures},"skipped":{skipped},"seconds":{seconds:.1}}}"#,
            run.runs
        );
    } else {
        println!("{name:<4} {what:<60} {:>10} runs {failures:>3} failures {seconds:>7.1} s", run.runs);
        for (branch, count) in run.reached() {
            println!("       {count:>10}  {branch}");
        }
    }
    if let Some(reason) = &run.skipped {
        eprintln!("{name} was SKIPPED: {reason}");
    }
    run.failures.iter().for_each(|failure| eprintln!("{failure}"));
    failures
}
