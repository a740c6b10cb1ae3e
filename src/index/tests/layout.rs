//! The bytes of a run, so that a change of the format is made knowingly.

use std::path::Path;

use super::world::Files;
use crate::format::FileKind;
use crate::hash::SetHasher;
use crate::index::RunWriter;
use crate::types::{FileId, Head, Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueDigest, ValueRef};

const GOLDEN: &str = "
53594e4352554e53010000002a2e1cc000030004000000020000001000000000
0a000000000000000101bc85b5000008000d0001000000000000000200000000
0000006b65792f00610062616c01610000006f6e650162110502056c61726765
0e0301e807016d03ac028827dd00000000000000000000000000000080b39911
0000000000400000000800000000000000000080000840000800400240020000
0001000000000000000400020010020010200000000000002000100000000000
7000056b65792f610103010a0c8580808001056b65792f61096b65792f6c6172
6765010388278000000000000000c000000000000000c800000000000000878e
e75485f364efaa99033fbf0e7442";

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
