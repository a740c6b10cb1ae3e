//! Flush: a sealed memtable becomes a run, and the Merkle base takes in what its commits changed.
//!
//! The memtable is walked once, in key order: every newest version goes to the run, its difference to the base's buckets,
//! and its key, if it is a fence, to the list of cuts. The cuts are made afterwards by scanning the runs, the new one
//! included, over just the buckets concerned.
//!
//! Easy to get wrong: the differences that commits kept have the bounds of an older base, so they are made anew here
//! against the present one; their total must be the same, and is checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::FileKind;
use crate::index::{Levels, MergeCursor, Properties, Run, RunWriter};
use crate::merkle::{self, Base, Bucket, Cut, DECREED, Differences};
use crate::store::{FlushJob, Flushed, Measure, Prefix, Store, parse_catalogue_key, user_key};
use crate::types::{EpochSums, FileId, KeyRange, SegmentId, SeqNo};
use crate::vfs::ReadMode;

/// A bound to be cut: its key and level.
type Fence = (Vec<u8>, u8);

/// Flushes the oldest sealed memtable. Nothing happens if none waits.
///
/// # Errors
/// `Corruption` or `Io` of the runs: nothing has changed. `Io` of a write: the store is poisoned.
pub(crate) fn flush_oldest(store: &Store) -> Result<()> {
    let Some(job) = store.flush_job() else { return Ok(()) };
    let (vfs, dir) = (&store.options.environment.vfs, &store.dir);
    let id = store.next_file();
    let (differences, fences, properties) = write_run(store, &job, id)?;
    if differences.total() != job.differences.total() {
        return Err(Error::corruption(dir, 0, "a memtable's differences are not those of its entries"));
    }
    let run = Run::open(&**vfs, dir, id, store.options.read_mode, store.measure.hasher.clone());
    let run = Arc::new(store.note(run)?);
    let levels = job.levels.with_newest(run.clone());
    let base = cut(&job.base.fold(&differences), &levels, fences, &store.measure)?;
    let merkle = store.note(write_merkle(store, &job, &base))?;
    let value_segments = store.note(value_segments(store, &job, &properties))?;
    store.sync_dir()?;
    store.install_flush(&job, Flushed { run, base, merkle, value_segments })
}

/// Writes the memtable's newest versions to run `id`, and tells what they change and where new fences are.
fn write_run(store: &Store, job: &FlushJob, id: FileId) -> Result<(Differences, Vec<Fence>, Properties)> {
    let measure = &store.measure;
    let mut differences = Differences::new(&job.base);
    let mut fences = Vec::new();
    let memtable = &job.sealed.memtable;
    let vfs = &*store.options.environment.vfs;
    let mut writer = store.note(RunWriter::create(vfs, &store.dir, id, memtable.len()))?;
    let memtable = std::iter::once((memtable.clone(), SeqNo::MAX));
    for found in MergeCursor::new(memtable, std::iter::empty(), &KeyRange::all()) {
        let (key, head) = found?;
        let hash = measure.hasher.key(&key);
        let added = measure.entry(&key, hash, &head);
        differences.add(&key, added.sum, added.epoch);
        if let Some(replaced) = job.levels.get(&key, hash)? {
            let replaced = measure.entry(&key, hash, &replaced);
            differences.add(&key, -replaced.sum, replaced.epoch);
        }
        if let Some(level) = measure.fence_level(hash) {
            fences.push((key.clone(), level));
        }
        fences.extend(decreed_by(&key, measure));
        store.note(writer.push(&key, hash, head.into()))?;
    }
    Ok((differences, fences, store.note(writer.finish())?))
}

/// The bounds that stand because of a catalogue entry: where its keyspace begins and ends.
fn decreed_by(key: &[u8], measure: &Measure) -> Vec<Fence> {
    if !key.starts_with(&Prefix::CATALOGUE.0) {
        return Vec::new();
    }
    let Some((name, resolver)) = parse_catalogue_key(user_key(key)) else { return Vec::new() };
    let keyspace = Prefix::of(&measure.hasher, name, resolver).whole();
    [Some(keyspace.start), keyspace.end].into_iter().flatten().map(|bound| (bound, DECREED)).collect()
}

