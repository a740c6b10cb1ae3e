//! Ingest: entries that come in as a run of their own, beside the log. Here are its two ends: where it takes its stamp and
//! where one manifest edit takes the run in; `compaction` writes the run in between, while commits go on.
//!
//! The run belongs between the runs of its start and the memtables filled since: whatever commits put meanwhile has a higher
//! stamp than the ingest's and stands above it. So the memtables' entries stay as they are, but for what they replace: where
//! the run has a key of theirs, they are made anew with what it counts for below them. The log knows nothing of the entries,
//! and replays the same commits over the runs with or without them.
//!
//! What a peer streams comes in the same way, with its own stamps, where there was nothing before: all that is committed
//! later is stamped above it.
//!
//! Easy to get wrong: no foreign entry may be merged meanwhile, for its stamp may be lower than the ingest's and it would
//! stand above it all the same. The run has to come in with a seqno of its own, or a cursor of before would be one of after;
//! the commit that has it, an empty one, is durable before the edit that names it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLockWriteGuard;

use crate::error::Result;
use crate::index::{Below, Levels, Memtable, Run};
use crate::log::Commit;
use crate::manifest::{Change, State};
use crate::merkle::Base;
use crate::types::{Epoch, FileId, KeyRange, SegmentId, SeqNo, Stamp, Written, successor};

use super::{Store, View};

/// An ingest whose place among the commits is settled.
#[derive(Debug)]
pub(crate) struct StartedIngest<'a> {
    stamp: Stamp,
    /// The newest commit before.
    last: SeqNo,
    sealed: usize,
    applying: RwLockWriteGuard<'a, ()>,
}

impl StartedIngest<'_> {
    /// How many sealed memtables have to be flushed before the run can be written.
    pub(crate) fn sealed_before(&self) -> usize {
        self.sealed
    }
}

/// What an ingest is written onto: runs and base of its start, which stay as long as nobody flushes.
#[derive(Debug)]
pub(crate) struct IngestJob<'a> {
    /// Of every entry; above that of any entry in the runs.
    pub(crate) stamp: Stamp,
    /// Of every entry.
    pub(crate) seqno: SeqNo,
    pub(crate) base: Base,
    /// What ends up to and with this epoch is not in the base.
    pub(crate) ended: Option<Epoch>,
    /// The files that the base can be a change of, if any.
    pub(crate) merkle: Vec<FileId>,
    pub(crate) levels: Levels,
    pub(crate) state: State,
    _applying: RwLockWriteGuard<'a, ()>,
}

/// What an ingest made.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) run: Arc<Run>,
    pub(crate) base: Base,
    /// All Merkle files of the base, the full one first.
    pub(crate) merkle: Vec<FileId>,
    /// Bytes of the newest of them.
    pub(crate) merkle_len: u64,
    /// Files of large values, with their lengths.
    pub(crate) values: BTreeMap<SegmentId, u64>,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
}

