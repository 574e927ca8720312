//! A lock that another process does not let go of: taken over, by whom, and what becomes
//! of whoever held it. What can happen in between is explored by tests/it/succession.rs.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Instant;

use super::super::backend::{Backend, Change, CommitError, Target};
use super::super::slots;
use super::*;

/// The longest that anybody waits, and what a busy machine takes besides.
const SOON: Duration = Duration::from_secs(6);

/// A store whose locks are waited for shortly: what follows is the same.
fn hasty_store() -> (tempfile::TempDir, Store) {
    let (dir, mut store) = store();
    store.backend.patience = Duration::from_millis(100);
    (dir, store)
}

fn amend(store: &Store, second: u64) -> Result<(), StoreError> {
    store.amend(&totp().user, |account| {
        Ok::<_, StoreError>(State { last_login: Some(Timestamp(second)), ..account.state })
    })
}

fn last_login(store: &Store) -> Option<Timestamp> {
    store.inspect(&totp().user).unwrap().unwrap().state.last_login
}

fn names(store: &Store) -> Vec<String> {
    let entries = std::fs::read_dir(store.path().join("state")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Commits what a holder had begun.
fn commit(store: &Store, claim: &super::super::files::Lock) -> Result<(), CommitError> {
    let state = State { last_login: Some(Timestamp(99)), ..fresh().state };
    let snapshot = slots::encode(2, &state);
    let target = Target::Over(slots::Slot::Second);
    let change = Change { state: Some((&snapshot, target)), ..Change::default() };
    store.backend.commit(&totp().user, claim, change)
}

#[test]
fn a_lock_that_is_held_is_taken_over_and_who_held_it_is_named_and_refused() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let user = totp().user;
    let (_kept, held) = store.backend.claim(&user).unwrap().unwrap();
    let began = Instant::now();
    amend(&store, 7).unwrap();
    assert!((Duration::from_secs(2)..SOON).contains(&began.elapsed()), "{:?}", began.elapsed());
    let [taken] = &store.take_overs().take()[..] else { panic!("one was taken over") };
    let holder = taken.holder.to_string();
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    assert!(taken.to_string().contains(&holder), "{taken}");
    assert_eq!(taken.user, user);
    // Whoever comes next waits for nobody.
    let began = Instant::now();
    amend(&store, 8).unwrap();
    assert!(began.elapsed() < Duration::from_secs(1));
    // The holder wakes.
    let refused = commit(&store, &held);
    assert!(matches!(refused, Err(CommitError::Error(StoreError::PassedOver(_)))));
    let refused = store.backend.commit(&user, &held, Change::default());
    assert!(matches!(refused, Err(CommitError::Error(StoreError::PassedOver(_)))));
    assert_eq!(last_login(&store), Some(Timestamp(8)));
    assert_eq!(names(&store), ["alice"], "nothing is left behind");
    let mode = std::fs::metadata(state_path(&store)).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn what_the_holder_had_committed_is_in_the_account_and_its_successor_may_be_held_too() {
    let (_dir, store) = hasty_store();
    store.issue(&fresh(), Replace::No).unwrap();
    let user = totp().user;
    let (_kept, first) = store.backend.claim(&user).unwrap().unwrap();
    assert!(commit(&store, &first).is_ok());
    let (_kept, second) = store.backend.claim(&user).unwrap().unwrap();
    let (_kept, third) = store.backend.claim(&user).unwrap().unwrap();
    assert_eq!(last_login(&store), Some(Timestamp(99)));
    assert!(commit(&store, &first).is_err() && commit(&store, &second).is_err());
    store.backend.release(third).unwrap();
    amend(&store, 100).unwrap();
    assert_eq!(last_login(&store), Some(Timestamp(100)));
    let told = crate::login::ports::Accounts::take_overs(&store);
    assert_eq!(told.len(), 2);
    let pid = std::process::id().to_string();
    assert!(told.iter().all(|line| line.contains(&pid)), "{told:?}");
    drop((first, second));
}

/// Leaves the state as it is after an exchange: twice, as if the second successor had
/// been killed too. Returns the name of the file displaced last.
fn displace_twice(store: &Store) -> String {
    let state = store.path().join("state");
    let mut displaced = String::new();
    for number in [[7; 8], [8; 8]] {
        let name = base32::encode(base32::Alphabet::Rfc4648Lower { padding: false }, &number);
        displaced = format!(".{name}-alice");
        std::fs::rename(state_path(store), state.join(&displaced)).unwrap();
        std::fs::write(state_path(store), slots::stand_in(slots::Link(number))).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(state_path(store), private).unwrap();
    }
    displaced
}

#[test]
fn of_a_file_that_is_no_longer_in_place_nothing_is_taken_over_and_nothing_is_left() {
    let (_dir, store) = hasty_store();
    store.issue(&fresh(), Replace::No).unwrap();
    let user = totp().user;
    let held = store.backend.open_state(&user, Access::Exclusive).unwrap().unwrap();
    let successor = store.path().join("state/.successor");
    std::fs::copy(state_path(&store), &successor).unwrap();
    std::fs::rename(successor, state_path(&store)).unwrap();
    assert!(store.backend.take_over(&user, &held).unwrap().is_none());
    assert_eq!(names(&store), ["alice"]);
    assert!(store.take_overs().take().is_empty());
}

#[test]
fn what_killed_successors_displaced_goes_with_the_account() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    displace_twice(&store);
    assert_eq!(names(&store).len(), 3);
    assert_eq!(store.remove(&totp().user, Timestamp(5)).unwrap(), RemoveOutcome::Record);
    assert_eq!(names(&store), [""; 0]);
}

#[test]
fn an_account_whose_successor_was_killed_is_read_and_used_as_ever() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    amend(&store, 5).unwrap();
    let displaced = displace_twice(&store);
    assert_eq!(last_login(&store), Some(Timestamp(5)));
    assert_eq!(names(&store).len(), 3);
    let mut problems = 0;
    examine(store.path(), store.backend.owner, &mut |_| problems += 1);
    assert_eq!(problems, 0);
    amend(&store, 6).unwrap();
    assert_eq!((last_login(&store), names(&store)), (Some(Timestamp(6)), vec!["alice".into()]));
    // And one whose displaced state is lost is no new account.
    std::fs::write(state_path(&store), slots::stand_in(slots::Link([9; 8]))).unwrap();
    assert!(matches!(phase(&store), Err(StoreError::State { .. })), "{displaced}");
    assert!(matches!(amend(&store, 7), Err(StoreError::State { .. })));
    let repaired = store.repair(&totp().user, Timestamp(3_000), 1, Scope::Lost).unwrap();
    assert!(matches!(repaired, RepairOutcome::StateRebuilt { .. }));
    assert!(matches!(phase(&store), Ok(Phase::Active { .. })));
}

