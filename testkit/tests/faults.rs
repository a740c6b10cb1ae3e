//! Every row of the fault table for a moment, and every planted bug until it is caught. The command `testkit` runs the same for
//! as long as it is told.

use std::path::PathBuf;

use testkit::planted;
use testkit::rows;
use testkit::run::Run;

/// Runs `row` until it has tried `states`.
fn check(row: &str, states: u64) {
    let row = rows::find(row).expect("the table has the row");
    let goes_on = |runs| runs < states;
    let child = Some(PathBuf::from(env!("CARGO_BIN_EXE_testkit")));
    let mut run = Run::new(row.name, &goes_on).with_child(child);
    (row.run)(&mut run);
    if let Some(reason) = &run.skipped {
        println!("{} was SKIPPED: {reason}", row.name);
    }
    let told: Vec<String> = run.failures.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    // Else nobody would look at whether the row has met what it is about.
    assert!(run.skipped.is_some() || !run.is_too_short, "{} states are too few for {}", run.runs, row.name);
}

#[test]
fn f1_a_killed_process_loses_no_acknowledged_write() {
    check("F1", 100);
}

#[test]
fn f2_a_power_cut_takes_back_at_most_what_was_not_synced() {
    check("F2", 10_000);
}

#[test]
fn f3_recovery_may_be_cut_off_as_well() {
    check("F3", 5_000);
}

#[test]
fn f4_the_same_holds_under_a_real_file_system() {
    check("F4", 8);
}

#[test]
fn f5_of_a_cut_tail_the_whole_commits_stay() {
    check("F5", 3_000);
}

#[test]
fn f6_damage_in_the_log_is_never_silent() {
    check("F6", 5_000);
}

#[test]
fn f7_damage_in_other_files_is_told_or_mended() {
    check("F7", 5_000);
}

#[test]
fn f8_what_is_lost_is_told_and_healed_from_a_replica() {
    check("F8", 100);
}

#[test]
fn f9_whichever_operation_fails_nothing_acknowledged_is_lost() {
    check("F9", 700);
}

#[test]
fn f10_a_failed_fsync_is_never_believed_again() {
    check("F10", 300);
}

#[test]
fn f11_a_full_disk_loses_nothing() {
    check("F11", 700);
}

#[test]
fn f12_interrupted_calls_are_made_again() {
    check("F12", 10);
}

#[test]
fn f13_a_store_is_open_once() {
    check("F13", 2);
}

#[test]
fn f14_no_length_in_a_file_is_believed() {
    check("F14", 2_000);
}

#[test]
fn f15_golden_files_open_and_later_ones_are_refused() {
    check("F15", 1);
}

#[test]
fn f16_stamps_rise_whatever_clocks_do() {
    check("F16", 100);
}

#[test]
fn f17_no_deleted_key_returns_whoever_purges() {
    check("F17", 200);
}

#[test]
fn f18_replicas_become_equal_once_the_network_lets_them() {
    check("F18", 10_000);
}

#[test]
fn f19_whatever_is_said_the_session_ends_typed() {
    check("F19", 600);
}

#[test]
fn f21_a_liar_is_left_in_bounded_time() {
    check("F21", 200);
}

#[test]
fn f24_snapshots_are_prefixes_beside_everything_else() {
    check("F24", 2_000);
}

#[test]
fn every_planted_bug_is_caught_by_each_row_that_should() {
    let missed = planted::all().flat_map(|planted| {
        let caught = planted.look().into_iter().filter(|caught| caught.by.is_none());
        caught
            .map(|caught| format!("{} is missed by {} in {} states", planted.name, caught.row, caught.states))
    });
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
