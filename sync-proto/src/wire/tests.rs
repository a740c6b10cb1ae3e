//! Every message comes back as it was written, nothing else is read, and the hello has the bytes that the protocol page
//! shows. Messages are drawn at random from a seed.

use std::collections::BTreeSet;

use super::codec::{Malformed, Reader};
use super::entry::ValueBegin;
use super::frame;
use super::hello::{Abort, Done, Hello, HelloBody, HelloReply, Party};
use super::item::{
    Children, Extra, FullList, Lacking, Later, List, Listed, Pieces, Scope, Settle, Split, Unmatched,
};
use super::message::Message;
use super::piece::{Named, Names, PieceForm, PieceList, SketchedPieces};
use super::sketched::{Form, Sketched};
use crate::error::PeerReason;
use crate::healing::{Healing, Lost};
use crate::limits::{LISTED_COUNT_MAX, MEMORY_MAX};
use crate::options::{Mode, Versions};
use crate::sketch::{Cell, Sketch};
use crate::test_model::rng::Rng;
use crate::types::{Entry, Fingerprint, KeyRange, Kind, Moves, RangeSum, Stamp};

fn wide(rng: &mut Rng) -> u64 {
    rng.next() >> rng.below(64)
}

fn wide_u128(rng: &mut Rng) -> u128 {
    u128::from(rng.next()) << 64 | u128::from(rng.next())
}

fn key(rng: &mut Rng) -> Vec<u8> {
    let len = rng.below(12) as usize;
    rng.bytes(len).into_iter().map(|byte| byte % 3).collect()
}

fn rising_keys(rng: &mut Rng, max: u64) -> Vec<Vec<u8>> {
    let count = 1 + rng.below(max);
    let keys: BTreeSet<_> = (0..count).map(|_| key(rng)).collect();
    keys.into_iter().collect()
}

fn range(rng: &mut Rng) -> KeyRange {
    let start = key(rng);
    let end = rng.one_in(2).then(|| [start.clone(), vec![rng.next() as u8], key(rng)].concat());
    KeyRange { start, end }
}

fn pieces(rng: &mut Rng) -> Pieces {
    let lo = rng.below(300) as u32;
    Pieces { item: rng.below(1 << 20) as u32, lo, hi: lo + 1 + rng.below(9) as u32 }
}

fn scope(rng: &mut Rng) -> Scope {
    match rng.below(4) {
        0 => Scope::Keys(range(rng)),
        1 => {
            let fingerprints: BTreeSet<u64> = (0..rng.below(9)).map(|_| rng.next() >> 32).collect();
            let names = match rng.below(2) {
                0 => Names::Fingerprints(fingerprints.into_iter().collect()),
                _ => Names::Bits(rng.bytes(5)),
            };
            Scope::Named(Named { item: rng.below(1 << 20) as u32, names, rest: wide_u128(rng) })
        }
        _ => Scope::Pieces(pieces(rng)),
    }
}

fn piece_list(rng: &mut Rng) -> PieceList {
    let (hash_len, density) = (2 + rng.below(3) as u8, rng.next() as u8);
    let groups: Vec<_> =
        (0..=rng.below(4)).map(|_| (rng.next() as u32 >> 8, 1 + rng.below(40) as u32)).collect();
    let count = groups.iter().map(|&(_, count)| PieceList::told_count(count, density)).sum::<u32>();
    let symbols = (0..count).map(|_| rng.next() as u32 >> (32 - 8 * hash_len)).collect();
    PieceList { hash_len, density, groups, symbols }
}

fn cells(rng: &mut Rng, count: usize, len: u64) -> Sketch {
    let cells = (0..count).map(|_| Cell {
        sum: rng.next() >> (64 - 8 * len),
        check: rng.next() as u8 & 0x3f,
        count: rng.next() as u8,
    });
    Sketch::from_cells(cells.collect())
}

#[test]
fn what_is_lacking_is_named_in_as_few_bytes_as_tell_it_from_the_rest() {
    let fingerprints = vec![0x01_0000_0003, 0x02_0000_0001, 0x02_0000_0002];
    let short = Lacking::Fingerprints(4, vec![1, 2, 3]);
    assert_eq!(Lacking::in_short(5, fingerprints.clone(), 1000), short);
    let long = Lacking::Fingerprints(5, fingerprints.clone());
    assert_eq!(Lacking::in_short(5, fingerprints, 1 << 30), long, "among so many there are others");
    let alike = vec![0x01_0000_0003, 0x02_0000_0003];
    assert_eq!(Lacking::in_short(5, alike.clone(), 1000), Lacking::Fingerprints(5, alike));
}

