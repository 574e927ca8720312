//! The store as a whole: rules of accounts over real files.

mod batch;
mod keys;
mod one_login;
mod persons;
mod services;
mod swaps;
mod takes_over;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::PathBuf;
use std::time::Duration;

use super::backend::Backend;
use super::files::{MARKER, MARKER_TEXT};
use super::lock::{Access, PATIENCE, Wait, Waited};
use super::slots::FILE_BYTES;
use super::*;
use crate::account::tests::record;
use crate::account::{
    Account, Generation, Phase, Record, Recovery, Salt, State, Timestamp, Uid, UserName,
};
use crate::callers::Asker;
use crate::code::{MovingFactor, Period, Step};
use crate::config::Config;
use crate::login::{self, Grant, Refusal, Verdict};

/// A store of our own, whoever runs the tests.
fn store() -> (tempfile::TempDir, Store) {
    let owner = rustix::process::geteuid().as_raw();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::init(&dir.path().join("store"), owner).unwrap();
    (dir, store)
}

fn totp() -> Record {
    record(MovingFactor::Totp { period: Period::default() })
}

fn fresh() -> Account {
    Account::fresh(totp())
}

fn state_path(store: &Store) -> PathBuf {
    store.path().join("state/alice")
}

fn activate(store: &Store) {
    store
        .amend(&totp().user, |account| {
            let activated_at = Some(Timestamp(5));
            Ok::<_, StoreError>(State { activated_at, ..account.state })
        })
        .unwrap();
}

fn phase(store: &Store) -> Result<Phase, StoreError> {
    Ok(store.inspect(&totp().user)?.unwrap().phase())
}

#[test]
fn an_active_account_never_goes_back_to_pending_by_a_damaged_slot() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    activate(&store);
    let good = std::fs::read(state_path(&store)).unwrap();
    for offset in [0, 4096] {
        for at in offset..offset + 512 {
            let mut damaged = good.clone();
            damaged[at] ^= 0x10;
            std::fs::write(state_path(&store), &damaged).unwrap();
            assert_eq!(phase(&store).unwrap(), Phase::Active { since: Timestamp(5) }, "{at}");
        }
    }
}

#[test]
fn a_state_of_any_other_size_is_refused_and_repaired_as_active() {
    for size in [0, 1, 512, 4096, 8191, 8193, 100_000] {
        let (_dir, store) = store();
        store.issue(&fresh(), Replace::No).unwrap();
        File::options().write(true).open(state_path(&store)).unwrap().set_len(size).unwrap();
        assert!(phase(&store).is_err(), "{size}");
        let now = Timestamp(3_000);
        assert_eq!(
            store.repair(&totp().user, now, 1, Scope::Lost).unwrap(),
            RepairOutcome::StateRebuilt { until: Timestamp(3_060) }
        );
        let account = store.inspect(&totp().user).unwrap().unwrap();
        assert_eq!(account.phase(), Phase::Active { since: now }, "{size}");
        assert_eq!(account.state.token(crate::account::TokenId::FIRST).next, Step(102));
        assert_eq!(store.repair(&totp().user, now, 1, Scope::Lost).unwrap(), RepairOutcome::Sound);
    }
}

#[test]
fn an_account_issued_anew_is_pending_with_the_new_secret_and_the_old_one_whole_until_then() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    activate(&store);
    assert_eq!(store.issue(&fresh(), Replace::No).unwrap(), IssueOutcome::AlreadyThere);
    assert!(matches!(phase(&store), Ok(Phase::Active { .. })));
    let old = std::fs::read(store.path().join("users/alice.toml")).unwrap();
    let new = Record { generation: Generation([9; 16]), ..totp() };
    assert_eq!(store.issue(&Account::fresh(new), Replace::Yes).unwrap(), IssueOutcome::New);
    assert!(matches!(phase(&store), Ok(Phase::Pending)));
    // As if the rename had never happened.
    std::fs::write(store.path().join("users/alice.toml"), old).unwrap();
    assert!(matches!(phase(&store), Ok(Phase::Active { .. })));
}

