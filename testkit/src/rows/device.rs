//! F4: the power is cut under a real file system: ext4 or XFS on a loop image, shut down without its journal being flushed while
//! a child writes, then mounted again.
//!
//! Needs root, a loop device, `mkfs.ext4` or `mkfs.xfs` (of the packages e2fsprogs and xfsprogs), and `python3` for the one system
//! call that no safe interface has. Skipped aloud without.
//!
//! Easy to get wrong: a shutdown is not quite a power cut, for the child goes on beside it. Only what it said to be durable before
//! the shutdown began must be there, and a commit that was not `Sync` is promised nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use syncline::Db;

use super::kill::{self, End};
use crate::history::History;
use crate::random::Random;
use crate::run::Run;

/// `EXT4_IOC_SHUTDOWN` and `XFS_IOC_GOINGDOWN` are one call; 2 is without flushing the journal.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/// Lengths of the images in bytes: what the makers of each file system ask for at least.
const FILE_SYSTEMS: [(&str, &[&str], u64); 2] =
    [("ext4", &["-q", "-F"], 48 << 20), ("xfs", &["-q", "-f"], 300 << 20)];

/// F4.
pub fn of_a_file_system(run: &mut Run<'_>) {
    let Some(child) = run.child.clone() else {
        run.skipped = Some("there is no program to start as a child".to_owned());
        return;
    };
    let (mut able, mut reasons) = (Vec::new(), Vec::new());
    for (name, options, len) in FILE_SYSTEMS {
        match Image::make(name, options, len) {
            Ok(_) => able.push((name, options, len)),
            Err(reason) => reasons.push(format!("{name}: {reason}")),
        }
    }
    if !reasons.is_empty() {
        run.skipped = Some(reasons.join("; "));
    }
    if able.is_empty() {
        return;
    }
    run.each_seed(|run, seed| {
        let mut random = Random::new(seed);
        let (name, options, len) = *random.pick(&able);
        let image = Image::make(name, options, len)?;
        let dir = image.mount.join("db");
        let mut durable = 0;
        for cut in 0..8 {
            let count = random.below(300);
            run.at = format!("{name}, cut {cut} after {count} commits");
            run.runs += 1;
            let said = kill::live_and_die(&child, &dir, seed, End::Shutdown(count, &|| image.shut_down()))?;
            durable = durable.max(said.durable);
            image.mount_again()?;
            let db = match Db::builder(&dir).open() {
                Ok(db) => db,
                Err(syncline::Error::NotFound { .. }) if durable == 0 => continue,
                Err(error) => return Err(format!("the store does not open: {error}")),
            };
            let found = History::new(seed).check(&db, said.returned.max(durable) + 1)?;
            if found < durable {
                let report = db.recovery();
                return Err(format!("commit {durable} was durable, and {found} is the last one there; the child said {said:?}, the recovery {report:?}"));
            }
            run.reach("commits lost that were not durable", found < said.returned);
            run.reach("a cut under XFS", name == "xfs");
            if !run.goes_on() {
                break;
            }
        }
        Ok(())
    });
    // Otherwise what is cut off is no power, and whatever was written would be there anyhow.
    run.must_reach(8, &["commits lost that were not durable"]);
}

/// A mounted image of a file system.
#[derive(Debug)]
struct Image {
    /// Removed after the file system was unmounted.
    _dir: tempfile::TempDir,
    file: PathBuf,
    mount: PathBuf,
}

impl Image {
    fn make(file_system: &str, options: &[&str], len: u64) -> Result<Image, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (file, mount) = (dir.path().join("image"), dir.path().join("mount"));
        command("truncate", &["-s", &len.to_string()], &file)?;
        command(&format!("mkfs.{file_system}"), options, &file)?;
        command("mkdir", &[], &mount)?;
        let image = Image { _dir: dir, file, mount };
        image.mount()?;
        Ok(image)
    }

    fn mount(&self) -> Result<(), String> {
        command("mount", &["-o", "loop", &self.file.to_string_lossy()], &self.mount)
    }

    fn mount_again(&self) -> Result<(), String> {
        command("umount", &[], &self.mount)?;
        self.mount()
    }

    fn shut_down(&self) -> Result<(), String> {
        command("python3", &["-c", SHUTDOWN], &self.mount)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = command("umount", &[], &self.mount);
    }
}

/// Runs a program with these arguments and a path.
fn command(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    let outcome = Command::new(program).args(arguments).arg(path).output();
    let outcome = outcome.map_err(|error| format!("{program}: {error}"))?;
    match outcome.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&outcome.stderr).trim())),
    }
}
