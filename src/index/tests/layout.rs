//! The bytes of a run, so that a change of the format is made knowingly.

use std::path::Path;

use super::world::Files;
use crate::format::FileKind;
use crate::hash::SetHasher;
use crate::index::RunWriter;
use crate::types::{FileId, Head, Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueDigest, ValueRef};

const GOLDEN: &str = "
53594e4352554e53010000002a2e1cc000030004000000020000001000000000
0a00000000000000bc85b5000008000d00010000000000000002000000000000
006b65792f01610000006f6e650162110502056c617267650e0301e807016d03
ac028827dd000000000000000000000000000000a0eb4ea40000000000400000
0008000000000000000000800008400008004002400200000001000000000000
0004000200100200102000000000000020001000000000006800056b65792f61
0103010a0c8580808001056b65792f61096b65792f6c61726765010388277800
000000000000b800000000000000c0000000000000003dbc24844df54fec3c63
628894a946ce";

#[test]
fn a_small_run_has_exactly_the_bytes_that_the_format_says() {
    let (files, hasher) = (Files::default(), SetHasher::new(&[7; 32]));
    let stamp = |hlc: u64, node| Stamp { hlc: 0x1000_0000 + hlc, node };
    let inline = |bytes: &[u8]| ValueRef::Inline(Slice::from(bytes));
    let location = Location { segment: SegmentId(3), offset: 300, len: 5_000 };
    let put = Head {
        seqno: SeqNo(10),
        stamp: stamp(0, 1),
        kind: Kind::Put,
        expires_at: 0,
        meta: Slice::empty(),
        digest: hasher.value(b"one"),
        value: inline(b"one"),
    };
    let tombstone = Head {
        seqno: SeqNo(12),
        stamp: stamp(5, 2),
        kind: Kind::Tombstone,
        value: inline(b""),
        ..put.clone()
    };
    let large = Head {
        seqno: SeqNo(11),
        stamp: stamp(3, 1),
        expires_at: 1_000,
        meta: Slice::from(&b"m"[..]),
        digest: ValueDigest(0xdd),
        value: ValueRef::Log(location),
        ..put.clone()
    };
    let mut writer = RunWriter::create(&files, Path::new(""), FileId(9), 3).expect("no faults");
    for (key, head) in [("key/a", put), ("key/b", tombstone), ("key/large", large)] {
        writer.push(key.as_bytes(), hasher.key(key.as_bytes()), (&head).into()).expect("no faults");
    }
    writer.finish().expect("no faults");
    let bytes = files.bytes(&FileKind::Run.name(9));
    let hex: Vec<String> =
        bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    assert_eq!(hex.join("\n"), GOLDEN.trim(), "the run is\n{}", hex.join("\n"));
}
