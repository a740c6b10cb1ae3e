//! Tables by themselves.

use crate::horizon::{Standing, Table};
use crate::types::NodeId;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

fn meet(table: &mut Table, own: NodeId, peer: NodeId) {
    for (own, peer) in [(own, peer), (peer, own)] {
        let session = table.begin(own, peer, table);
        table.complete(own, peer, session);
    }
}

fn of_two() -> Table {
    let mut table = Table::of_one(A);
    table.admit(B);
    table.joined(B);
    table
}

#[test]
fn a_set_of_one_has_proven_what_it_has_closed() {
    let mut table = Table::of_one(A);
    assert_eq!(table.horizon(), 0);
    table.close(A, 7);
    assert_eq!(table.horizon(), 7);
}

#[test]
fn a_horizon_needs_both_sides_closed_and_both_sides_done() {
    let mut table = of_two();
    table.close(A, 7);
    meet(&mut table, A, B);
    assert_eq!(table.horizon(), 0, "B had closed nothing");
    table.close(B, 5);
    let session = table.begin(A, B, &table);
    table.complete(A, B, session);
    assert_eq!(table.horizon(), 0, "B has not said that it is done");
    assert_eq!(table.hindrances(), [(B, A)]);
    meet(&mut table, A, B);
    assert_eq!(table.horizon(), 5);
}

#[test]
fn no_horizon_is_believed_that_own_sessions_have_not_reached_whatever_is_lost_or_said() {
    let mut table = of_two();
    [A, B].into_iter().for_each(|node| table.close(node, 7));
    meet(&mut table, A, B);
    [A, B].into_iter().for_each(|node| table.close(node, 9));
    assert_eq!(table.horizon_max(A), 7, "closed, and finished with nobody");
    table.lost(A);
    assert_eq!((table.horizon(), table.horizon_max(A)), (0, 7), "B may have raised its horizon before");
    table.announce(B, 100);
    assert_eq!(table.horizon_max(A), 7, "that is B's word");
    table.admit(C);
    assert_eq!(table.horizon_max(A), 7, "who joins has raised nothing");
    table.joined(C);
    assert_eq!(table.horizon_max(A), 0, "an owner that A has never met, and that has taken no horizon");
    table.announce(C, 6);
    assert_eq!(table.horizon_max(A), 6, "it joined at that");
    table.announce(A, 20);
    assert_eq!(table.horizon_max(A), 20);
}

#[test]
fn a_lost_span_a_joiner_and_an_absent_owner_hold_the_horizon_until_they_have_met_all() {
    let mut table = of_two();
    for node in [A, B] {
        table.close(node, 9);
    }
    meet(&mut table, A, B);
    table.lost(B);
    assert_eq!(table.horizon(), 0);
    meet(&mut table, A, B);
    assert_eq!(table.horizon(), 9);
    table.admit(C);
    assert_eq!(table.horizon(), 0);
    for node in [A, B, C] {
        assert!(!table.is_known_to_all());
        table.acknowledge(node);
    }
    assert!(table.is_known_to_all());
    table.expel(C);
    assert_eq!(table.horizon(), 0, "the sessions were held among other members");
    meet(&mut table, A, B);
    assert_eq!(table.horizon(), 9);
    table.admit(C);
    assert_eq!(table.standing(C), Some(Standing::Expelled), "an expelled id never comes back");
}

#[test]
fn tables_merge_whatever_the_order_and_however_often() {
    let (mut left, mut right) = (of_two(), of_two());
    left.close(A, 4);
    left.admit(C);
    left.opened(A, 2);
    right.close(B, 6);
    right.lost(B);
    right.expel(C);
    let mut there = left.clone();
    there.merge(&right);
    let mut back = right.clone();
    back.merge(&left);
    back.merge(&left);
    assert_eq!(there, back);
}

#[test]
fn a_store_that_meets_what_it_has_forgotten_was_restored() {
    let backup = of_two();
    let mut table = of_two();
    for node in [A, B] {
        table.close(node, 3);
    }
    meet(&mut table, A, B);
    assert!(backup.is_restored(A, &table));
    let mut later = backup.clone();
    later.close(A, 8);
    assert!(later.is_restored(A, &table), "it has forgotten that it was done");
    assert!(!table.is_restored(A, &backup));
}

#[test]
fn a_table_comes_back_from_its_bytes_and_damaged_bytes_do_no_harm() {
    let mut table = of_two();
    table.close(A, 1 << 50);
    table.close(B, 9);
    table.opened(B, 300);
    table.lost(A);
    table.expel(C);
    meet(&mut table, A, B);
    let bytes = table.to_bytes();
    assert_eq!(Table::from_bytes(&bytes), Ok(table));
    for len in 0..bytes.len() {
        assert!(Table::from_bytes(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn what_a_table_has_more_than_before_makes_the_one_before_equal() {
    let before = of_two();
    let mut after = before.clone();
    after.close(B, 5);
    after.admit(C);
    let more = after.since(&before);
    assert_eq!(more.row(A), Default::default(), "A has said nothing new");
    let mut again = before;
    again.merge(&more);
    assert_eq!(again, after);
}