#[test]
fn a_sketch_decodes_on_the_other_side() {
    let (mine, theirs) = (0..900u64, 300..1300u64);
    let element = |n: u64| Rng(n).next() >> 32;
    let mut sketch = Sketch::new(1200);
    theirs.clone().for_each(|n| sketch.add(element(n)));
    let said = Sketched {
        scope: Scope::Pieces(Pieces::whole(0)),
        entry_count: 1000,
        fingerprint_len: 4,
        form: Form::Cells(sketch),
    };
    let mut bytes = Vec::new();
    Message::Sketched(said).encode(&mut bytes);
    let heard = Message::decode(&mut Reader::new(&bytes)).unwrap();
    let Message::Sketched(Sketched { form: Form::Cells(mut sketch), .. }) = heard else {
        panic!("{heard:?}")
    };
    mine.clone().for_each(|n| sketch.remove(element(n)));
    let found = sketch.peel().expect("enough cells");
    assert_eq!((found.added.len(), found.removed.len()), (400, 300));
}

#[test]
fn what_a_list_of_pieces_claims_is_bounded() {
    let said = |group_count: usize| {
        let groups = vec![(7, 512); group_count];
        let symbols = vec![1; 2 * group_count];
        let list = PieceList { hash_len: 2, density: 0, groups, symbols };
        let form = PieceForm::List(list);
        let scope = Scope::Pieces(Pieces::whole(0));
        let mut bytes = Vec::new();
        let pieces = SketchedPieces { scope, cut: 2, piece_count: 3, entry_count: 300, form };
        Message::SketchedPieces(pieces).encode(&mut bytes);
        bytes
    };
    let most = LISTED_COUNT_MAX / 512;
    assert!(Message::decode(&mut Reader::new(&said(most))).is_ok());
    assert_eq!(Message::decode(&mut Reader::new(&said(most + 1))), Err(Malformed("count out of bounds")));
}

fn positions(rng: &mut Rng) -> Vec<u32> {
    let mut position = 0;
    (0..rng.below(20))
        .map(|_| {
            position += 1 + rng.below(300) as u32;
            position
        })
        .collect()
}

fn lacking(rng: &mut Rng) -> Lacking {
    if rng.one_in(2) {
        return Lacking::Positions(positions(rng));
    }
    let len = 4 + rng.below(5);
    let fingerprints: BTreeSet<u64> = (0..rng.below(9)).map(|_| rng.next() >> (64 - 8 * len)).collect();
    Lacking::Fingerprints(len as u8, fingerprints.into_iter().collect())
}

fn sum(rng: &mut Rng) -> RangeSum {
    RangeSum {
        fingerprint: Fingerprint(wide_u128(rng)),
        live: wide(rng),
        tombstones: wide(rng),
        bytes: wide(rng),
    }
}

fn entry(rng: &mut Rng) -> Entry {
    let kind = if rng.one_in(3) { Kind::Tombstone } else { Kind::Put };
    let (meta_len, value_len) = (rng.below(3) as usize, rng.below(40) as usize);
    Entry {
        key: key(rng),
        stamp: Stamp { hlc: wide(rng), node: rng.below(2) },
        kind,
        expires_at: if rng.one_in(2) { wide(rng) } else { 0 },
        meta: rng.bytes(meta_len),
        value: if kind == Kind::Put { rng.bytes(value_len) } else { Vec::new() },
    }
}

fn party(rng: &mut Rng) -> Party {
    Party {
        node: rng.next(),
        nonce: rng.next(),
        opens: wide(rng),
        durable_seqno: wide(rng),
        horizon: wide(rng),
        members_checksum: rng.next(),
        keyspaces_checksum: rng.next(),
        window_len: rng.below(1 << 20) as u32,
        value_len_max: wide(rng),
        read_only: rng.one_in(2),
        has_unknown: rng.one_in(2),
        has_lost_values: rng.one_in(2),
    }
}

fn hello(rng: &mut Rng) -> HelloBody {
    let mode = [Mode::Both, Mode::Pull, Mode::Push, Mode::DryRun][rng.below(4) as usize];
    HelloBody {
        set_id: wide_u128(rng).to_le_bytes(),
        hash_check: rng.next().to_le_bytes(),
        party: party(rng),
        mode,
        weighs: mode == Mode::DryRun && rng.one_in(2),
        names_max: rng.next() as u32,
        root: sum(rng),
        filter: rng.one_in(2).then(|| range(rng)),
    }
}

