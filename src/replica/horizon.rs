//! What a replica tells and does for the horizon: its table in bytes, meetings, and what a complete session proves.
//!
//! Easy to get wrong: the proof goes through the session as bytes and comes back to the same store, but a session is a peer's
//! doing in part, so it is decoded like anything from outside.

use sync_proto::{Meeting, Origin};

use super::DbReplica;
use crate::codec::{Malformed, Reader, put_varint};
use crate::error::{Error, Result};
use crate::horizon::{Done, Table};
use crate::types::NodeId;

impl DbReplica {
    pub(super) fn meet_now(
        &self,
        peer: Origin,
        theirs: Option<&[u8]>,
        closes: bool,
        as_of: u64,
    ) -> Result<Meeting> {
        let theirs = theirs.map(|bytes| Table::from_bytes(bytes).map_err(malformed)).transpose()?;
        let node = Some(NodeId(peer.node)).filter(|node| node.0 != 0);
        let before = self.db.store().table();
        let met = self.db.store().meet(node, peer.horizon, theirs.as_ref(), closes, as_of)?;
        let is_new = met.table != *theirs.as_ref().unwrap_or(&before);
        let table = if is_new { met.table.to_bytes() } else { Vec::new() };
        let proof = met.proves.map_or_else(Vec::new, |proves| proof(met.cut, proves));
        Ok(Meeting { cut: met.cut, proof, table })
    }

    pub(super) fn complete_now(&self, node: u64, proof: &[u8]) -> Result<()> {
        let (cut, proves) = read_proof(proof).map_err(malformed)?;
        self.db.store().complete(NodeId(node), cut, proves)
    }
}

fn malformed(_: Malformed) -> Error {
    Error::invalid("a table of members that makes no sense")
}

fn proof(cut: u64, Done { through, members, own_row, peer_row }: Done) -> Vec<u8> {
    let mut out = Vec::new();
    [cut, through, members, own_row, peer_row].into_iter().for_each(|number| put_varint(&mut out, number));
    out
}

fn read_proof(bytes: &[u8]) -> Result<(u64, Done), Malformed> {
    let mut reader = Reader::new(bytes);
    let (cut, through, members) = (reader.varint()?, reader.varint()?, reader.varint()?);
    let (own_row, peer_row) = (reader.varint()?, reader.varint()?);
    Ok((cut, Done { through, members, own_row, peer_row }))
}