#[test]
fn an_account_can_be_removed_issued_and_repaired_while_another_holds_its_lock() {
    let (_dir, store) = hasty_store();
    let user = totp().user;
    for number in 1..=3_u8 {
        let generation = Generation([number; 16]);
        let account =
            Account { record: Record { generation, ..totp() }, state: State::fresh(generation) };
        store.issue(&account, Replace::Yes).unwrap();
        let (_kept, held) = store.backend.claim(&user).unwrap().unwrap();
        match number {
            1 => assert_eq!(store.remove(&user, Timestamp(5)).unwrap(), RemoveOutcome::Record),
            2 => assert_eq!(store.issue(&fresh(), Replace::Yes).unwrap(), IssueOutcome::New),
            _ => {
                store
                    .backend
                    .commit(
                        &user,
                        &held,
                        Change {
                            state: Some((&[0; 512], Target::OverBoth(slots::Slot::First))),
                            ..Change::default()
                        },
                    )
                    .ok()
                    .unwrap();
                let repaired = store.repair(&user, Timestamp(3_000), 1, Scope::Lost).unwrap();
                assert!(matches!(repaired, RepairOutcome::StateRebuilt { .. }));
            }
        }
        let after = store.inspect(&user).unwrap();
        // The holder wakes, and would put a record of its own in force.
        let text =
            std::fs::read_to_string(store.path().join("users/alice.toml")).unwrap_or_default();
        let change = Change { record: Some("theirs"), ..Change::default() };
        let refused = store.backend.commit(&user, &held, change);
        assert!(matches!(refused, Err(CommitError::Error(StoreError::PassedOver(_)))), "{number}");
        assert_eq!(store.inspect(&user).unwrap(), after, "{number}");
        let now =
            std::fs::read_to_string(store.path().join("users/alice.toml")).unwrap_or_default();
        assert_eq!(text, now);
        store.backend.abandon(&user, held).unwrap();
        assert_eq!(store.inspect(&user).unwrap(), after, "{number}");
    }
}

