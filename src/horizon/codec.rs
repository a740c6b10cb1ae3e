//! The bytes of a [`Table`], for the manifest and for peers.
//!
//! ```text
//! table   = count varint | member each | count varint | row each
//! member  = node u64 | standing 1
//! row     = node u64 | version varint | opens varint | members varint | closed u64 | horizon u64 | count varint | done each
//! done    = node u64 | through u64 | members varint | own row varint | peer row varint
//! ```
//!
//! Easy to get wrong: a count is a peer's word, so nothing is allocated by it.

use xxhash_rust::xxh3::xxh3_64;

use super::table::{Done, Row, Standing, Table};
use crate::codec::{Malformed, Reader, put_varint};
use crate::types::NodeId;

/// The most members, rows or sessions that a table may have.
const COUNT_MAX: u64 = 4096;

impl Table {
    /// Checksum of its bytes, by which two stores find that they have the same; 0 while nobody has founded the set.
    pub(crate) fn checksum(&self) -> u64 {
        if self.is_unfounded() { 0 } else { xxh3_64(&self.to_bytes()).max(1) }
    }

    /// Its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.members.len() as u64);
        for (node, standing) in &self.members {
            out.extend_from_slice(&node.0.to_le_bytes());
            out.push(*standing as u8);
        }
        put_varint(&mut out, self.rows.len() as u64);
        for (node, row) in &self.rows {
            out.extend_from_slice(&node.0.to_le_bytes());
            put_row(&mut out, row);
        }
        out
    }

    /// The table with these bytes, all of them.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Table, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut table = Table::default();
        for _ in 0..count(&mut reader)? {
            let node = NodeId(reader.u64()?);
            let standing = match reader.u8()? {
                1 => Standing::Joining,
                2 => Standing::Owner,
                3 => Standing::Expelled,
                _ => return Err(reader.malformed()),
            };
            table.members.insert(node, standing);
        }
        for _ in 0..count(&mut reader)? {
            let node = NodeId(reader.u64()?);
            table.rows.insert(node, row(&mut reader)?);
        }
        if !reader.is_at_end() {
            return Err(reader.malformed());
        }
        Ok(table)
    }
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    let Row { version, opens, members, closed, horizon, done } = row;
    [version, opens, members].into_iter().for_each(|&number| put_varint(out, number));
    [closed, horizon].into_iter().for_each(|hlc| out.extend_from_slice(&hlc.to_le_bytes()));
    put_varint(out, done.len() as u64);
    for (peer, &Done { through, members, own_row, peer_row }) in done {
        out.extend_from_slice(&peer.0.to_le_bytes());
        out.extend_from_slice(&through.to_le_bytes());
        [members, own_row, peer_row].into_iter().for_each(|number| put_varint(out, number));
    }
}

fn row(reader: &mut Reader<'_>) -> Result<Row, Malformed> {
    let (version, opens, members) = (reader.varint()?, reader.varint()?, reader.varint()?);
    let (closed, horizon) = (reader.u64()?, reader.u64()?);
    let mut row = Row { version, opens, members, closed, horizon, ..Row::default() };
    for _ in 0..count(reader)? {
        let (peer, through) = (NodeId(reader.u64()?), reader.u64()?);
        let (members, own_row, peer_row) = (reader.varint()?, reader.varint()?, reader.varint()?);
        row.done.insert(peer, Done { through, members, own_row, peer_row });
    }
    Ok(row)
}

fn count(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let count = reader.varint()?;
    if count <= COUNT_MAX { Ok(count) } else { Err(reader.malformed()) }
}
