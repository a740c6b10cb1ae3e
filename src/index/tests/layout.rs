//! The bytes of a run, so that a change of the format is made knowingly.

use std::path::Path;
use std::sync::Arc;

use super::world::{COMPRESSIONS, Files, problems};
use crate::format::FileKind;
use crate::hash::SetHasher;
use crate::index::block::{Undecoded, decompress};
use crate::index::{Run, RunWriter};
use crate::types::{
    Compression, FileId, Head, Kind, Location, SegmentId, SeqNo, Slice, Stamp, ValueDigest, ValueRef,
};
use crate::vfs::ReadMode;

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

/// `00 "syncline" "syncline" "syncline" "syncline"`: nine literals, 19 bytes from eight before, five literals.
const LZ4_GOLDEN: &str = "01210000009f0073796e636c696e6508000050636c696e65";

/// The same as a frame of Zstandard.
const ZSTD_GOLDEN: &str = "022100000028b52ffd00587d0000480073796e636c696e65010003cb11";

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
    let mut writer =
        RunWriter::create(&files, Path::new(""), FileId(9), 3, Compression::None).expect("no faults");
    for (key, head) in [("key/a", put), ("key/b", tombstone), ("key/large", large)] {
        writer.push(key.as_bytes(), hasher.key(key.as_bytes()), (&head).into()).expect("no faults");
    }
    writer.finish().expect("no faults");
    let bytes = files.bytes(&FileKind::Run.name(9));
    let hex: Vec<String> =
        bytes.chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    assert_eq!(hex.join("\n"), GOLDEN.trim(), "the run is\n{}", hex.join("\n"));
}

/// A run of one block, of five keys with values of 40 equal bytes.
fn repetitive_run(compression: Compression) -> (Files, SetHasher) {
    let (files, hasher) = (Files::default(), SetHasher::new(&[7; 32]));
    let writer = RunWriter::create(&files, Path::new(""), FileId(1), 5, compression);
    let mut writer = writer.expect("no faults");
    for key in ["a", "b", "c", "d", "e"] {
        let value = ValueRef::Inline(Slice::from(&[key.as_bytes()[0]; 40][..]));
        let stamp = Stamp { hlc: 9, node: 1 };
        let (digest, meta) = (ValueDigest(0), Slice::empty());
        let head = Head { seqno: SeqNo(1), stamp, kind: Kind::Put, expires_at: 0, meta, digest, value };
        writer.push(key.as_bytes(), hasher.key(key.as_bytes()), (&head).into()).expect("no faults");
    }
    writer.finish().expect("no faults");
    (files, hasher)
}

#[test]
fn blocks_of_every_codec_are_shorter_and_read_the_same() {
    let (plain, _) = repetitive_run(Compression::None);
    let plain_len = plain.bytes(&FileKind::Run.name(1)).len();
    for &compression in COMPRESSIONS.iter().filter(|compression| **compression != Compression::None) {
        let (files, hasher) = repetitive_run(compression);
        let len = files.bytes(&FileKind::Run.name(1)).len();
        assert!(len < plain_len - 100, "{compression:?}: {len} bytes instead of {plain_len}");
        let run = Run::open(&files, Path::new(""), FileId(1), ReadMode::Mapped, Arc::new(hasher));
        let run = run.expect("well-formed");
        assert!(problems(&run).is_empty(), "{compression:?}");
        for key in ["a", "e", "e"] {
            let hash = run.hasher().key(key.as_bytes());
            let value = run.find(key.as_bytes(), hash, |found| found.value()).expect("no damage");
            let value = value.expect("it is there").expect("not in the log");
            assert_eq!(value, [key.as_bytes()[0]; 40], "{compression:?}");
        }
    }
}

/// Compressors may find other bytes one day; these must be read for ever.
#[test]
fn compressed_blocks_of_known_bytes_are_read() {
    let plain = [&[0][..], &b"syncline".repeat(4)].concat();
    for (is_supported, hex) in [(cfg!(feature = "lz4"), LZ4_GOLDEN), (cfg!(feature = "zstd"), ZSTD_GOLDEN)] {
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().expect("hexadecimal digits");
        let expected = if is_supported { Ok(plain.clone()) } else { Err(Undecoded::Unsupported) };
        assert_eq!(decompress(&bytes), expected, "{hex}");
    }
}