/// A random message of each kind in turn; never a hello, which takes the rest of its frame.
fn message(rng: &mut Rng, kind: u64) -> Message {
    let count = 2 + rng.below(12) as usize;
    match kind % 22 {
        0 => Message::HelloReply(HelloReply {
            version: rng.next() as u8,
            set_proof: rng.next(),
            party: party(rng),
            root: rng.one_in(2).then(|| sum(rng)),
        }),
        1 => Message::Children(Children {
            scope: scope(rng),
            cut: rng.next() as u8,
            differing: wide(rng),
            ids: (1..count).map(|_| rng.next() as u32).collect(),
            hashes: (0..count).map(|_| rng.next()).collect(),
        }),
        2 => {
            let bounds = rising_keys(rng, 9);
            let hashes = (0..=bounds.len()).map(|_| rng.next()).collect();
            Message::Split(Split { scope: scope(rng), bounds, hashes })
        }
        3 => Message::List(List {
            scope: scope(rng),
            fingerprints: (2..count).map(|_| rng.next() as u32).collect(),
        }),
        4 => Message::FullList(FullList {
            scope: scope(rng),
            entries: rising_keys(rng, 9)
                .into_iter()
                .map(|key| Listed {
                    key,
                    stamp: Stamp { hlc: rng.next(), node: rng.next() },
                    hash: wide_u128(rng),
                })
                .collect(),
        }),
        5 => Message::Unmatched(Unmatched {
            item: wide(rng) as u32,
            lacking: lacking(rng),
            extra: (2..count).map(|_| Extra { key: rng.next() >> 32, hlc: rng.next() }).collect(),
            common: wide_u128(rng),
        }),
        6 => Message::Settle(Settle {
            item: wide(rng) as u32,
            missing: positions(rng),
            stale: positions(rng),
            only_mine: rng.below(8193),
            newer_mine: rng.below(8193),
        }),
        7 => Message::Later(Later { spans: (1..count).map(|_| pieces(rng)).collect(), check: rng.next() }),
        8 => Message::Restart,
        9 => Message::Stream(wide(rng)),
        10 => Message::Entries((1..count).map(|_| entry(rng)).collect()),
        11 => {
            let entry = Entry { kind: Kind::Put, value: Vec::new(), ..entry(rng) };
            Message::ValueBegin(ValueBegin { entry, value_len: 1 + (wide(rng) >> 1) })
        }
        12 => Message::ValuePart(rng.bytes(count)),
        13 => Message::ValueAbandon,
        14 => Message::Names(rising_keys(rng, 9).into_iter().map(|key| (rng.one_in(2), key)).collect()),
        15 => Message::Done(Done {
            reasons: rng.next() as u32,
            refused: wide(rng),
            deferred: wide(rng),
            root: sum(rng),
        }),
        16 => {
            let len = 4 + rng.below(5);
            let is_plain = rng.one_in(2);
            let form = if is_plain {
                let mut fingerprints: Vec<u64> = (0..count).map(|_| rng.next() >> (64 - 8 * len)).collect();
                fingerprints.sort_unstable();
                Form::Plain(fingerprints)
            } else {
                Form::Cells(cells(rng, count, len))
            };
            Message::Sketched(Sketched {
                scope: scope(rng),
                entry_count: if is_plain { count as u64 } else { wide(rng) },
                fingerprint_len: len as u8,
                form,
            })
        }
        17 => Message::SketchedPieces(SketchedPieces {
            scope: scope(rng),
            cut: rng.next() as u8,
            piece_count: wide(rng),
            entry_count: wide(rng),
            form: match rng.below(2) {
                0 => PieceForm::Cells(cells(rng, count, 4)),
                _ => PieceForm::List(piece_list(rng)),
            },
        }),
        18 => {
            let mut starts = rising_keys(rng, 9).into_iter();
            let mut spans = Vec::new();
            while let (Some(start), Some(end)) = (starts.next(), starts.next()) {
                spans.push(KeyRange { start, end: Some(end) });
            }
            Message::Lost(Lost { spans, values: rising_keys(rng, 9) })
        }
        19 => {
            let range = range(rng);
            let mut entries: Vec<Entry> = (0..rng.below(9)).map(|_| entry(rng)).collect();
            entries.retain(|entry| range.contains(&entry.key));
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            entries.dedup_by(|a, b| a.key == b.key);
            if rng.one_in(3) {
                let entry = Entry { kind: Kind::Put, value: Vec::new(), ..entry(rng) };
                let end = Some([&entry.key[..], &[0]].concat());
                let (range, value_len) =
                    (KeyRange { start: entry.key.clone(), end }, Some(1 + (wide(rng) >> 1)));
                return Message::Heal(Healing { range, cut: wide(rng), entries: vec![entry], value_len });
            }
            Message::Heal(Healing { range, cut: wide(rng), entries, value_len: None })
        }
        20 => Message::Moves(Moves { entries: wide(rng), value_bytes: wide(rng), unnamed: wide(rng) }),
        _ => Message::Abort(match rng.below(2) {
            0 => Abort::Version(Versions { min: rng.next() as u8, max: rng.next() as u8 }),
            _ => Abort::Reason(PeerReason::from_code(2 + rng.below(200) as u8)),
        }),
    }
}