#[test]
fn an_account_is_issued_with_the_state_that_it_had_elsewhere_whatever_was_there_before() {
    let (_dir, store) = store();
    let token = crate::account::TokenState { next: Step(57), drift: -3, resync: Step(0) };
    for generation in [Generation([8; 16]), Generation([9; 16])] {
        let record = Record { generation, ..totp() };
        let state = State { activated_at: Some(Timestamp(5)), ..State::fresh(generation) };
        let state = state.with_token(crate::account::TokenId::FIRST, token);
        let account = Account { record, state };
        assert_eq!(store.issue(&account, Replace::Yes).unwrap(), IssueOutcome::New);
        assert_eq!(store.inspect(&totp().user).unwrap(), Some(account));
    }
}

#[test]
fn a_broken_account_is_not_taken_for_one_that_is_enabled() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    std::fs::remove_file(state_path(&store)).unwrap();
    assert!(matches!(store.issue(&fresh(), Replace::No), Err(StoreError::State { .. })));
    assert!(!state_path(&store).exists(), "nothing was made beside it");
    // Its codes are spent as far as they can be: which were was lost with the state.
    assert_eq!(store.issue(&fresh(), Replace::Yes).unwrap(), IssueOutcome::NewMovedOn);
}

#[test]
fn of_a_damaged_record_without_a_state_the_record_is_reported() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    std::fs::write(store.path().join("users/alice.toml"), "nonsense").unwrap();
    std::fs::remove_file(state_path(&store)).unwrap();
    assert!(matches!(phase(&store), Err(StoreError::Record { .. })));
    assert!(matches!(login(&store, 2001, b"755224"), Err(StoreError::Record { .. })));
}

#[test]
fn a_name_too_long_for_a_file_has_no_record_and_cannot_get_one() {
    let (_dir, store) = store();
    let long = UserName::new("Ü".repeat(100)).unwrap();
    assert!(store.load(&long, 0).unwrap().is_none());
    let record = Record { user: long, ..totp() };
    assert!(matches!(store.issue(&Account::fresh(record), Replace::No), Err(StoreError::Name(_))));
}

#[test]
fn init_is_harmless_to_repeat_and_repairs_no_mode() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let path = store.path().to_owned();
    Store::init(&path, store.backend.owner).unwrap();
    assert!(matches!(phase(&store), Ok(Phase::Pending)));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Store::init(&path, store.backend.owner), Err(StoreError::Unsafe { .. })));
}

#[test]
fn what_is_made_is_for_the_owner_alone() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    for (name, expected) in [
        ("", 0o700),
        ("users", 0o700),
        ("state", 0o700),
        ("users/alice.toml", 0o600),
        ("state/alice", 0o600),
    ] {
        let metadata = std::fs::metadata(store.path().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{name}");
    }
}

#[test]
fn what_an_issue_that_was_killed_left_behind_is_removed_by_init_and_with_its_record() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let users = store.path().join("users");
    let leave = |name: &&str| std::fs::write(users.join(name), "a secret").unwrap();
    let left = |name| users.join(name).exists();
    let names = [".new-alice.toml", ".new-bob.toml", ".new-", "carol"];
    names.iter().for_each(leave);
    store.remove(&totp().user, Timestamp(60)).unwrap();
    assert_eq!(names.map(left), [false, true, true, true]);
    names.iter().for_each(leave);
    Store::init(store.path(), store.backend.owner).unwrap();
    assert_eq!(names.map(left), [false, false, false, true]);
}

#[test]
fn everybody_who_has_a_record_is_listed_and_nobody_else() {
    let (_dir, store) = store();
    for (name, uid) in [("alice", 2001), ("Bob", 2002)] {
        let (user, uid) = (UserName::new(name).unwrap(), Uid::Is(uid));
        let record = Record { user, uid, ..totp() };
        store.issue(&Account::fresh(record), Replace::No).unwrap();
    }
    for name in [".new-carol", "carol", "Dave.toml"] {
        std::fs::write(store.path().join("users").join(name), "").unwrap();
    }
    let mut users: Vec<_> = store.users().unwrap().map(|user| user.unwrap()).collect();
    users.sort();
    assert_eq!(users, ["Bob", "alice"].map(|name| UserName::new(name).unwrap()));
}

