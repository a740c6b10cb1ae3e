//! The simulated medium behind [`MemoryVfs`](super::MemoryVfs): what the operating system shows, and what a power cut leaves.
//!
//! Every file is an [`Image`]: its *live* bytes, its *durable* bytes, and the changes between the two that no sync has
//! covered. Names likewise, until their folder is synced. Images share their bytes until one of them changes, so a copy
//! of a whole medium is cheap and can be taken before every step of a test.
//!
//! Easy to get wrong: a sync makes durable exactly the changes that are still marked dirty, not whatever is live. After a
//! failed sync the pages are marked clean, and no later sync brings their bytes to the medium.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The unit in which a power cut tears writes, in bytes.
const SECTOR_LEN: usize = 512;

/// Earlier contents of a staging file that a power cut may bring back.
const STAGING_HISTORY: usize = 3;

/// Number of a file, whatever its names.
pub(super) type Inode = u64;

/// Chooses a number below its argument; what it returns decides what a power cut leaves.
pub(super) type Choose<'a> = &'a mut dyn FnMut(u64) -> u64;

/// A file system at one moment. Cloning copies no file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Medium {
    images: BTreeMap<Inode, Image>,
    next_inode: Inode,
    names: BTreeMap<PathBuf, Inode>,
    durable_names: BTreeMap<PathBuf, Inode>,
    /// Changes of names that no sync of their folder has covered, in order.
    name_changes: Vec<NameChange>,
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    live: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Changes that lead from `durable` to `live`, but for those that a failed sync has dropped.
    dirty: Vec<Change>,
    /// Of a staging file: earlier contents. The system may write any of its pages at any time, and never has to.
    staged: Option<Vec<Arc<Vec<u8>>>>,
}

/// One change of a file's bytes.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// One change of a folder.
#[derive(Debug, Clone)]
enum NameChange {
    Link {
        path: PathBuf,
        inode: Inode,
    },
    /// Names the file, whatever else of what happened to `from` reaches the medium.
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: Inode,
    },
    Unlink(PathBuf),
}

/// Which of a list of unsynced changes reach the medium.
enum Kept {
    None,
    All,
    /// The first ones, of which the last may be torn.
    First(u64),
    /// Each one, or each sector of one, by itself.
    Any,
}

impl Kept {
    fn choose(choose: Choose<'_>, count: usize) -> Kept {
        match choose(4) {
            0 => Kept::None,
            1 => Kept::All,
            2 => Kept::First(choose(count as u64 + 1)),
            _ => Kept::Any,
        }
    }
}

impl Medium {
    pub(super) fn inode(&self, path: &Path) -> Option<Inode> {
        self.names.get(path).copied()
    }

    pub(super) fn image(&self, inode: Inode) -> Option<&Image> {
        self.images.get(&inode)
    }

    pub(super) fn image_mut(&mut self, inode: Inode) -> Option<&mut Image> {
        self.images.get_mut(&inode)
    }

    /// Names of the files right in `dir`, sorted.
    pub(super) fn names_in(&self, dir: &Path) -> Vec<String> {
        let inside = self.names.keys().filter(|path| path.parent() == Some(dir));
        inside.filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// A new file of `len` zeros.
    pub(super) fn create(&mut self, path: &Path, len: usize, is_staging: bool) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        let mut image = Image { staged: is_staging.then(Vec::new), ..Image::default() };
        image.change(Change::Truncate(len));
        self.images.insert(inode, image);
        self.change_name(NameChange::Link { path: path.to_owned(), inode });
        inode
    }

    /// Gives the file at `path` these bytes, durably, creating it if it is missing.
    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        let inode = self.inode(path).unwrap_or_else(|| self.create(path, 0, false));
        self.durable_names.insert(path.to_owned(), inode);
        let bytes = Arc::new(bytes.to_vec());
        let staged = self.images.get(&inode).and_then(|image| image.staged.clone());
        self.images.insert(inode, Image { live: bytes.clone(), durable: bytes, dirty: Vec::new(), staged });
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(inode) = self.inode(from) {
            self.change_name(NameChange::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        }
    }

    pub(super) fn link(&mut self, inode: Inode, to: &Path) {
        self.change_name(NameChange::Link { path: to.to_owned(), inode });
    }

