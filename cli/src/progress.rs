//! The progress bar of long work: on standard error, and only if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is there only on a terminal, and gone when the work is done.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar for `len` bytes of work, called `what`.
    pub(crate) fn bytes(what: &str, len: u64) -> Progress {
        Progress::new(what, len, "{msg}  {wide_bar}  {bytes} of {total_bytes}, {eta} left")
    }

    /// A bar for `len` things to do, called `what`.
    pub(crate) fn things(what: &str, len: u64) -> Progress {
        Progress::new(what, len, "{msg}  {wide_bar}  {pos} of {len}, {eta} left")
    }

    fn new(what: &str, len: u64, template: &str) -> Progress {
        // The bar's default target is a terminal at standard error, or nothing.
        let bar = ProgressBar::new(len);
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_message(what.to_owned());
        Progress(bar)
    }

    /// Moves the bar.
    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// Moves the bar of work whose length is known only now, and may still grow.
    pub(crate) fn set_of(&self, done: u64, len: u64) {
        self.0.set_length(len.max(done));
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