/// A login's attempt with this answer.
fn attempt_with(answer: &login::Answer, now: Timestamp) -> login::Attempt<'_> {
    let circumstances = login::Circumstances {
        password: &login::PasswordCheck::InStack,
        rhost: None,
        service: "sshd",
        asker: Asker::Root,
        view: login::View::Everything,
        groups: &[],
        now,
    };
    login::Attempt { circumstances, answer, tries_left: 0 }
}

/// Judges what `typed` is worth for alice's account, as a login would.
fn login(store: &Store, uid: u32, typed: &[u8]) -> Result<Verdict, StoreError> {
    let answer = login::Answer::read(typed);
    let attempt = attempt_with(&answer, Timestamp(5));
    store.update(&totp().user, uid, None, |account| {
        login::judge(account, &attempt, &Config::default())
    })
}

#[test]
fn a_code_that_has_admitted_is_spent_on_disk() {
    let (_dir, store) = store();
    let disabled = Verdict::Refused(Refusal::Disabled);
    assert_eq!(login(&store, 2001, b"755224").unwrap(), disabled);
    store.issue(&Account::fresh(record(MovingFactor::Hotp)), Replace::No).unwrap();
    let activated = Verdict::Admitted(Grant::Activated);
    assert_eq!(login(&store, 2001, b"755224").unwrap(), activated);
    assert_eq!(phase(&store).unwrap(), Phase::Active { since: Timestamp(5) });
    let spent = Verdict::Refused(Refusal::SpentCode);
    assert_eq!(login(&store, 2001, b"755224").unwrap(), spent);
}

#[test]
fn a_record_of_another_uid_is_neither_read_nor_judged() {
    let (_dir, store) = store();
    let user = &totp().user;
    assert!(store.load(user, 2001).unwrap().is_none());
    store.issue(&Account::fresh(record(MovingFactor::Hotp)), Replace::No).unwrap();
    let account = Account::fresh(record(MovingFactor::Hotp));
    let loaded = store.load(user, 2001).unwrap().map(|loaded| loaded.account);
    assert_eq!(loaded, Some(account.clone()));
    assert!(matches!(store.load(user, 2002), Err(StoreError::Uid { actual: 2002, .. })));
    for uid in [Some(2001), None] {
        assert_eq!(store.inspect_as(user, uid).unwrap(), Some(account.clone()));
    }
    let inspected = store.inspect_as(user, Some(2002));
    assert!(matches!(inspected, Err(StoreError::Uid { actual: 2002, .. })));
    let judged = login(&store, 2002, b"755224");
    assert!(matches!(judged, Err(StoreError::Uid { actual: 2002, .. })));
    assert_eq!(store.inspect(user).unwrap(), Some(account), "nothing was spent");
}

#[test]
fn what_has_changed_since_it_was_loaded_is_judged_as_it_is_now() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let user = &totp().user;
    let sees = |loaded: &AccountSnapshot, expected: &Account| {
        let judge = |account: Option<&Account>| {
            assert_eq!(account, Some(expected));
            login::judge(
                None,
                &attempt_with(&login::Answer::Empty, Timestamp(5)),
                &Config::default(),
            )
        };
        store.update(user, 2001, Some(loaded), judge).unwrap();
    };
    let loaded = store.load(user, 2001).unwrap().unwrap();
    sees(&loaded, &fresh());
    activate(&store);
    let active = store.inspect(user).unwrap().unwrap();
    assert_ne!(active, fresh());
    sees(&loaded, &active);
    let issuer = "elsewhere.example.org".to_owned();
    let changed = Account { record: Record { issuer, ..totp() }, ..active };
    store.amend_record(user, Timestamp(60), |_| Ok::<_, StoreError>(changed.clone())).unwrap();
    sees(&loaded, &changed);
}