#[test]
fn who_only_reads_waits_no_longer_either_and_says_who_holds_it() {
    let (_dir, store) = hasty_store();
    store.issue(&fresh(), Replace::No).unwrap();
    let (_kept, _held) = store.backend.claim(&totp().user).unwrap().unwrap();
    std::fs::write(state_path(&store), vec![0; FILE_BYTES]).unwrap();
    let began = Instant::now();
    let error = store.inspect(&totp().user).unwrap_err();
    assert!(began.elapsed() < SOON);
    assert!(matches!(error, StoreError::Held { obstacle: None, .. }), "{error}");
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
}

#[test]
fn what_killed_successors_left_behind_is_removed_by_init_and_what_is_in_use_is_not() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let state = store.path().join("state");
    for name in [".aaaaaaaaaaaaa-alice", ".bbbbbbbbbbbbb-carol", ".aaaaaaaaaaaa1-alice"] {
        std::fs::write(state.join(name), slots::stand_in(slots::Link([1; 8]))).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(state.join(name), private).unwrap();
    }
    let inode = || std::fs::metadata(state_path(&store)).unwrap().ino();
    let before = inode();
    Store::init(store.path(), store.backend.owner).unwrap();
    assert_eq!(names(&store), [".aaaaaaaaaaaa1-alice", "alice"]);
    assert_eq!(inode(), before);
    let _held = store.backend.claim(&totp().user).unwrap().unwrap();
    std::fs::write(state.join(".aaaaaaaaaaaaa-alice"), "").unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(state.join(".aaaaaaaaaaaaa-alice"), private).unwrap();
    let began = Instant::now();
    Store::init(store.path(), store.backend.owner).unwrap();
    assert!(began.elapsed() < SOON);
    assert!(matches!(phase(&store), Ok(Phase::Pending)));
}

#[test]
fn a_second_init_waits_no_longer_than_anybody() {
    use rustix::fs::{FlockOperation, flock};
    let (_dir, store) = store();
    let top = File::open(store.path()).unwrap();
    flock(&top, FlockOperation::LockExclusive).unwrap();
    let began = Instant::now();
    let error = Store::init(store.path(), store.backend.owner).unwrap_err();
    assert!(matches!(error, StoreError::Held { .. }), "{error}");
    assert!(began.elapsed() < SOON);
}

#[test]
fn what_was_forked_while_a_lock_was_held_holds_it_no_longer_than_its_parent() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    for ends in ["released", "dropped"] {
        let (_kept, claim) = store.backend.claim(&totp().user).unwrap().unwrap();
        // As fork(2) hands it on.
        let child = claim.file.state().file.try_clone().unwrap();
        match ends {
            "released" => store.backend.release(claim).unwrap(),
            _ => drop(claim),
        }
        let began = Instant::now();
        amend(&store, 7).unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{ends}");
        assert_eq!(store.take_overs().take(), [], "{ends}");
        drop(child);
    }
}
