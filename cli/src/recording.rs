//! What `watch --record` writes and `plot` reads: a line that says what is watched, then a line for each look, all JSON.
//!
//! Easy to get wrong: a recording that is still being written ends in half a line, and one of a newer version has more in its
//! lines than is known here: the first is left out, the second is skipped over.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The version in the first line.
const VERSION: u64 = 1;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    /// What the left store is called.
    pub(crate) left: String,
    /// What the right one is called, if there are two.
    pub(crate) right: Option<String>,
    /// The keys that the cells of the key space begin at, as people see them; none if there is one store.
    pub(crate) cells: Vec<String>,
}

/// One look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sample {
    /// When, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Keys that only the left one has, only the right one has, and of which the left and the right one has the newer entry.
    pub(crate) differing: Option<[u64; 4]>,
    /// Differing keys by the number of their cell; of the named ones only, and none where none differs.
    pub(crate) cells: BTreeMap<usize, u64>,
    /// Figures of the store here by their names in `stats --json`.
    pub(crate) stats: BTreeMap<String, u64>,
    /// Why there are no figures.
    pub(crate) error: Option<String>,
}

/// A file of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recording {
    pub(crate) watched: Watched,
    /// In order of time.
    pub(crate) samples: Vec<Sample>,
}

impl Watched {
    /// The first line.
    pub(crate) fn json(&self) -> Value {
        json!({ "recording": VERSION, "left": self.left, "right": self.right, "cells": self.cells })
    }
}

impl Sample {
    /// Differing keys altogether, if they were compared.
    pub(crate) fn differing_in_all(&self) -> Option<u64> {
        self.differing.map(|differing| differing.into_iter().fold(0, u64::saturating_add))
    }

    /// A line.
    pub(crate) fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("at_ms".to_owned(), self.at_ms.into());
        if let Some([only_left, only_right, newer_left, newer_right]) = self.differing {
            for (name, number) in [
                ("only_left", only_left),
                ("only_right", only_right),
                ("newer_left", newer_left),
                ("newer_right", newer_right),
            ] {
                object.insert(name.to_owned(), number.into());
            }
            let cells = self.cells.iter().map(|(cell, number)| (cell.to_string(), (*number).into()));
            object.insert("cells".to_owned(), Value::Object(cells.collect()));
        }
        if !self.stats.is_empty() {
            object.insert("stats".to_owned(), json!(self.stats));
        }
        if let Some(error) = &self.error {
            object.insert("error".to_owned(), error.as_str().into());
        }
        Value::Object(object)
    }

    fn parse(line: &Value) -> Option<Sample> {
        let number = |name: &str| line.get(name)?.as_u64();
        let differing = || {
            Some([number("only_left")?, number("only_right")?, number("newer_left")?, number("newer_right")?])
        };
        let entries = |name: &str| line.get(name).and_then(Value::as_object).into_iter().flatten();
        let cells =
            entries("cells").filter_map(|(cell, number)| Some((cell.parse().ok()?, number.as_u64()?)));
        let stats = entries("stats").filter_map(|(name, number)| Some((name.clone(), number.as_u64()?)));
        Some(Sample {
            at_ms: number("at_ms")?,
            differing: differing(),
            cells: cells.collect(),
            stats: stats.collect(),
            error: line.get("error").and_then(Value::as_str).map(str::to_owned),
        })
    }
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    /// A sentence on what is wrong with the text, with the number of the line.
    pub(crate) fn parse(text: &str) -> Result<Recording, String> {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let line: Value = serde_json::from_str(first).map_err(|_| "line 1 is not JSON".to_owned())?;
        match line.get("recording").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(version) => {
                return Err(format!("it is of version {version}, and this command reads {VERSION}"));
            }
            None => return Err("line 1 does not say what was watched".to_owned()),
        }
        let text_of = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let cells = line.get("cells").and_then(Value::as_array).into_iter().flatten();
        let watched = Watched {
            left: text_of("left").unwrap_or_default(),
            right: text_of("right"),
            cells: cells.filter_map(Value::as_str).map(str::to_owned).collect(),
        };
        let mut samples = Vec::new();
        for (number, line) in (2..).zip(rest.split_inclusive('\n')) {
            // The last line may be still on its way.
            if !line.ends_with('\n') {
                break;
            }
            let parsed: Option<Value> = serde_json::from_str(line).ok();
            let sample = parsed.as_ref().and_then(Sample::parse);
            samples.push(sample.ok_or_else(|| format!("line {number} is no look at a store"))?);
        }
        samples.sort_by_key(|sample| sample.at_ms);
        Ok(Recording { watched, samples })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_again_but_for_half_a_line() {
        let watched =
            Watched { left: "a".to_owned(), right: Some("b".to_owned()), cells: vec!["\"k".to_owned()] };
        let compared = Sample {
            at_ms: 1,
            differing: Some([1, 2, 3, 4]),
            cells: BTreeMap::from([(0, 10)]),
            stats: BTreeMap::from([("entries".to_owned(), 7)]),
            error: None,
        };
        let failed = Sample { at_ms: 2, error: Some("gone".to_owned()), ..Sample::default() };
        let text = format!("{}\n{}\n{}\n", watched.json(), compared.json(), failed.json());
        let recording = Recording { watched, samples: vec![compared.clone(), failed] };
        assert_eq!(Recording::parse(&text), Ok(recording.clone()));
        assert_eq!(Recording::parse(&format!("{text}{{\"at_ms")), Ok(recording));
        assert_eq!(compared.differing_in_all(), Some(10));
        for (wrong, why) in [
            ("", "line 1 is not JSON"),
            ("{}\n", "line 1 does not say what was watched"),
            ("{\"recording\":2}\n", "it is of version 2, and this command reads 1"),
            ("{\"recording\":1}\n{\"at_ms\":-1}\n", "line 2 is no look at a store"),
        ] {
            assert_eq!(Recording::parse(wrong), Err(why.to_owned()), "{wrong}");
        }
    }
}