#[test]
fn what_was_loaded_for_one_user_is_not_taken_for_anothers_account() {
    let (_dir, store) = store();
    store.issue(&Account::fresh(record(MovingFactor::Hotp)), Replace::No).unwrap();
    let alice = store.load(&totp().user, 2001).unwrap().unwrap();
    for (from, to) in [("users/alice.toml", "users/bob.toml"), ("state/alice", "state/bob")] {
        std::fs::copy(store.path().join(from), store.path().join(to)).unwrap();
    }
    let bob = UserName::new("bob").unwrap();
    let judge = |_: Option<&Account>| panic!("alice's account was judged as bob's");
    let judged = store.update(&bob, 2001, Some(&alice), judge);
    assert!(matches!(judged, Err(StoreError::Record { .. })));
}

#[test]
fn an_account_can_be_changed_in_both_its_halves_without_being_issued_anew() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let issuer = "elsewhere.example.org".to_owned();
    let changed = Account {
        record: Record { issuer, ..totp() },
        state: State { last_login: Some(Timestamp(6)), ..fresh().state },
    };
    let change = |_: &Account| Ok::<_, StoreError>(changed.clone());
    store.amend_record(&totp().user, Timestamp(60), change).unwrap();
    assert_eq!(store.inspect(&totp().user).unwrap(), Some(changed));
}

#[test]
fn a_sound_account_is_read_without_waiting_for_its_lock() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let _claim = store.backend.claim(&totp().user).unwrap().unwrap();
    assert_eq!(store.inspect(&totp().user).unwrap(), Some(fresh()));
}

#[test]
fn what_is_not_sound_while_it_is_changed_is_read_when_that_is_done() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let sound = std::fs::read(state_path(&store)).unwrap();
    let (_kept, claim) = store.backend.claim(&totp().user).unwrap().unwrap();
    let file = File::options().write(true).open(state_path(&store)).unwrap();
    file.write_all_at(&[0; FILE_BYTES], 0).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| store.inspect(&totp().user));
        std::thread::sleep(Duration::from_millis(100));
        file.write_all_at(&sound, 0).unwrap();
        drop(claim);
        assert_eq!(reader.join().unwrap().unwrap(), Some(fresh()));
    });
}

#[test]
fn whoever_reads_while_others_write_finds_a_sound_account_and_never_an_older_one() {
    let (_dir, store) = store();
    let user = totp().user;
    let issue = |generation: u8| {
        let generation = Generation([generation; 16]);
        let record = Record { generation, ..totp() };
        store.issue(&Account { record, state: State::fresh(generation) }, Replace::Yes)
    };
    issue(0).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for generation in 1..=u8::MAX {
                issue(generation).unwrap();
                for login in 1..=4 {
                    let last_login = Some(Timestamp(login));
                    let change = |account: &Account| {
                        Ok::<_, StoreError>(State { last_login, ..account.state })
                    };
                    store.amend(&user, change).unwrap();
                }
            }
        });
        let mut before = None;
        while !writer.is_finished() {
            let account = store.inspect(&user).unwrap().unwrap();
            let now = Some((account.record.generation.0, account.state.last_login));
            assert!(before <= now, "{before:?}, then {now:?}");
            before = now;
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_repair_ends_a_resynchronization_and_spends_recovery_codes_and_forgets_hosts() {
    let (_dir, store) = store();
    let mut account = fresh();
    let recovery = Recovery { set: 7, salt: Salt([7; 16]), hashes: vec![] };
    account.record.recovery = Some(recovery);
    account.state.activated_at = Some(Timestamp(5));
    let host = crate::account::RememberedHost { key: [1; 16], until: Timestamp(9_000) };
    account.state.hosts[2] = host;
    store.issue(&account, Replace::No).unwrap();
    let id = crate::account::TokenId::FIRST;
    let under_way = crate::account::TokenState { next: Step(90), drift: 2, resync: Step(150) };
    let change = |account: &Account| Ok::<_, StoreError>(account.state.with_token(id, under_way));
    store.amend(&totp().user, change).unwrap();
    let repaired = store.repair(&totp().user, Timestamp(3_000), 1, Scope::Restored).unwrap();
    assert_eq!(repaired, RepairOutcome::Spent { until: Timestamp(3_060) });
    let state = store.inspect(&totp().user).unwrap().unwrap().state;
    let expected = crate::account::TokenState { next: Step(102), drift: 2, resync: Step(0) };
    assert_eq!(state.token(id), expected);
    assert_eq!(state.hosts, State::fresh(state.generation).hosts);
    let spent = crate::account::SpentRecovery { set: 7, bits: u16::MAX };
    assert_eq!(state.recovery, spent);
    assert_eq!(state.activated_at, Some(Timestamp(5)));
}

#[test]
fn a_login_leaves_the_snapshot_before_it_whole_and_an_activation_neither() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let snapshots = || {
        let kept = std::fs::read(state_path(&store)).unwrap();
        [kept[..512].to_vec(), kept[4096..4608].to_vec()]
    };
    let kept_by = |change: &dyn Fn()| {
        let before = snapshots();
        change();
        before.iter().zip(snapshots()).filter(|(before, after)| *before == after).count()
    };
    assert_eq!(kept_by(&|| activate(&store)), 0);
    for second in 6..9 {
        let login = || {
            let last_login = Some(Timestamp(second));
            let change =
                |account: &Account| Ok::<_, StoreError>(State { last_login, ..account.state });
            store.amend(&totp().user, change).unwrap();
        };
        assert_eq!(kept_by(&login), 1, "{second}");
    }
}

