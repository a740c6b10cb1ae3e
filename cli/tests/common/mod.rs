//! Runs the built `syncline` on folders of its own, and says what came of it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, dead_code)] // Tests make the tables that they load.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder for one test, with short names for what is in it.
pub(crate) struct Folder(TempDir);

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file is written");
        path
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(name)).expect("a file is read")
    }

    /// The only file of this kind in store `name`, by its path in this folder.
    pub(crate) fn file_of(&self, name: &str, extension: &str) -> String {
        let files = std::fs::read_dir(self.0.path().join(name)).expect("a store's folder");
        let names = files.map(|file| file.expect("a file").file_name().into_string().expect("text"));
        let mut names = names.filter(|name| name.ends_with(&format!(".{extension}")));
        let file = names.next().expect("the store has one");
        assert_eq!(names.next(), None, "the store has but one");
        format!("{name}/{file}")
    }

    /// Turns the bytes of the first entries in the only run of store `name`.
    pub(crate) fn damage_run(&self, name: &str) {
        let run = self.file_of(name, "run");
        let mut bytes = self.read(&run);
        bytes.iter_mut().skip(64).take(64).for_each(|byte| *byte = !*byte);
        self.write(&run, &bytes);
    }

    /// Runs the command in this folder, its arguments given as one line.
    pub(crate) fn run(&self, line: &str) -> Run {
        self.run_args(&line.split_whitespace().collect::<Vec<_>>())
    }

    pub(crate) fn run_args(&self, args: &[&str]) -> Run {
        let output = self.command().args(args).output().expect("the command runs");
        let text = |bytes| String::from_utf8(bytes).expect("the command prints text");
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs the command, which has to end with exit code `code`, and returns its JSON object.
    pub(crate) fn json(&self, line: &str, code: i32) -> Value {
        let run = self.run(&format!("{line} --json"));
        assert_eq!(run.code, Some(code), "{line}: {run:?}");
        let text = if run.stdout.is_empty() { &run.stderr } else { &run.stdout };
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{line}: {error}: {run:?}"))
    }

    /// Runs the command, which has to end with exit code 0, and returns what it printed.
    pub(crate) fn text(&self, line: &str) -> String {
        let run = self.run(line);
        assert_eq!(run.code, Some(0), "{line}: {run:?}");
        run.stdout
    }

    /// Starts the command and leaves it running.
    pub(crate) fn start(&self, line: &str) -> Running {
        let mut child = self.command();
        child.args(line.split_whitespace()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().expect("the command starts");
        let stdout = child.stdout.take().map(BufReader::new);
        Running { child, stdout }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
        command.current_dir(self.0.path()).env_remove("COLUMNS");
        command
    }
}

/// A running command; killed if the test fails.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("not closed");
        stdout.read_line(&mut line).expect("the command prints a line");
        line
    }

    /// Gives it `text` on standard input.
    pub(crate) fn say(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("the command listens");
    }

    /// Closes the pipe that it prints to, and waits for its end.
    pub(crate) fn close(&mut self) -> io::Result<ExitStatus> {
        self.stdout = None;
        self.child.wait()
    }

    /// Sends `signal` to this process alone.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Sends `signal` to this process alone and returns its exit code.
    pub(crate) fn end(&mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.child.wait().expect("the command ends").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The names in an object.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}
