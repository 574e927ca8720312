//! A model of how an account's lock is taken over from a process that does not let go of it
//! (docs/FILEFORMAT.md, "Succession"), and all that can happen in it: every order in which
//! processes take their steps, so that each may be stopped anywhere for as long as you
//! like; one of them killed; the power cut, with any part of what was not synced lost.
//!
//! What it models is `src/store/files.rs` and `src/store/succession.rs`, step by step.
//! Each way of doing it wrong is tried as well, to see that the model notices.

mod model;

use model::{Kind, Mistake, Protocol};
use stateright::{Checker, Model};

/// Explores everything that can happen, and returns the properties that did not hold
/// (or, for those that begin with "it happens that", those that never did).
fn explore(protocol: Protocol) -> (Vec<&'static str>, usize) {
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    let wrong = checker.model().properties().into_iter().filter_map(|property| {
        let found = checker.discovery(property.name).is_some();
        (found != property.name.starts_with(model::HAPPENS)).then_some(property.name)
    });
    (wrong.collect(), checker.unique_state_count())
}

const TWO: [Kind; 2] = [Kind::Login { code: 0 }, Kind::Login { code: 0 }];

#[test]
fn any_number_of_successors_lose_no_success_and_let_no_code_serve_twice() {
    let three = vec![Kind::Login { code: 0 }, Kind::Login { code: 0 }, Kind::Login { code: 1 }];
    let (wrong, states) = explore(Protocol::of(three));
    assert_eq!(wrong, [""; 0]);
    assert!(states > 100_000, "{states} states");
    let protocol = Protocol { kills: 1, ..Protocol::of(TWO.to_vec()) };
    assert_eq!(explore(protocol).0, [""; 0]);
}

#[test]
fn a_power_cut_at_any_point_of_a_succession_loses_no_success() {
    let protocol = Protocol { power_cuts: 1, ..Protocol::of(TWO.to_vec()) };
    let (wrong, states) = explore(protocol);
    assert_eq!(wrong, [""; 0]);
    assert!(states > 1_000, "{states} states");
}

#[test]
fn who_reads_without_a_lock_during_a_succession_sees_no_older_account() {
    let processes = [&TWO[..], &[Kind::Read]].concat();
    assert_eq!(explore(Protocol { kills: 1, ..Protocol::of(processes) }).0, [""; 0]);
}

#[test]
fn what_an_admin_issues_or_removes_during_a_succession_stays_so() {
    for (admin, openings, kills) in
        [(&[Kind::Issue][..], 3, 1), (&[Kind::Remove], 3, 1), (&[Kind::Issue, Kind::Remove], 1, 0)]
    {
        let processes = [&[Kind::Login { code: 0 }][..], admin].concat();
        let protocol = Protocol { openings, kills, ..Protocol::of(processes) };
        assert_eq!(explore(protocol).0, [""; 0], "{admin:?}");
    }
}

#[test]
fn the_model_notices_each_way_of_doing_it_wrong() {
    let twice = "a code serves once";
    let lost = "a success that was reported is in the account";
    let unreadable = "the account can be read";
    let stuck = "it happens that a successor is admitted";
    for (mistake, processes, noticed) in [
        (Mistake::NoLook, TWO.to_vec(), twice),
        (Mistake::OneFile, TWO.to_vec(), stuck),
        (Mistake::CopyBeforeExchange, TWO.to_vec(), twice),
        (Mistake::LinkEndsFirst, TWO.to_vec(), unreadable),
        (Mistake::NamesNotSynced, TWO.to_vec(), lost),
        (Mistake::FileNotSynced, TWO.to_vec(), unreadable),
        (Mistake::CopyNotSynced, TWO.to_vec(), unreadable),
        (Mistake::TemporaryStays, vec![Kind::Login { code: 0 }, Kind::Issue], unreadable),
    ] {
        let protocol =
            Protocol { power_cuts: 1, mistake: Some(mistake), ..Protocol::of(processes) };
        let (wrong, _) = explore(protocol);
        assert!(wrong.contains(&noticed), "{mistake:?}: {wrong:?}");
    }
}