#[test]
fn a_login_finds_and_changes_in_the_store_what_the_tool_does() {
    use crate::login::ports::{Accounts, Addition};
    fn of(store: &Store) -> &impl Accounts<Error = LogError, Snapshot = AccountSnapshot> {
        store
    }
    let (_dir, store) = store();
    let (user, port) = (totp().user, of(&store));
    assert!(port.load(&user, 2001).unwrap().is_none());
    let account = Account::fresh(record(MovingFactor::Hotp));
    port.enroll(&account).unwrap();
    assert_eq!(store.inspect(&user).unwrap().unwrap(), account);
    // Whoever has an account keeps it.
    port.enroll(&fresh()).unwrap();
    let loaded = port.load(&user, 2001).unwrap().unwrap();
    assert_eq!(loaded.account, account);
    let answer = login::Answer::read(b"755224");
    let attempt = attempt_with(&answer, Timestamp(5));
    let verdict = port.update(&user, 2001, Some(&loaded), |account| {
        login::judge(account, &attempt, &Config::default())
    });
    assert_eq!(verdict.unwrap(), Verdict::Admitted(Grant::Activated));
    assert!(matches!(phase(&store), Ok(Phase::Active { .. })));
    let kept = || store.inspect(&user).unwrap().unwrap().record.recovery;
    let [first, second] = [1, 2].map(|set| Recovery { set, salt: Salt([7; 16]), hashes: vec![] });
    assert_eq!(port.add_recovery(&user, first.clone()).unwrap(), Addition::Added);
    assert_eq!(kept().as_ref(), Some(&first));
    assert_eq!(port.add_recovery(&user, second).unwrap(), Addition::AlreadyThere);
    assert_eq!(kept().as_ref(), Some(&first));
    let none: [String; 0] = [];
    assert_eq!(port.take_overs(), none);
}

#[test]
fn a_record_that_is_no_text_is_damaged_and_one_that_others_may_read_is_not() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let path = store.path().join("users/alice.toml");
    let damaged = |error: &StoreError| match error {
        StoreError::Record { path: at, what } => Some((at.clone(), *what)),
        _ => None,
    };
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, [0xff; 9]).unwrap();
    let error = store.inspect(&totp().user).unwrap_err();
    assert_eq!(damaged(&error), Some((path.clone(), "it is not text")), "{error}");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = store.inspect(&totp().user).unwrap_err();
    assert_eq!(damaged(&error), None, "{error}");
    assert!(error.to_string().starts_with(&format!("{}: has mode 0644", path.display())));
}

#[test]
fn what_is_wrong_with_a_state_is_said_with_its_path() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    for damage in [&[0; FILE_BYTES][..], b"cut off"] {
        std::fs::write(state_path(&store), damage).unwrap();
        match store.inspect(&totp().user).unwrap_err() {
            StoreError::State { path, .. } => assert_eq!(path, state_path(&store)),
            error => panic!("{error}"),
        }
    }
}