/// Cuts `base`, which describes `levels`, at the fences that are not bounds yet.
fn cut(base: &Base, levels: &Levels, mut fences: Vec<Fence>, measure: &Measure) -> Result<Base> {
    fences.sort_unstable();
    let mut buckets: BTreeMap<Vec<u8>, Vec<Fence>> = BTreeMap::new();
    for fence in fences {
        let bucket = base.bound_at_or_before(&fence.0);
        if *bucket != *fence.0 {
            buckets.entry(bucket.to_vec()).or_default().push(fence);
        }
    }
    let cuts = buckets.into_iter().map(|(start, fences)| parts(base, levels, &start, fences, measure));
    let cuts = cuts.collect::<Result<Vec<_>>>()?;
    base.cut(cuts).map_err(|mismatch| {
        let file = levels.runs().first().map(|run| run.path().to_owned()).unwrap_or_default();
        debug_assert!(false, "the parts of {mismatch:?} do not add up to it");
        Error::corruption(&file, 0, "the entries of a bucket do not add up to its sum; run `verify`")
    })
}

/// The sums of one bucket's parts, by one scan of its range.
fn parts(base: &Base, levels: &Levels, start: &[u8], fences: Vec<Fence>, measure: &Measure) -> Result<Cut> {
    let range = base.bucket_range(start);
    let mut fences = fences.into_iter().peekable();
    let mut parts =
        vec![Bucket { start: start.into(), level: base.level_of(start), sums: EpochSums::default() }];
    let none = std::iter::empty();
    for found in MergeCursor::new(none, levels.runs().iter(), &range) {
        let (key, head) = found?;
        while let Some((fence, level)) = fences.next_if(|(fence, _)| *fence <= key) {
            push_part(&mut parts, fence, level);
        }
        let entry = measure.entry(&key, measure.hasher.key(&key), &head);
        if let Some(part) = parts.last_mut() {
            part.sums.add_entry(entry.sum, entry.epoch);
        }
    }
    fences.for_each(|(fence, level)| push_part(&mut parts, fence, level));
    Ok(Cut { parts })
}

/// A bound may be listed twice, by decree and by hash; the decree is the higher level.
fn push_part(parts: &mut Vec<Bucket>, fence: Vec<u8>, level: u8) {
    match parts.last_mut() {
        Some(last) if *last.start == *fence => last.level = last.level.max(level),
        _ => parts.push(Bucket { start: fence.into(), level, sums: EpochSums::default() }),
    }
}

/// Persists `base`: by a delta, or by a full file once the deltas outweigh the last one. All its files, in order.
fn write_merkle(store: &Store, job: &FlushJob, base: &Base) -> Result<Vec<FileId>> {
    let (vfs, dir) = (&*store.options.environment.vfs, &store.dir);
    let id = store.next_file();
    let lens = job.state.merkle.iter().map(|id| {
        let path = dir.join(FileKind::Merkle.name(id.0));
        let file = vfs.open(&path, ReadMode::Plain).map_err(|source| Error::io("open", &path, source))?;
        Ok(file.len())
    });
    let lens = lens.collect::<Result<Vec<u64>>>()?;
    let (full, deltas) = lens.split_first().unwrap_or((&0, &[]));
    if deltas.iter().sum::<u64>() >= *full {
        merkle::write_full(vfs, dir, id, job.sealed.last, base)?;
        return Ok(vec![id]);
    }
    merkle::write_delta(vfs, dir, id, job.sealed.last, &job.base, base)?;
    Ok(job.state.merkle.iter().copied().chain([id]).collect())
}

/// The flushed memtable's segments that the new run points into, and how far each may be read.
fn value_segments(
    store: &Store,
    job: &FlushJob,
    properties: &Properties,
) -> Result<BTreeMap<SegmentId, u64>> {
    let len = |segment: &SegmentId| {
        if let Some(&end) = job.state.log_ends.get(segment) {
            return Ok((*segment, end));
        }
        let path = store.dir.join(FileKind::Segment.name(u64::from(segment.0)));
        let file = store.options.environment.vfs.open(&path, ReadMode::Plain);
        file.map(|file| (*segment, file.len())).map_err(|source| Error::io("open", &path, source))
    };
    properties.referenced.keys().map(len).collect()
}
