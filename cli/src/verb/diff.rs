//! `diff`: how two replicas differ, in numbers, by name or as a picture. Nothing is moved.

use std::path::Path;

use serde_json::{Map, Value, json};
use sync_proto::Difference;
use syncline::Db;
use syncline::replica::{DbReplica, KeyName, KeyNames};

use crate::address::Address;
use crate::args::Diff;
use crate::error::{Result, Verdict};
use crate::host;
use crate::output::{self, Output, count, key_text};
use crate::peer::{self, Mode, Report};
use crate::picture::{Differences, draw_differences, phrase};
use crate::store;

/// Keys that a picture asks for at most: so many take some 100 MB here.
const DRAWN_MAX: u32 = 1_000_000;

pub(super) fn run(args: &Diff, output: Output) -> Result<Verdict> {
    let names_max = if args.svg.is_some() { DRAWN_MAX.max(args.keys) } else { args.keys };
    let report = peer::session(&args.pair, Mode::compare(names_max))?;
    let local = match names_max {
        0 => None,
        _ => local(args).map(store::open_read_only).transpose()?,
    };
    let names = local.as_ref().map(|db| DbReplica::new(db).key_names()).transpose()?;
    if let (Some(file), Some(local), Some(names)) = (&args.svg, &local, &names) {
        host::replace(file, draw(args, &report, local, names)?.as_bytes())?;
    }
    let named = report.names.iter().take(args.keys as usize);
    let named: Vec<(Difference, KeyName<'_>)> =
        names.iter().flat_map(|names| named.clone().map(|(found, key)| (*found, names.name(key)))).collect();

    let equal = report.differing() == 0;
    let mut object = json!({
        "equal": equal, "only_left": report.only_left, "only_right": report.only_right,
        "newer_left": report.newer_left, "newer_right": report.newer_right, "ranges": report.ranges,
    });
    if args.keys > 0 {
        object["keys"] = named.iter().map(|(found, name)| key_json(*found, name)).collect();
        object["keys_left_out"] = report.differing().saturating_sub(named.len() as u64).into();
    }
    output.answer(
        &object,
        &[
            ("replicas", if equal { "equal".to_owned() } else { "different".to_owned() }),
            ("only left", count(report.only_left)),
            ("only right", count(report.only_right)),
            ("newer left", count(report.newer_left)),
            ("newer right", count(report.newer_right)),
            ("differing ranges", count(report.ranges)),
        ],
    )?;
    for (found, name) in &named {
        output.say(&format!("{:<11}  {}", phrase(*found), key_text(name)))?;
    }
    let unnamed = report.differing().saturating_sub(named.len() as u64);
    if args.keys > 0 && unnamed > 0 {
        output.say(&format!("and {} more; --keys says how many to name", count(unnamed)))?;
    }
    Ok(Verdict::of(equal))
}

/// The side that is a folder here; the left one if both are.
fn local(args: &Diff) -> Option<&Path> {
    [&args.pair.left, &args.pair.right].into_iter().find_map(|address| match address {
        Address::Directory(path) => Some(path.as_path()),
        _ => None,
    })
}

fn draw(args: &Diff, report: &Report, local: &Db, names: &KeyNames) -> Result<String> {
    let (left, right) = (args.pair.left.to_string(), args.pair.right.to_string());
    let is_left = matches!(args.pair.left, Address::Directory(_));
    let lacked = if is_left { Difference::OnlyRight } else { Difference::OnlyLeft };
    let cells = peer::cells(local, &args.pair.part, args.cells, &report.names, lacked)?;
    Ok(draw_differences(&Differences {
        left: &left,
        right: &right,
        cells: &cells,
        differing: [report.only_left, report.only_right, report.newer_left, report.newer_right],
        name: &|key| key_text(&names.name(key)),
    }))
}

fn key_json(found: Difference, name: &KeyName<'_>) -> Value {
    let mut object = Map::new();
    object.insert("difference".to_owned(), phrase(found).replace(' ', "_").into());
    if let KeyName::User { keyspace, key } = *name {
        object.insert("keyspace".to_owned(), json!(keyspace));
        output::insert_bytes(&mut object, "key", key);
    } else {
        object.insert("keyspaces".to_owned(), true.into());
    }
    Value::Object(object)
}
