//! The text format of Prometheus, version 0.0.4: families of samples with a line of help and one of type before each.

use std::fmt::Write as _;

/// A value and its labels.
#[derive(Debug)]
pub(super) struct Sample {
    labels: String,
    value: u64,
}

impl Sample {
    /// A value without labels.
    pub(super) fn plain(value: u64) -> Sample {
        Sample { labels: String::new(), value }
    }

    /// A value with labels.
    pub(super) fn of(labels: &[(&str, &str)], value: u64) -> Sample {
        let labels = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value)));
        Sample { labels: format!("{{{}}}", labels.collect::<Vec<_>>().join(",")), value }
    }
}

/// Families of samples. One without samples is left out.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// A value that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, samples: &[Sample]) {
        self.family(name, "gauge", help, samples);
    }

    /// A value that goes up until a restart; its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, samples: &[Sample]) {
        self.family(name, "counter", help, samples);
    }

    fn family(&mut self, name: &str, kind: &str, help: &str, samples: &[Sample]) {
        if samples.is_empty() {
            return;
        }
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for Sample { labels, value } in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_type_and_escaped_labels() {
        let mut text = Text::default();
        text.counter("a_total", "Some.", &[Sample::of(&[("x", "q\"\\\n"), ("y", "z")], 7)]);
        text.gauge("b", "None.", &[]);
        let expected =
            "# HELP a_total Some.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"z\"} 7\n";
        assert_eq!(text.finish(), expected);
    }
}