#[test]
fn every_message_comes_back_and_leaves_what_follows_alone() {
    for seed in 0..21 * 200 {
        let rng = &mut Rng(seed);
        let (first, second) = (message(rng, seed), message(rng, seed / 22));
        let mut bytes = Vec::new();
        first.encode(&mut bytes);
        let first_len = bytes.len();
        second.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Message::decode(&mut reader), Ok(first), "seed {seed}");
        assert_eq!(reader.remaining_len(), bytes.len() - first_len, "seed {seed}");
        assert_eq!(Message::decode(&mut reader), Ok(second), "seed {seed}");
        assert!(reader.is_empty(), "seed {seed}");
    }
}

#[test]
fn a_message_cut_short_anywhere_is_refused() {
    for seed in 0..21 * 20 {
        let mut bytes = Vec::new();
        message(&mut Rng(seed), seed).encode(&mut bytes);
        for len in 0..bytes.len() {
            assert!(Message::decode(&mut Reader::new(&bytes[..len])).is_err(), "seed {seed}, cut at {len}");
        }
    }
}

#[test]
fn what_decodes_from_damaged_bytes_is_a_message_of_the_same_bytes_again() {
    for seed in 0..21 * 300 {
        let rng = &mut Rng(seed);
        let mut bytes = Vec::new();
        message(rng, seed).encode(&mut bytes);
        let at = rng.below(bytes.len() as u64) as usize;
        bytes[at] = rng.next() as u8;
        let mut reader = Reader::new(&bytes);
        let Ok(decoded) = Message::decode(&mut reader) else { continue };
        let read_len = bytes.len() - reader.remaining_len();
        let mut again = Vec::new();
        decoded.encode(&mut again);
        // Keys may share less than they could, which is legal and not what this side writes.
        assert!(again.len() <= read_len, "seed {seed}");
        assert_eq!(Message::decode(&mut Reader::new(&again)), Ok(decoded), "seed {seed}");
    }
}

#[test]
fn shared_prefixes_do_not_unfold_without_bound() {
    let long = vec![b'k'; crate::limits::KEY_LEN_MAX - 1];
    let names: Vec<_> = (0..200u8).map(|n| (false, [&long[..], &[n]].concat())).collect();
    let mut bytes = Vec::new();
    Message::Names(names).encode(&mut bytes);
    assert!(bytes.len() < MEMORY_MAX / 100, "a small message");
    assert!(Message::decode(&mut Reader::new(&bytes)).is_err(), "of thirteen megabytes of keys");
}