#[test]
fn a_dry_repair_says_what_the_repair_then_does_and_writes_nothing() {
    let user = &totp().user;
    let now = Timestamp(3_000);
    let until = Timestamp(3_060);
    for (by_counter, has_state, scope, expected) in [
        (false, true, Scope::Lost, Some(RepairOutcome::Sound)),
        (false, true, Scope::Restored, Some(RepairOutcome::Spent { until })),
        (false, false, Scope::Lost, Some(RepairOutcome::StateRebuilt { until })),
        (false, false, Scope::Restored, Some(RepairOutcome::StateRebuilt { until })),
        (true, true, Scope::Lost, Some(RepairOutcome::Sound)),
        (true, true, Scope::Restored, Some(RepairOutcome::SpentButCounters { until: now })),
        (true, false, Scope::Lost, None),
    ] {
        let (_dir, store) = store();
        assert_eq!(store.foresee_repair(user, now, 1, scope).unwrap(), RepairOutcome::NoRecord);
        assert!(!store.is_there(user).unwrap());
        let record = if by_counter { record(MovingFactor::Hotp) } else { totp() };
        store.issue(&Account::fresh(record), Replace::No).unwrap();
        if !has_state {
            std::fs::remove_file(state_path(&store)).unwrap();
        }
        let foreseen = store.foresee_repair(user, now, 1, scope).ok();
        assert_eq!(state_path(&store).exists(), has_state);
        assert!(store.is_there(user).unwrap());
        let repaired = store.repair(user, now, 1, scope).ok();
        assert_eq!(foreseen, repaired, "{scope:?}");
        assert_eq!(foreseen, expected, "{by_counter} {has_state} {scope:?}");
    }
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    std::fs::write(store.path().join("users/alice.toml"), "damaged").unwrap();
    assert!(store.is_there(user).unwrap(), "a damaged record is one");
}

#[test]
fn nothing_is_left_of_what_was_removed_nor_of_what_was_looked_for_in_vain() {
    let (_dir, store) = store();
    let left = || {
        ["users", "state", "uids"]
            .map(|dir| std::fs::read_dir(store.path().join(dir)).unwrap().count())
    };
    let repaired = store.repair(&totp().user, Timestamp(3_000), 1, Scope::Lost).unwrap();
    assert_eq!(repaired, RepairOutcome::NoRecord);
    assert_eq!(left(), [0; 3]);
    store.issue(&fresh(), Replace::No).unwrap();
    assert_eq!(left(), [1; 3]);
    assert_eq!(store.remove(&totp().user, Timestamp(5)).unwrap(), RemoveOutcome::Record);
    assert_eq!(left(), [0; 3]);
    assert_eq!(store.remove(&totp().user, Timestamp(5)).unwrap(), RemoveOutcome::Nothing);
    assert_eq!(left(), [0; 3]);
}

#[test]
fn of_several_that_issue_an_account_at_once_one_does_and_its_own_is_in_force() {
    let (_dir, store) = store();
    let user = totp().user;
    for _ in 0..40 {
        let together = std::sync::Barrier::new(4);
        let issue = |number: u8| {
            let generation = Generation([number; 16]);
            let record = Record { generation, ..totp() };
            together.wait();
            let issued = store.issue(&Account::fresh(record), Replace::No).unwrap();
            (generation, issued)
        };
        let outcomes = std::thread::scope(|scope| {
            let threads = [1, 2, 3, 4].map(|number| scope.spawn(move || issue(number)));
            threads.map(|thread| thread.join().unwrap())
        });
        let new: Vec<_> =
            outcomes.iter().filter(|(_, issued)| *issued == IssueOutcome::New).collect();
        let [(generation, _)] = new[..] else { panic!("{outcomes:?}") };
        let in_force = store.inspect(&user).unwrap().unwrap();
        assert_eq!(in_force.record.generation, *generation);
        assert_eq!(in_force.phase(), Phase::Pending);
        store.remove(&user, Timestamp(5)).unwrap();
    }
}

