//! `watch`: looks at a store, or compares two replicas, again and again, and keeps what it saw.
//!
//! Easy to get wrong: live replicas are hardly ever equal under load, so a look that finds a difference is no fault, and one
//! that fails is no end: the peer may be back at the next.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::Value;
use sync_proto::Difference;
use syncline::clock::{SystemClock, WallClock};
use syncline::replica::DbReplica;
use syncline::{Db, Stats};

use crate::address::Address;
use crate::args::{Pair, Part, Watch};
use crate::error::{Error, Result, Verdict};
use crate::host::{Interruption, NewFile};
use crate::output::{self, Output, count, size};
use crate::peer::{self, Mode};
use crate::picture::{Cells, KINDS, phrase};
use crate::recording::{Sample, Watched};
use crate::store;

/// Keys that are asked for at most in a look that is recorded.
const NAMED_MAX: u32 = 1_000_000;

pub(super) fn run(args: &Watch, output: Output) -> Result<Verdict> {
    let mut interruption = Interruption::await_any()?;
    let pair = args.right.as_ref().map(|right| Pair {
        left: args.left.clone(),
        right: right.clone(),
        part: Part::default(),
        link: args.link.clone(),
    });
    let mut watcher = Watcher { args, pair, cells: None, recording: None };
    let first_ms = SystemClock.now_ms();
    let mut looks = 0;
    loop {
        let at_ms = SystemClock.now_ms();
        let sample = match watcher.look(at_ms) {
            // What does not work at the first look is not asked for rightly.
            Err(error) if looks == 0 => return Err(error),
            Err(error) => Sample { at_ms, error: Some(error.to_string()), ..Sample::default() },
            Ok(sample) => sample,
        };
        looks += 1;
        watcher.write(&sample.json())?;
        tell(output, &sample, first_ms)?;
        let verdict = Verdict::of(sample.error.is_none() && sample.differing_in_all().unwrap_or(0) == 0);
        if args.count.is_some_and(|count| looks >= count) || interruption.came_within(args.every) {
            return Ok(verdict);
        }
    }
}

struct Watcher<'a> {
    args: &'a Watch,
    pair: Option<Pair>,
    /// How the key space was cut at the first look.
    cells: Option<Cells>,
    recording: Option<NewFile>,
}

impl Watcher<'_> {
    fn look(&mut self, at_ms: u64) -> Result<Sample> {
        let names_max = if self.args.record.is_some() { NAMED_MAX } else { 0 };
        let compare = |pair| peer::session(pair, Mode::compare(names_max));
        let report = self.pair.as_ref().map(compare).transpose()?;
        let local = local(self.args)?;
        let db = store::open_read_only(local)?;
        let mut sample = Sample { at_ms, stats: figures(&db.stats()?), ..Sample::default() };
        if let Some(report) = report {
            sample.differing =
                Some([report.only_left, report.only_right, report.newer_left, report.newer_right]);
            if names_max > 0 {
                let cells = match self.cells.take() {
                    Some(cells) => cells.recounted(&report.names),
                    None => {
                        let is_left = matches!(self.args.left, Address::Directory(_));
                        let lacked = if is_left { Difference::OnlyRight } else { Difference::OnlyLeft };
                        peer::cells(&db, &Part::default(), self.args.cells, &report.names, lacked)?
                    }
                };
                let numbers = cells.iter().map(|cell| cell.differing.iter().sum()).enumerate();
                sample.cells = numbers.filter(|&(_, number)| number > 0).collect();
                self.cells = Some(cells);
            }
        }
        if let (None, Some(file)) = (&self.recording, &self.args.record) {
            let recording = NewFile::create_new(file)?;
            self.recording = Some(recording);
            self.write(&self.watched(&db)?.json())?;
        }
        Ok(sample)
    }

    fn watched(&self, db: &Db) -> Result<Watched> {
        let names = DbReplica::new(db).key_names()?;
        // The first cell begins before every key.
        let starts = self.cells.iter().flat_map(Cells::iter).map(|cell| &cell.start[..]);
        let label = |start: &[u8]| match start {
            [] => "beginning".to_owned(),
            start => output::key_text(&names.name(start)),
        };
        Ok(Watched {
            left: self.args.left.to_string(),
            right: self.args.right.as_ref().map(Address::to_string),
            cells: starts.map(label).collect(),
        })
    }

    /// Adds a line to the recording, if there is one.
    fn write(&self, line: &Value) -> Result<()> {
        let Some(mut file) = self.recording.as_ref() else { return Ok(()) };
        file.write_all(format!("{line}\n").as_bytes()).map_err(Error::io("cannot write the recording"))
    }
}

/// The folder that is looked at: the left one if both are.
fn local(args: &Watch) -> Result<&Path> {
    match (&args.left, &args.right) {
        (Address::Directory(path), _) | (_, Some(Address::Directory(path))) => Ok(path),
        (remote, _) => {
            Err(Error::Usage(format!("{remote} is watched beside a replica here: name its folder as well")))
        }
    }
}

fn figures(stats: &Stats) -> BTreeMap<String, u64> {
    let figures = [
        ("entries", stats.entries),
        ("tombstones", stats.tombstones),
        ("live_bytes", stats.live_bytes),
        ("run_bytes", stats.run_bytes),
        ("value_segment_bytes", stats.value_segment_bytes),
        ("log_bytes", stats.log_bytes),
        ("garbage_bytes", stats.garbage_bytes()),
        ("memtable_bytes", stats.memtable_bytes),
    ];
    figures.map(|(name, number)| (name.to_owned(), number)).into()
}

fn tell(output: Output, sample: &Sample, first_ms: u64) -> Result<()> {
    if output.is_json() {
        return output::print(format!("{}\n", sample.json()).as_bytes());
    }
    let seconds = sample.at_ms.saturating_sub(first_ms) / 1000;
    let figure = |name| sample.stats.get(name).copied().unwrap_or(0);
    let what = match (&sample.error, sample.differing) {
        (Some(error), _) => error.clone(),
        (_, Some([0, 0, 0, 0])) => "equal".to_owned(),
        (_, Some(differing)) => {
            let parts = KINDS.into_iter().zip(differing).filter(|&(_, number)| number > 0);
            parts
                .map(|(kind, number)| format!("{} {}", count(number), phrase(kind)))
                .collect::<Vec<_>>()
                .join(", ")
        }
        _ => {
            let garbage = size(figure("garbage_bytes"));
            format!("{} entries, {}, garbage {garbage}", count(figure("entries")), size(figure("live_bytes")))
        }
    };
    output.say(&format!("{seconds:>6} s  {what}"))
}
