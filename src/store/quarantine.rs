//! Damage that somebody has met: remembered durably, told, and passed over from then on.
//!
//! Whoever reads runs and meets a damaged block hands the error in here. The block becomes a hole of its run and its span
//! unknown by one edit of the manifest, and then whatever has to go on (a flush, a merge, a look-up for a sum) does so
//! without the block.
//!
//! Easy to get wrong: no lock may be held when an error is handed in but `applying`; and a block that reads well at a second
//! look is not damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::smallvec;

use crate::error::{Error, Result};
use crate::index::Levels;
use crate::manifest::Change;
use crate::quarantine::{LOST_MAX, LostValue, Spans};
use crate::types::{Head, KeyRange, Slice, Stamp, ValueDigest};

use super::commit::{Prepared, Write};
use super::view::retire;
use super::{Store, View};

impl Store {
    /// If `error` tells of a damaged block of a present run, makes its span unknown, durably, unless it is already. Returns
    /// the span.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn quarantine(&self, error: &Error) -> Result<Option<KeyRange>> {
        let Some((run, span)) = self.views.current().levels.damaged_by(error) else { return Ok(None) };
        let mut manifest = self.structure.lock();
        let present = self.views.current().levels.runs().iter().find(|other| other.id() == run.id()).cloned();
        let Some(run) = present.filter(|_| self.poison.reason().is_none()) else { return Ok(None) };
        if run.holes().covers(&span) {
            return Ok(Some(span));
        }
        let state = manifest.state();
        let mut table = state.table.clone();
        table.lost(state.node);
        let mut changes = vec![
            Change::Hole { run: run.id(), range: span.clone() },
            Change::Table(table.since(&state.table)),
        ];
        // Of what lies in a hole already the run says nothing that could be lost.
        let lost = run.holes().between(&span).into_iter().filter(|lost| !lost.is_empty());
        changes.extend(lost.map(|span| Change::Unknown { span, floor: run.properties().clock_max }));
        self.poison.note(manifest.commit(&changes))?;
        let old = {
            let _writer = self.writer.lock();
            let view = self.views.current();
            let levels = view.levels.with_hole(&span, |other| other.id() == run.id());
            let unknown = Arc::new(manifest.state().quarantine.spans.clone());
            self.views.replace(View { levels, unknown, ..(*view).clone() })
        };
        retire(old);
        Ok(Some(span))
    }

    /// As [`Store::quarantine`], for a reader: returns what it should be told.
    pub(crate) fn met(&self, error: Error) -> Error {
        match self.quarantine(&error) {
            Ok(Some(span)) => Error::Unknown { spans: vec![span] },
            _ => error,
        }
    }

    /// Does `work` over `levels`, without what is damaged: whenever it meets more of that, it is done again.
    ///
    /// # Errors
    /// Those of `work` that are not of a damaged block; `Io`: the store is poisoned.
    pub(crate) fn past_damage<T>(
        &self,
        levels: &Levels,
        mut work: impl FnMut(&Levels, &Spans) -> Result<T>,
    ) -> Result<T> {
        loop {
            let view = self.views.current();
            match work(&levels.refreshed(&view.levels), &view.unknown) {
                Err(error) if self.quarantine(&error)?.is_some() => {}
                done => return done,
            }
        }
    }

    /// The spans of unknown keys.
    pub(crate) fn unknown(&self) -> Arc<Spans> {
        self.views.peek().unknown.clone()
    }

    /// If `error` tells that the value of `key`'s entry is damaged, remembers that, durably. Returns what the reader should be
    /// told.
    pub(crate) fn met_value(&self, key: &[u8], (stamp, digest): (Stamp, ValueDigest), error: Error) -> Error {
        if !matches!(error, Error::Corruption { .. }) {
            return error;
        }
        // Who cannot remember it can still tell it.
        let _ = self.lose_values(vec![(key.to_vec(), LostValue { stamp, digest })]);
        Error::ValueLost { stored_key: key.to_vec(), stamp, value_digest: digest, source: Box::new(error) }
    }

    /// The value of `key`'s entry, or `None` if it is lost, which is remembered.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn value_unless_lost(&self, view: &View, key: &[u8], head: &Head) -> Result<Option<Slice>> {
        match view.value(head, &self.measure.hasher) {
            Ok(value) => Ok(Some(value)),
            Err(error) => match self.met_value(key, (head.stamp, head.digest), error) {
                Error::ValueLost { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Remembers, durably, that these values are damaged, as far as they are those of present entries and cannot be read
    /// now. Beyond [`LOST_MAX`] of them nothing is remembered.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn lose_values(&self, mut values: Vec<(Vec<u8>, LostValue)>) -> Result<()> {
        let (view, seqno) = self.read_point();
        values.retain(|(key, lost)| {
            let head = view.head(key, self.measure.hasher.key(key), seqno);
            let head =
                head.ok().flatten().filter(|head| (head.stamp, head.digest) == (lost.stamp, lost.digest));
            head.is_some_and(|head| view.value(&head, &self.measure.hasher).is_err())
        });
        let mut manifest = self.structure.lock();
        let lost = &manifest.state().quarantine.lost;
        let is_full = lost.len() >= LOST_MAX;
        values.retain(|(key, value)| lost.get(key) != Some(value) && (!is_full || lost.contains_key(key)));
        if values.is_empty() || self.poison.reason().is_some() {
            return Ok(());
        }
        let changes: Vec<_> =
            values.into_iter().map(|(key, value)| Change::LostValue { key, value }).collect();
        self.poison.note(manifest.commit(&changes))
    }

    /// The lost values that are those of present entries.
    pub(crate) fn lost_values(&self) -> Vec<(Vec<u8>, LostValue)> {
        let lost = self.structure.lock().state().quarantine.lost.clone();
        self.present(lost).collect()
    }

    /// Those of the lost values that are those of present entries of `keys`.
    pub(crate) fn lost_values_of<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Vec<(Vec<u8>, LostValue)> {
        let lost = {
            let manifest = self.structure.lock();
            let lost = &manifest.state().quarantine.lost;
            let known = |key| lost.get_key_value(key).map(|(key, value)| (key.clone(), *value));
            if lost.is_empty() { BTreeMap::new() } else { keys.filter_map(known).collect() }
        };
        self.present(lost).collect()
    }

    /// Whether the value of `key`'s present entry is known to be lost.
    pub(crate) fn has_lost_value(&self, key: &[u8]) -> bool {
        !self.lost_values_of(std::iter::once(key)).is_empty()
    }

    /// Numbers of unknown spans and of lost values of present entries.
    pub(crate) fn damage_counts(&self) -> (u64, u64) {
        (self.unknown().ranges().iter().count() as u64, self.lost_values().len() as u64)
    }

    /// Those of `lost` that are of present entries: what has ended by the horizon is read by nobody any more, and given back by
    /// nobody.
    fn present(&self, lost: BTreeMap<Vec<u8>, LostValue>) -> impl Iterator<Item = (Vec<u8>, LostValue)> {
        let ended = if lost.is_empty() { None } else { self.measure.ended(self.horizon()) };
        let (view, seqno) = self.read_point();
        let is_present = move |key: &[u8], lost: &LostValue| {
            let head = view.head(key, self.measure.hasher.key(key), seqno);
            // Nobody knows better where the entry itself cannot be read.
            head.map_or(true, |head| {
                head.is_some_and(|head| {
                    (head.stamp, head.digest) == (lost.stamp, lost.digest)
                        && !self.measure.has_ended(&head, ended)
                })
            })
        };
        lost.into_iter().filter(move |(key, lost)| is_present(key, lost))
    }

    /// Takes `value` for the lost one of `key`'s entry with this stamp and digest: it is the same entry, so nothing is merged
    /// and nothing counted. `false` if the entry is another one by now.
    ///
    /// # Errors
    /// `InvalidArgument` if the value has another digest; `Unknown`, `Poisoned`, `Io`.
    pub(crate) fn heal_value(&self, key: &[u8], lost: LostValue, value: &[u8]) -> Result<bool> {
        if self.measure.hasher.value(value) != lost.digest {
            return Err(Error::invalid("the value has another digest than the one that is lost"));
        }
        self.replace_lost(key, lost, |_, head| {
            let (stamp, expires_at, meta) = (Some(head.stamp), head.expires_at, head.meta.clone());
            Some(Write { stamp, expires_at, meta, ..Write::put(&[], key, value) })
        })
    }

    /// Takes `entry`, a replica's of a key that a resolver merges, for the one that has lost its value: no session could merge
    /// the two. `false` if the key has another entry by now, or the value is there again.
    ///
    /// # Errors
    /// `Unknown`, `Poisoned`, `Io`.
    pub(crate) fn heal_merged(&self, lost: LostValue, entry: &Write) -> Result<bool> {
        self.replace_lost(&entry.key, lost, |view, head| {
            view.value(head, &self.measure.hasher).is_err().then(|| entry.clone())
        })
    }

    /// Commits what `made` makes of the head of `key`'s entry that has lost its value. `false` if that is nothing, or if the key
    /// has another entry by now.
    ///
    /// # Errors
    /// `Unknown`, `Poisoned`, `Io`.
    fn replace_lost(
        &self,
        key: &[u8],
        lost: LostValue,
        made: impl FnOnce(&View, &Head) -> Option<Write>,
    ) -> Result<bool> {
        let applying = self.applying.read();
        let mut writer = self.lock_with_room()?;
        let view = self.views.current();
        let hash = self.measure.hasher.key(key);
        let head = match view.head(key, hash, writer.front.last) {
            Ok(head) => head.filter(|head| (head.stamp, head.digest) == (lost.stamp, lost.digest)),
            Err(error) => {
                drop(writer);
                return Err(self.met(error));
            }
        };
        let write = head.as_ref().and_then(|head| {
            let prepared = Prepared::over(key, hash, Some(head), &self.measure);
            Some(Write { prepared, ..made(&view, head)? })
        });
        let is_healed = write.is_some();
        if let Some(write) = write {
            self.append(&mut writer, &view, smallvec![write])?;
        }
        drop((writer, applying));
        self.persist()?;
        self.forget_lost_values(key)?;
        Ok(is_healed)
    }

    /// Forgets, durably, of lost values those that were overwritten since, and that of `key`.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(super) fn forget_lost_values(&self, key: &[u8]) -> Result<()> {
        let mut gone = self.structure.lock().state().quarantine.lost.clone();
        let present: Vec<_> = self.present(gone.clone()).map(|(present, _)| present).collect();
        gone.retain(|lost, _| lost == key || present.binary_search(lost).is_err());
        let mut manifest = self.structure.lock();
        self.poison.check()?;
        // What has been lost since was not asked about.
        let lost = &manifest.state().quarantine.lost;
        gone.retain(|key, value| lost.get(key) == Some(value));
        let changes: Vec<_> = gone.into_keys().map(Change::FoundValue).collect();
        if changes.is_empty() { Ok(()) } else { self.poison.note(manifest.commit(&changes)) }
    }
}