impl Store {
    /// Settles which commits an ingest comes after: all that are visible now. The memtables that are sealed then have to be
    /// flushed, and no others, before [`Store::ingest_job`]. Its stamp, and all that are made later, lie above `above` (clock
    /// units).
    ///
    /// # Errors
    /// `Poisoned`; `Io`: the store is poisoned.
    pub(crate) fn start_ingest(&self, above: u64) -> Result<StartedIngest<'_>> {
        let applying = self.applying.write();
        let mut writer = self.lock_sealed(|_, _| true)?;
        writer.front.clock.observe(above);
        let stamp = writer.front.clock.tick(self.now_ms());
        Ok(StartedIngest { stamp, last: writer.front.last, sealed: writer.sealed.len(), applying })
    }

    /// Whether somebody wants to hear of every commit, one by one: entries that come in beside the log would be a gap to them.
    pub(crate) fn is_followed(&self) -> bool {
        let is_retained = self.structure.lock().state().retain_log_bytes > 0;
        is_retained || !self.writer.lock().watchers.is_empty()
    }

    /// What to write the ingest onto.
    pub(crate) fn ingest_job<'a>(&self, started: StartedIngest<'a>) -> IngestJob<'a> {
        let StartedIngest { stamp, last: seqno, applying, .. } = started;
        let state = self.identity();
        let writer = self.writer.lock();
        let merkle = &writer.front.merkle;
        let (base, ended, levels) = (merkle.base.clone(), merkle.ended, self.views.current().levels.clone());
        let merkle = if merkle.is_rebased { Vec::new() } else { state.merkle.clone() };
        IngestJob { stamp, seqno, base, ended, merkle, levels, state, _applying: applying }
    }

    /// Takes in what the ingest of `job` made, under the commit lock: everybody sees all of it from here on.
    ///
    /// # Errors
    /// `Corruption`, `Io` of reading the new run: nothing has changed. `Io` of a write: the store is poisoned.
    pub(crate) fn install_ingest(&self, job: IngestJob<'_>, ingested: Ingested) -> Result<()> {
        self.install(job, ingested, None, u64::MAX).map(drop)
    }

    /// Takes in entries of a peer, the oldest of which is stamped `oldest` (clock units), of keys that nothing in the job's runs
    /// has. `false`, and nothing has changed, if the horizon has reached it meanwhile.
    ///
    /// # Errors
    /// As [`Store::install_ingest`].
    pub(crate) fn install_received(
        &self,
        job: IngestJob<'_>,
        ingested: Ingested,
        oldest: u64,
    ) -> Result<bool> {
        self.install(job, ingested, None, oldest)
    }

    /// Takes in what healing `healed` made: a run that replaces whatever others have of these keys, which are known with the
    /// same edit.
    ///
    /// # Errors
    /// As [`Store::install_ingest`].
    pub(crate) fn install_heal(&self, job: IngestJob<'_>, made: Ingested, healed: &KeyRange) -> Result<()> {
        self.install(job, made, Some(healed), u64::MAX).map(drop)
    }

    fn install(
        &self,
        job: IngestJob<'_>,
        ingested: Ingested,
        healed: Option<&KeyRange>,
        oldest: u64,
    ) -> Result<bool> {
        let Ingested { run, base, merkle, merkle_len, values, bytes } = ingested;
        let mut manifest = self.structure.lock();
        let mut writer = self.writer.lock();
        self.poison.check()?;
        if writer.front.horizon >= oldest {
            return Ok(false);
        }
        let view = self.views.current();
        let mut memtables = match healed {
            None => self.over_run(&view, &run)?,
            Some(healed) => self.over_range(&view, healed),
        };

        let seqno = writer.front.last.next();
        let marker =
            Commit { seqno, durable: self.durable.get(), stamp: job.stamp, entries: Default::default() };
        let log_end = writer.log.end();
        self.poison.note(writer.log.append(&marker))?;
        writer.written.logged += writer.log.end() - log_end;
        self.poison.note(writer.log.drain().and_then(|segment| segment.sync()))?;
        self.durable.raise(seqno);

        let state = manifest.state();
        let replaced: Vec<FileId> = match healed {
            None => Vec::new(),
            Some(healed) => view.levels.reaching_into(healed).map(|run| run.id()).collect(),
        };
        let mut levels = view.levels.clone();
        if let Some(healed) = healed {
            levels = levels.with_hole(healed, |run| replaced.contains(&run.id()));
        }
        let levels = levels.with_newest(run.clone());
        let Written { committed, flushed, .. } = state.written;
        let flushed = flushed + run.len() + merkle_len + values.values().sum::<u64>();
        let mut changes = vec![
            Change::Written(Written { committed: committed + bytes, flushed, ..state.written }),
            Change::NextFile(self.peek_next_file()),
            Change::Runs(levels.ids()),
            Change::Merkle(merkle),
            // Nothing more of the log is flushed, but the clock has to be remembered.
            Change::Flushed { seqno: state.flushed, clock_floor: job.stamp.hlc, log_start: state.log_start },
            Change::FeedFrom(seqno),
        ];
        changes.extend(values.iter().map(|(&segment, &len)| Change::ValueSegment { segment, len }));
        if let Some(healed) = healed {
            let hole = |run| Change::Hole { run, range: healed.clone() };
            changes.extend(replaced.into_iter().map(hole));
            changes.push(Change::Known(healed.clone()));
        }
        self.poison.note(manifest.commit(&changes))?;

        writer.front.last = seqno;
        writer.front.clock_floor = writer.front.clock_floor.max(job.stamp.hlc);
        writer.front.merkle.install_ingest(base);
        writer.written.committed += bytes;
        for (sealed, memtable) in writer.sealed.iter_mut().zip(&memtables) {
            sealed.memtable = memtable.clone();
            sealed.written.committed += bytes;
        }
        let active = memtables.pop().expect("the active memtable is the last");
        let sealed = memtables.into_iter().rev().collect();
        let segments = Arc::new(view.values.with(&values));
        let unknown = Arc::new(manifest.state().quarantine.spans.clone());
        // The number last: who reads in between sees the entries at a cursor that is too old, which is no harm.
        drop(self.views.replace(View { active, sealed, levels, values: segments, unknown }));
        self.views.publish(seqno);
        // Healing may take away what the run does not have.
        let (first, last) = &run.properties().keys;
        let of_run = || KeyRange::new(&first[..], Some(successor(last)));
        writer.watchers.leave_out(seqno, &healed.cloned().unwrap_or_else(of_run));
        Ok(true)
    }

    /// The memtables of `view` over other entries of `range`, oldest first and the active one last: what is below their keys
    /// there is to be looked up anew.
    fn over_range(&self, view: &View, range: &KeyRange) -> Vec<Arc<Memtable>> {
        let below = |key: &[u8]| range.contains(key).then_some(Below::Unknown);
        let over_range = |memtable: &Arc<Memtable>| match memtable.is_empty() {
            true => memtable.clone(),
            false => Arc::new(memtable.over(below, |key| self.measure.hasher.key(key))),
        };
        view.sealed.iter().rev().chain([&view.active]).map(over_range).collect()
    }

    /// The memtables of `view` over `run`, oldest first and the active one last. Those without a key of the run stay as they
    /// are.
    fn over_run(&self, view: &View, run: &Arc<Run>) -> Result<Vec<Arc<Memtable>>> {
        let measure = &self.measure;
        let (first, last) = &run.properties().keys;
        let run = Levels::new(vec![run.clone()]);
        let mut known = BTreeMap::new();
        let over_run = |memtable: &Arc<Memtable>| {
            let mut below = BTreeMap::new();
            for (key, _, _) in memtable.in_order().changes() {
                // Over an older memtable that has the key, this one replaces that one's entry as before.
                if key < &first[..] || key > &last[..] || known.contains_key(key) {
                    continue;
                }
                let hash = measure.hasher.key(key);
                if let Some(head) = run.get(key, hash)? {
                    below.insert(key.to_vec(), measure.entry(key, hash, &head));
                }
            }
            if below.is_empty() {
                return Ok(memtable.clone());
            }
            let counted = |key: &[u8]| below.get(key).map(|below| Below::Known(Some(*below)));
            let over = memtable.over(counted, |key| measure.hasher.key(key));
            known.append(&mut below);
            Ok(Arc::new(over))
        };
        view.sealed.iter().rev().chain([&view.active]).map(over_run).collect()
    }
}
