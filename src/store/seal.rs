//! Sealing: the active memtable and the log segment of its commits take no more, and new ones begin.
//!
//! The next segment is made ahead, without the commit lock; sealing itself then is a few writes to memory and one to the old
//! segment's file. Nothing is fsynced: what was sealed becomes durable when somebody asks for it, its flush at the latest.
//!
//! Easy to get wrong: files are never made under the commit lock, for the file system may take a second for it when
//! background work keeps it busy. Whoever finds no segment made ahead lets go of the lock, makes one, and looks again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::commit::Writer;
use super::{Store, View};
use crate::error::Result;
use crate::index::Memtable;
use crate::log;
use crate::types::SegmentId;

/// A memtable that is full asks for a segment made ahead when it has come to one part in so many.
const AHEAD: usize = 8;

impl Store {
    /// The commit lock, with a memtable that has room.
    pub(super) fn lock_with_room(&self) -> Result<MutexGuard<'_, Writer>> {
        let room = self.options.memtable_bytes;
        // A thread that makes the next segment is given some time before a commit does it.
        let patience = if self.options.background { room / 2 } else { 0 };
        self.lock_sealed(|bytes, is_ahead| bytes >= if is_ahead { room } else { room + patience })
    }

    /// Closes the active memtable and the log segment of its commits, and begins new ones. Nothing happens if it is empty.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn seal(&self) -> Result<()> {
        self.lock_sealed(|_, _| true).map(drop)
    }

    /// The commit lock, after the active memtable was sealed if it is not empty and `is_full`, which is told how many bytes
    /// it has and whether the next segment is made.
    pub(super) fn lock_sealed(
        &self,
        is_full: impl Fn(usize, bool) -> bool,
    ) -> Result<MutexGuard<'_, Writer>> {
        loop {
            let mut writer = self.writer.lock();
            self.poison.check()?;
            let view = self.views.peek();
            let is_ahead = writer.next_segment.is_some();
            if !is_full(view.active.approximate_bytes(), is_ahead) || view.active.is_empty() {
                return Ok(writer);
            }
            if is_ahead {
                self.seal_locked(&mut writer)?;
                return Ok(writer);
            }
            drop((view, writer));
            self.make_segment_ahead()?;
        }
    }

    fn seal_locked(&self, writer: &mut Writer) -> Result<()> {
        let Some(next) = writer.next_segment.take() else { return Ok(()) };
        self.has_segment_ahead.store(false, Ordering::Relaxed);
        let view = self.views.current();
        let next_segment = next.id();
        let segment = self.poison.note(writer.log.rotate(next))?;
        writer.seal(view.active.clone(), segment, next_segment);
        let mut sealed = vec![view.active.clone()];
        sealed.extend(view.sealed.iter().cloned());
        let active = Arc::new(Memtable::new());
        // All that the old view holds the new one holds, too.
        drop(self.views.replace(View { active, sealed, ..(*view).clone() }));
        Ok(())
    }

    /// Whether it is time to make the next segment, with so many bytes in the active memtable.
    pub(super) fn wants_segment(&self, active: usize) -> bool {
        active >= self.options.memtable_bytes / AHEAD && !self.has_segment_ahead.load(Ordering::Relaxed)
    }

    /// Makes the next segment, unless there is one.
    ///
    /// # Errors
    /// `Io`: the store is poisoned.
    pub(crate) fn make_segment_ahead(&self) -> Result<()> {
        let _making = self.making_segment.lock();
        let id = {
            let writer = self.writer.lock();
            self.poison.check()?;
            if writer.next_segment.is_some() {
                return Ok(());
            }
            let (active, _) = writer.log.position();
            SegmentId(active.0 + 1)
        };
        let (vfs, allocate) = (&*self.options.environment.vfs, self.options.memtable_bytes as u64);
        let next = log::make_ahead(vfs, &self.dir, id, self.durable.get(), allocate);
        let next = self.poison.note(next)?;
        self.writer.lock().next_segment = Some(next);
        self.has_segment_ahead.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Gives back the space that was reserved for commits to come. For the end of a store's life.
    ///
    /// # Errors
    /// `Poisoned`, `Io`.
    pub(crate) fn trim_log(&self) -> Result<()> {
        let mut writer = self.writer.lock();
        self.poison.check()?;
        self.poison.note(writer.log.trim())?;
        match writer.next_segment.take() {
            Some(next) => self.remove_files(&[next.path().to_owned()]),
            None => Ok(()),
        }
    }
}
