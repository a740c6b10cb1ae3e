//! Embedding the store: notes, and an index of their tags that is never out of step with them.
//!
//! Each change of a note is one atomic batch over two keyspaces, so that a kill or a power cut leaves both or neither. Run it
//! with `cargo run --release --example notes`.
//!
//! Easy to get wrong: reading the note and then writing the batch are two steps. One thread writes notes here; where several
//! do, the note's own key wants `compare_and_swap`, or the writers a lock.

use syncline::{Db, Durability, Keyspace, Result, WriteBatch};

/// Notes by id, and empty entries by `tag 00 id`.
struct Notes {
    db: Db,
    notes: Keyspace,
    by_tag: Keyspace,
}

impl Notes {
    fn open(db: Db) -> Result<Notes> {
        let (notes, by_tag) = (db.keyspace("notes")?, db.keyspace("notes by tag")?);
        Ok(Notes { db, notes, by_tag })
    }

    /// Writes a note, new or not. Its tags are the words that begin with `#`.
    fn put(&self, id: &str, text: &str) -> Result<()> {
        let mut batch = self.db.batch();
        self.unlink(&mut batch, id)?;
        batch.put(&self.notes, id, text)?;
        for tag in tags(text) {
            batch.put(&self.by_tag, index_key(tag, id), "")?;
        }
        self.db.write(batch, Durability::Sync)
    }

    fn delete(&self, id: &str) -> Result<()> {
        let mut batch = self.db.batch();
        self.unlink(&mut batch, id)?;
        batch.delete(&self.notes, id)?;
        self.db.write(batch, Durability::Sync)
    }

    /// Takes the note's old tags out of the index. Where a later change of the batch puts one back, that one counts.
    fn unlink(&self, batch: &mut WriteBatch, id: &str) -> Result<()> {
        if let Some(old) = self.notes.get(id)? {
            for tag in tags(&String::from_utf8_lossy(&old)) {
                batch.delete(&self.by_tag, index_key(tag, id))?;
            }
        }
        Ok(())
    }

    /// The notes with this tag, by id, all as of one moment.
    fn tagged(&self, tag: &str) -> Result<Vec<(String, String)>> {
        let snapshot = self.db.snapshot();
        let prefix = index_key(tag, "");
        let mut found = Vec::new();
        for key in snapshot.prefix_iter(&self.by_tag, &prefix).keys() {
            let key = key?;
            let id = key.get(prefix.len()..).unwrap_or_default();
            let text = snapshot.get(&self.notes, id)?.expect("the index and the notes change together");
            found.push((lossy(id), lossy(&text)));
        }
        Ok(found)
    }
}

/// A tag has no zero byte, so that what follows one in a key of the index is the id.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    let tags = text.split_whitespace().filter_map(|word| word.strip_prefix('#'));
    tags.filter(|tag| !tag.is_empty() && !tag.contains('\0'))
}

fn index_key(tag: &str, id: &str) -> Vec<u8> {
    [tag.as_bytes(), &[0], id.as_bytes()].concat()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let notes = Notes::open(Db::builder(dir.path().join("notes")).create()?)?;
    notes.put("1", "plums are ripe #garden #autumn")?;
    notes.put("2", "sow rye #garden")?;
    notes.put("3", "stack the wood #autumn")?;
    notes.put("2", "rye is sown #done")?;
    notes.delete("3")?;

    for tag in ["garden", "autumn", "done"] {
        println!("#{tag}");
        for (id, text) in notes.tagged(tag)? {
            println!("    {id}: {text}");
        }
    }
    assert_eq!(notes.tagged("garden")?.len(), 1);
    assert_eq!(notes.tagged("autumn")?.len(), 1);

    // What was told to be durable is there after any stop; here it is a plain one.
    drop(notes);
    let notes = Notes::open(Db::open(dir.path().join("notes"))?)?;
    assert_eq!(notes.tagged("done")?, [("2".to_owned(), "rye is sown #done".to_owned())]);
    Ok(())
}