#[test]
fn whoever_waits_for_an_account_that_is_issued_and_removed_all_the_time_gets_it_or_none() {
    let (_dir, store) = store();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..150 {
                store.issue(&fresh(), Replace::Yes).unwrap();
                store.remove(&totp().user, Timestamp(5)).unwrap();
            }
        });
        while !writer.is_finished() {
            let change = |account: &Account| Ok::<_, StoreError>(account.state);
            match store.amend(&totp().user, change) {
                Ok(()) | Err(StoreError::NotEnabled(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_repair_of_what_was_restored_begins_where_the_key_was_when_it_was_removed() {
    let (_dir, store) = store();
    let account = Account::fresh(record(MovingFactor::Hotp));
    let user = &account.record.user;
    store.issue(&account, Replace::No).unwrap();
    let record_path = store.path().join("users/alice.toml");
    let files = [record_path, state_path(&store)];
    let backup = files.each_ref().map(|path| std::fs::read(path).unwrap());
    let id = crate::account::TokenId::FIRST;
    let used = crate::account::TokenState { next: Step(5), ..account.state.token(id) };
    let change = |account: &Account| Ok::<_, StoreError>(account.state.with_token(id, used));
    store.amend(user, change).unwrap();
    store.remove(user, Timestamp(3_000)).unwrap();
    for (path, bytes) in files.iter().zip(backup) {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    store.repair(user, Timestamp(3_000), 1, Scope::Restored).unwrap();
    let next = store.inspect(user).unwrap().unwrap().state.token(id).next;
    assert_eq!(next, Step(5));
}

#[test]
fn no_state_is_made_through_a_link() {
    let (dir, store) = store();
    let elsewhere = dir.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, state_path(&store)).unwrap();
    let issued = store.issue(&fresh(), Replace::Yes);
    assert!(matches!(issued, Err(StoreError::Unsafe { what: FileFault::Link, .. })));
    assert!(!elsewhere.exists());
}

#[test]
fn a_lock_on_a_state_that_was_removed_meanwhile_is_none() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let user = totp().user;
    let open = || store.backend.open_state(&user, Access::Exclusive).unwrap().unwrap();
    let lock =
        |file| store.backend.lock(&user, file, Access::Exclusive, &mut Wait::lasting(PATIENCE));
    let [file, again, once_more] = [open(), open(), open()];
    assert!(matches!(lock(file).unwrap(), Waited::Locked(_)));
    std::fs::remove_file(state_path(&store)).unwrap();
    assert!(matches!(lock(again).unwrap(), Waited::Moved));
    // Nor is it where another one has its name.
    store.issue(&fresh(), Replace::Yes).unwrap();
    assert!(matches!(lock(once_more).unwrap(), Waited::Moved));
}

#[test]
fn a_store_of_another_format_and_one_that_cannot_be_examined_are_not_taken_for_none() {
    let (dir, store) = store();
    let open = |name: &str| Store::open(&dir.path().join(name), store.backend.owner).unwrap_err();
    assert!(matches!(open("nothing"), StoreError::NoStore(_)));
    std::fs::write(dir.path().join("file"), "").unwrap();
    assert!(matches!(open("file/in/it"), StoreError::Io { .. }));
    let marker = MARKER_TEXT.replace("format = 1", "format = 2");
    for marker in [marker.as_bytes(), b"format = \xFF"] {
        std::fs::write(store.path().join(MARKER), marker).unwrap();
        assert!(matches!(open("store"), StoreError::Format(_)));
    }
    let for_all = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(store.path().join(MARKER), for_all).unwrap();
    assert!(matches!(open("store"), StoreError::Unsafe { what: FileFault::Mode(0o644), .. }));
}

#[test]
fn a_directory_above_the_store_that_is_a_link_is_refused() {
    let (dir, store) = store();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let error = Store::open(&link.join("store"), store.backend.owner).unwrap_err();
    assert!(error.to_string().contains("link: is a symbolic link"), "{error}");
    std::fs::DirBuilder::new().mode(0o700).create(dir.path().join("empty")).unwrap();
    let error = Store::open(&dir.path().join("empty"), store.backend.owner).unwrap_err();
    assert!(matches!(error, StoreError::NoStore(_)), "{error}");
}