#[test]
fn a_hello_has_exactly_these_bytes() {
    let body = HelloBody {
        set_id: *b"replica-set-0001",
        hash_check: *b"hashkey1",
        party: Party {
            node: 0x0a,
            nonce: 0x0102_0304_0506_0708,
            opens: 3,
            durable_seqno: 300,
            horizon: 0,
            members_checksum: 0x11,
            keyspaces_checksum: 0x22,
            window_len: 512 << 10,
            value_len_max: 64 << 20,
            read_only: false,
            has_unknown: false,
            has_lost_values: false,
        },
        mode: Mode::Both,
        weighs: false,
        names_max: 0,
        root: RangeSum { fingerprint: Fingerprint(0xfeed), live: 2, tombstones: 1, bytes: 40 },
        filter: None,
    };
    let hello = Message::Hello(Hello { versions: Versions { min: 1, max: 1 }, body: body.encode() });
    let mut bytes = frame::begin();
    hello.encode(&mut bytes);
    frame::set_last(&mut bytes);
    frame::seal(&mut bytes, 0);
    let expected = [
        "61000001 00cf2e5d",                 // 97 bytes of payload, last frame, checksum
        "01 53594e4c 01 01",                 // hello, "SYNL", versions 1 to 1
        "7265706c6963612d7365742d30303031",  // set id
        "686173686b657931",                  // hash check
        "0a00000000000000 0807060504030201", // node, nonce
        "03 ac02 00",                        // opens 3, durable seqno 300, horizon 0
        "1100000000000000 2200000000000000", // checksums of members and keyspaces
        "808020 80808020 00",                // window 512 KiB, values up to 64 MiB, writable
        "00 00",                             // mode both, no names
        "edfe0000000000000000000000000000",  // root: fingerprint
        "02 01 28",                          // 2 live, 1 tombstone, 40 bytes
        "00",                                // no filter
    ];
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected.concat().replace(' ', ""));

    let mut reader = Reader::new(&bytes[frame::FRAME_HEADER_LEN..]);
    assert_eq!(Message::decode(&mut reader), Ok(hello));
    assert_eq!(HelloBody::decode(&body.encode()), Ok(body));
}

#[test]
fn hellos_of_every_shape_come_back() {
    for seed in 0..500 {
        let body = hello(&mut Rng(seed));
        assert_eq!(HelloBody::decode(&body.encode()), Ok(body.clone()), "seed {seed}");
        let mut longer = body.encode();
        longer.push(0);
        assert!(HelloBody::decode(&longer).is_err(), "seed {seed}: bytes after it");
    }
}

#[test]
fn a_sketch_of_pieces_and_the_answer_that_names_them_have_exactly_these_bytes() {
    let hex = |message: Message| -> String {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(Message::decode(&mut Reader::new(&bytes)), Ok(message));
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let mut sketch = Sketch::new(4);
    [0x0102_0304, 0x0506_0708, 0x090a_0b0c].into_iter().for_each(|element| sketch.add(element));
    let whole = Scope::Pieces(Pieces::whole(0));
    let told = |scope, form| {
        Message::SketchedPieces(SketchedPieces { scope, cut: 2, piece_count: 3, entry_count: 300, form })
    };
    let expected = [
        "14 01 00 01",    // sketched pieces: of item 0, all of it
        "02 03 ac02 04",  // level 2, 3 pieces with 300 entries, 4 cells
        "000f0e0d 2b 00", // the first cell holds all three
        "08080808 72 00", // the others two each
        "040c0c0c ba 00",
        "0c040404 ca 00",
    ];
    assert_eq!(hex(told(whole.clone(), PieceForm::Cells(sketch))), expected.concat().replace(' ', ""));
    let groups = vec![(0xa, 2), (0xb, 1)];
    let list = PieceList { hash_len: 2, density: PieceList::PLAIN, groups, symbols: vec![1, 2, 3] };
    let expected = [
        "14 01 00 01 02 03 ac02 00", // no cells, but a list
        "02 ff 02",                  // of 2 bytes each, all of them, in 2 groups
        "0a0000 02 0100 0200",       // that of bound 10, of 2 pieces
        "0b0000 01 0300",            // that of bound 11, of 1
    ];
    assert_eq!(hex(told(whole, PieceForm::List(list))), expected.concat().replace(' ', ""));
    let named = |names| Scope::Named(Named { item: 0, names, rest: 0xfeed });
    let entries =
        |scope, form| Message::Sketched(Sketched { scope, entry_count: 2, fingerprint_len: 4, form });
    let expected = [
        "13 01 00 00",                      // sketched entries: of item 0, its pieces that are named
        "00 02 07 80 02",                   // by fingerprints: 2 of them, 7 and 7 + 256
        "edfe0000000000000000000000000000", // all others sum up to this
        "02 04 00",                         // 2 entries, 4 bytes each, no cells
        "01 ff 01",                         // fingerprints 1 and 1 + 255
    ];
    let names = Names::Fingerprints(vec![7, 7 + 256]);
    assert_eq!(hex(entries(named(names), Form::Plain(vec![1, 256]))), expected.concat().replace(' ', ""));
    let expected = ["13 01 00 00", "01 01 05", "edfe0000000000000000000000000000", "02 04 00", "01 ff 01"];
    let names = Names::Bits(vec![0b101]);
    assert_eq!(hex(entries(named(names), Form::Plain(vec![1, 256]))), expected.concat().replace(' ', ""));
}