    pub(super) fn unlink(&mut self, path: &Path) {
        self.change_name(NameChange::Unlink(path.to_owned()));
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    /// Makes the changes of names in `dir` durable.
    pub(super) fn sync_names(&mut self, dir: &Path) {
        let changes = std::mem::take(&mut self.name_changes);
        for change in changes {
            if change.folder() == Some(dir) {
                change.apply(&mut self.durable_names);
            } else {
                self.name_changes.push(change);
            }
        }
    }

    /// What a power cut at this moment leaves.
    pub(super) fn power_cut(mut self, choose: Choose<'_>) -> Medium {
        let changes = std::mem::take(&mut self.name_changes);
        let kept = Kept::choose(choose, changes.len());
        for (index, change) in (0..).zip(&changes) {
            let is_kept = match kept {
                Kept::None => false,
                Kept::All => true,
                Kept::First(count) => index < count,
                Kept::Any => choose(2) == 0,
            };
            if is_kept {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        self.images.values_mut().for_each(|image| image.power_cut(choose));
        self
    }
}

impl Image {
    pub(super) fn live(&self) -> &Arc<Vec<u8>> {
        &self.live
    }

    /// Changes the live bytes, and remembers that it was not durable.
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.dirty.push(change);
    }

    /// Changes a staging file's live bytes by a memory store.
    pub(super) fn store(&mut self, offset: usize, bytes: &[u8]) {
        write_into(Arc::make_mut(&mut self.live), offset, bytes);
    }

    /// Remembers a staging file's content as one that a power cut may bring back.
    pub(super) fn remember(&mut self) {
        if let Some(staged) = &mut self.staged {
            if staged.len() == STAGING_HISTORY {
                staged.remove(0);
            }
            staged.push(self.live.clone());
        }
    }

    /// Makes everything dirty durable.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.dirty) {
            change.apply(&mut self.durable);
        }
    }

    /// What a failed sync does: the pages count as clean from now on, and never reach the medium.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// Changes bits on the medium itself; `None` if the file ends before `offset`.
    pub(super) fn flip(&mut self, offset: usize, mask: u8) -> Option<()> {
        *Arc::make_mut(&mut self.live).get_mut(offset)? ^= mask;
        if let Some(byte) = Arc::make_mut(&mut self.durable).get_mut(offset) {
            *byte ^= mask;
        }
        Some(())
    }

    fn power_cut(&mut self, choose: Choose<'_>) {
        let dirty = std::mem::take(&mut self.dirty);
        if let Some(staged) = &mut self.staged {
            let mut sources = std::mem::take(staged);
            sources.push(self.live.clone());
            let durable = Arc::make_mut(&mut self.durable);
            durable.resize(self.live.len(), 0);
            for (index, sector) in durable.chunks_mut(SECTOR_LEN).enumerate() {
                let start = index * SECTOR_LEN;
                // One choice leaves the sector as it was before the process began: zeros, in a new file.
                let source = sources.get(choose(sources.len() as u64 + 1) as usize);
                if let Some(bytes) = source.and_then(|source| source.get(start..start + sector.len())) {
                    sector.copy_from_slice(bytes);
                }
            }
        } else {
            let kept = Kept::choose(choose, dirty.len());
            for (index, change) in (0..).zip(&dirty) {
                match kept {
                    Kept::None => {}
                    Kept::All => change.apply(&mut self.durable),
                    Kept::First(count) if index + 1 < count => change.apply(&mut self.durable),
                    Kept::First(count) if index >= count => {}
                    Kept::First(_) | Kept::Any => change.tear(&mut self.durable, choose),
                }
            }
        }
        self.live = self.durable.clone();
    }
}

impl Change {
    fn apply(&self, bytes: &mut Arc<Vec<u8>>) {
        let image = Arc::make_mut(bytes);
        match self {
            Change::Write { offset, bytes } => write_into(image, *offset, bytes),
            Change::Truncate(len) => image.resize(*len, 0),
        }
    }

    /// Applies any of the sectors of a write, or a truncation or not.
    fn tear(&self, image: &mut Arc<Vec<u8>>, choose: Choose<'_>) {
        let Change::Write { offset, bytes } = self else {
            if choose(2) == 0 {
                self.apply(image);
            }
            return;
        };
        let (mut offset, mut rest) = (*offset, bytes.as_slice());
        while !rest.is_empty() {
            let (sector, behind) = rest.split_at((SECTOR_LEN - offset % SECTOR_LEN).min(rest.len()));
            if choose(2) == 0 {
                write_into(Arc::make_mut(image), offset, sector);
            }
            (offset, rest) = (offset + sector.len(), behind);
        }
    }
}

fn write_into(image: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if image.len() < end {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            NameChange::Link { path, .. }
            | NameChange::Rename { to: path, .. }
            | NameChange::Unlink(path) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Inode>) {
        match self {
            NameChange::Link { path, inode } => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Rename { from, to, inode } => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
        }
    }
}
