//! The hidden verb that the demo kills: puts each row from standard input, a commit each, and prints its key once the
//! commit has returned. What was printed has been acknowledged, and has to be there after the kill.

use std::io::{self, BufRead};

use crate::args::Store;
use crate::error::{Error, Result, Verdict};
use crate::output;
use crate::store;

pub(in crate::verb) fn run(args: &Store) -> Result<Verdict> {
    // Commits that survive a killed process are asked for, not ones that survive a power cut.
    let db = store::open_or_create(&args.dir)?;
    for row in io::stdin().lock().split(b'\n') {
        let row = row.map_err(Error::io("standard input"))?;
        let key = row.split(|&byte| byte == b'\t').next().unwrap_or_default();
        db.put(key, &row)?;
        output::print(&[key, b"\n"].concat())?;
    }
    Ok(Verdict::Fine)
}
