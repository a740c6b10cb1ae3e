//! Which format a table has, told by its file name.

use std::path::Path;

/// A format of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Fields between tabs, no quoting, first line names the columns.
    Tsv,
    /// Fields between commas, quoted as RFC 4180 has it, first line names the columns.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// The format that the name of `file` tells, a closing `.gz` aside.
    pub(crate) fn of_name(file: &Path) -> Option<Format> {
        let name = file.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "tsv" => Some(Format::Tsv),
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_tells_the_format_with_and_without_gz() {
        for (name, format) in [
            ("a.tsv", Some(Format::Tsv)),
            ("dir.csv/a.TSV.GZ", Some(Format::Tsv)),
            ("a.b.csv", Some(Format::Csv)),
            ("a.ndjson.gz", Some(Format::Jsonl)),
            ("a.gz", None),
            ("tsv", None),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), format, "{name}");
        }
    }
}
