//! Damage among replicas that delete for good: bits of a member's runs and large values flip, at times before anybody meets
//! them, and it heals by ordinary sessions while others close, raise their horizons and purge.
//!
//! Easy to get wrong: what nobody but the damaged one held is lost for good, and no fault of anybody. So a member is damaged only
//! after a complete session with one that is whole, and there always is one.

use std::collections::BTreeMap;

use sync_proto::{AbortReason, End, Reason, ReplicaErrorKind};
use syncline::{Db, EntryDigest, Error, RangeSum, ScrubOptions, ScrubStep};

use super::{Member, Set, failed};
use crate::life::DIR;
use crate::rows::healing;
use crate::run::Run;

/// Sessions after which what is damaged has been met and is healed: each meets more of it, or heals.
const SESSIONS_MAX: u64 = 20;

/// What became of damaged members.
#[derive(Debug, Default)]
pub(super) struct Harm {
    damaged: u64,
    healed: u64,
    healed_later: u64,
    aborted: u64,
}

impl Harm {
    /// Tells what was met.
    pub(super) fn reach(&self, run: &mut Run<'_>) {
        run.reach("a member damaged", self.damaged > 0);
        run.reach("a member healed by a session", self.healed > 0);
        run.reach("healed in a set whose horizon rose meanwhile", self.healed_later > 0);
        run.reach("damage met in a session", self.aborted > 0);
    }
}

impl Set {
    /// Damages a member, if another one that is whole holds all that it has.
    pub(super) fn damage(&mut self, replica: usize, other: usize) -> Result<(), String> {
        if self.members[other].is_damaged || !self.meet(replica, other)? {
            return Ok(());
        }
        let before = self.digests(replica)?;
        self.db(replica).flush().map_err(failed)?;
        let Member { mut world, db, harmed_at, .. } = self.members.swap_remove(replica);
        db.close().map_err(failed)?;
        for _ in 0..1 + self.random.below(3) {
            if let Some((_, _, vfs)) = healing::damage(&world, &mut self.random) {
                world = world.with(vfs);
            }
        }
        let db = world.builder(DIR).open().map_err(failed)?;
        let harmed_at = harmed_at.max(self.horizon_max());
        self.put_back(replica, Member { world, db, is_damaged: true, harmed_at });
        if self.random.chance(50) {
            scrub(self.db(replica));
        }
        self.harm.damaged += 1;
        self.check_answers(replica, &before)
    }

    /// Has a damaged member meet all its damage, and heal.
    pub(super) fn mend(&mut self, replica: usize) -> Result<(), String> {
        if !self.members[replica].is_damaged {
            return Ok(());
        }
        scrub(self.db(replica));
        let whole: Vec<usize> = (0..self.members.len()).filter(|&at| !self.members[at].is_damaged).collect();
        // Somebody who is whole has the value of each entry, but not all who are have the entry.
        for &other in &whole {
            self.meet(replica, other)?;
        }
        for other in whole {
            if !self.meet(replica, other)? || self.is_unknown(replica) {
                return Err(format!("{replica} met all that are whole, and is not, by {other}"));
            }
        }
        self.members[replica].is_damaged = false;
        Ok(())
    }

    /// Sessions of two of which at least one is damaged, until one is complete, or none can be for what only others have: values,
    /// or, if one of the two never held anything, spans. Whether one was.
    pub(super) fn meet_damaged(&mut self, left: usize, right: usize) -> Result<bool, String> {
        let is_each = self.members[left].is_damaged && self.members[right].is_damaged;
        for _ in 0..SESSIONS_MAX {
            let ends = self.session(left, right, u64::MAX).map(|outcome| outcome.end);
            if ends == [End::Complete, End::Complete] {
                return Ok(true);
            }
            self.check_end(left, right, &ends)?;
            let is_for =
                |end: &End, reason| matches!(end, End::Partial(reasons) if reasons.iter().eq([reason]));
            if ends.iter().all(|end| is_for(end, Reason::Unsent)) {
                return Ok(false);
            }
            // Whoever is new has nothing to say of what was there; it learns of it when the other one is whole.
            if ends.iter().all(|end| is_for(end, Reason::Unknown))
                && (self.is_new(left)? || self.is_new(right)?)
            {
                return Ok(false);
            }
            // The two may have lost the same keys.
            if is_each && self.random.chance(30) {
                return Ok(false);
            }
        }
        match is_each {
            true => Ok(false),
            false => Err(format!("{left} and {right} met in vain")),
        }
    }

    /// Checks that a session of damaged members ended for no other reason.
    fn check_end(&mut self, left: usize, right: usize, ends: &[End; 2]) -> Result<(), String> {
        let is_damage = |end: &End| match end {
            End::Aborted(AbortReason::Replica(error)) => error.kind == ReplicaErrorKind::Unknown,
            _ => false,
        };
        let has_met = ends.iter().any(is_damage);
        self.harm.aborted += u64::from(has_met);
        let has_gone_through = ends.iter().all(|end| matches!(end, End::Partial(_) | End::Complete));
        match has_met || has_gone_through {
            true => Ok(()),
            false => Err(format!("{left} and {right}: {ends:?}")),
        }
    }

    /// Takes note of who is whole after a session that was not before.
    pub(super) fn note_healed(&mut self, were_unknown: [bool; 2], replicas: [usize; 2]) {
        for (replica, _) in replicas.into_iter().zip(were_unknown).filter(|(_, was_unknown)| *was_unknown) {
            if self.is_unknown(replica) {
                continue;
            }
            self.harm.healed += 1;
            self.harm.healed_later += u64::from(self.horizon_max() > self.members[replica].harmed_at);
        }
    }

    pub(super) fn is_unknown(&self, replica: usize) -> bool {
        !self.db(replica).unknown_spans().is_empty()
    }

    /// Whether a replica never held anything: without a horizon nothing is dropped.
    fn is_new(&self, replica: usize) -> Result<bool, String> {
        let db = self.db(replica);
        let is_empty = match db.root() {
            Ok(root) => root == RangeSum::ZERO,
            Err(Error::Unknown { .. }) => false,
            Err(error) => return Err(failed(error)),
        };
        Ok(is_empty && db.horizon_status().horizon == 0)
    }

    fn horizon_max(&self) -> u64 {
        self.members.iter().map(|member| member.db.horizon_status().horizon).max().unwrap_or(0)
    }

    fn digests(&self, replica: usize) -> Result<BTreeMap<Vec<u8>, EntryDigest>, String> {
        let mut digests = BTreeMap::new();
        for key in self.newest.keys() {
            match self.db(replica).digest(key) {
                Ok(digest) => digests.extend(digest.map(|digest| (key.clone(), digest))),
                Err(Error::Unknown { .. }) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(digests)
    }

    /// Checks that a damaged member says what it said before, or that it does not know.
    fn check_answers(&self, replica: usize, before: &BTreeMap<Vec<u8>, EntryDigest>) -> Result<(), String> {
        for key in self.newest.keys() {
            match (self.db(replica).digest(key), before.get(key)) {
                (Err(Error::Unknown { .. }), _) => {}
                (Ok(now), was) if now.as_ref() == was => {}
                (now, was) => return Err(format!("damaged, and {key:?} was {was:?} and is {now:?}")),
            }
        }
        Ok(())
    }
}

/// Finds all damage.
fn scrub(db: &Db) {
    let mut scrub = db.scrub(ScrubOptions::default().bytes_per_second(0));
    while scrub.step() != ScrubStep::Done {}
}
