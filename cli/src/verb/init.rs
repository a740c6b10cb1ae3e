//! `init`: a new, empty store.

use serde_json::json;
use syncline::Compression;

use crate::args::{Codec, Init};
use crate::error::{Result, Verdict};
use crate::output::Output;
use crate::store;

/// The library's own default: beyond it blocks of 8 KiB hardly get smaller.
const ZSTD_LEVEL: u8 = 3;

pub(super) fn run(args: &Init, output: Output) -> Result<Verdict> {
    let other = args.replica_of.as_deref().map(store::open_read_only).transpose()?;
    let compression = match args.compression {
        Codec::None => Compression::None,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd(ZSTD_LEVEL),
    };
    let db = store::create(&args.dir, other.as_ref(), args.retain_log, compression)?;
    let (dir, node) = (args.dir.display().to_string(), db.node_id().to_string());
    let object = json!({ "dir": dir, "node": node });
    output.answer(&object, &[("store", dir), ("node", node)])?;
    Ok(Verdict::Fine)
}
