//! A login's own way into the store: two directories that it does not open, and what it
//! keeps from its first look at an account to the change.

use std::fs::{self, Permissions};
use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn of_a_login(store: &Store) -> Store {
    Store::open_for_a_login(store.path(), store.backend.owner).unwrap()
}

fn record_path(store: &Store) -> PathBuf {
    store.path().join("users/alice.toml")
}

/// The account that is judged when it has changed by `change` since it was loaded.
fn judged_after(change: impl FnOnce(&Store)) -> Result<Option<Account>, StoreError> {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let of_login = of_a_login(&store);
    let loaded = of_login.load(&totp().user, 2001).unwrap().unwrap();
    assert_eq!(loaded.account, fresh());
    change(&store);
    let mut judged = None;
    of_login.update(&totp().user, 2001, Some(&loaded), |account| {
        judged = account.cloned();
        let answer = login::Answer::Empty;
        login::judge(None, &attempt_with(&answer, Timestamp(5)), &Config::default())
    })?;
    Ok(judged)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_a_login_has_seen_is_judged_as_long_as_it_is_there() {
    assert_eq!(judged_after(|_| ()).unwrap(), Some(fresh()));
}

#[test]
fn a_record_that_was_replaced_since_a_login_has_seen_it_is_read_again() {
    let new = Record { generation: Generation([9; 16]), ..totp() };
    let issue = |store: &Store| {
        store.issue(&Account::fresh(new.clone()), Replace::Yes).unwrap();
    };
    assert_eq!(judged_after(issue).unwrap(), Some(Account::fresh(new.clone())));
    let amended = Account { record: Record { deadline: Some(Timestamp(77)), ..totp() }, ..fresh() };
    let amend = |store: &Store| {
        let change = |_: &Account| Ok::<_, StoreError>(amended.clone());
        store.amend_record(&totp().user, Timestamp(60), change).unwrap();
    };
    assert_eq!(judged_after(amend).unwrap(), Some(amended.clone()));
}

#[test]
fn a_record_that_was_written_into_since_a_login_has_seen_it_is_read_again() {
    let issuer: String = totp().issuer.chars().rev().collect();
    let changed = Record { issuer, ..totp() };
    assert_ne!(changed, totp());
    let write = |store: &Store| {
        let text = super::super::record::to_text(&changed).unwrap();
        assert_eq!(text.len(), fs::read(record_path(store)).unwrap().len());
        // The file's times are no finer than the kernel's ticks.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(record_path(store), &*text).unwrap();
    };
    assert_eq!(judged_after(write).unwrap(), Some(Account { record: changed.clone(), ..fresh() }));
}

#[test]
fn a_state_that_was_replaced_since_a_login_has_seen_it_is_the_one_that_counts() {
    let replace = |store: &Store| {
        let copy = store.path().join("copy");
        fs::copy(state_path(store), &copy).unwrap();
        activate(store);
        let active = fs::read(state_path(store)).unwrap();
        fs::write(&copy, active).unwrap();
        fs::rename(&copy, state_path(store)).unwrap();
    };
    let phase = judged_after(replace).unwrap().map(|account| account.phase());
    assert_eq!(phase, Some(Phase::Active { since: Timestamp(5) }));
}

#[test]
fn an_account_that_went_since_a_login_has_seen_it_is_none() {
    let disable = |store: &Store| {
        store.remove(&totp().user, Timestamp(60)).unwrap();
    };
    assert_eq!(judged_after(disable).unwrap(), None);
    let record_goes = |store: &Store| fs::remove_file(record_path(store)).unwrap();
    assert_eq!(judged_after(record_goes).unwrap(), None);
}

#[test]
fn what_was_exposed_or_displaced_since_a_login_has_seen_it_is_refused() {
    let state_for_all = judged_after(|store| set_mode(&state_path(store), 0o644));
    assert!(matches!(state_for_all, Err(StoreError::Unsafe { what: FileFault::Mode(0o644), .. })));
    let record_for_all = judged_after(|store| set_mode(&record_path(store), 0o604));
    assert!(matches!(record_for_all, Err(StoreError::Unsafe { what: FileFault::Mode(0o604), .. })));
    for path in ["state/alice", "users/alice.toml"] {
        let linked = judged_after(|store| {
            fs::hard_link(store.path().join(path), store.path().join("second")).unwrap();
        });
        assert!(matches!(linked, Err(StoreError::Unsafe { what: FileFault::Links(2), .. })));
        let moved = judged_after(|store| {
            fs::rename(store.path().join(path), store.path().join("elsewhere")).unwrap();
            symlink(store.path().join("elsewhere"), store.path().join(path)).unwrap();
        });
        assert!(matches!(moved, Err(StoreError::Unsafe { what: FileFault::Link, .. })));
    }
}

#[test]
fn a_lock_that_was_taken_over_since_a_login_has_seen_the_state_is_not_that_logins() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let (first, mut second) = (of_a_login(&store), of_a_login(&store));
    second.backend.patience = Duration::from_millis(50);
    let user = totp().user;
    assert!(first.load(&user, 2001).unwrap().is_some());
    assert!(second.load(&user, 2001).unwrap().is_some());
    let (_kept, held) = first.backend.claim(&user).unwrap().unwrap();
    let (_kept, taken) = second.backend.claim(&user).unwrap().unwrap();
    assert_eq!(second.take_overs().take().len(), 1);
    let change = || super::super::backend::Change::default();
    assert!(first.backend.commit(&user, &held, change()).is_err());
    assert!(second.backend.commit(&user, &taken, change()).is_ok());
}

#[test]
fn a_state_is_kept_for_one_change_and_for_its_own_user_alone() {
    let (_dir, store) = store();
    store.issue(&fresh(), Replace::No).unwrap();
    let bob = UserName::new("bob").unwrap();
    let record = Record { user: bob.clone(), uid: Uid::Is(2002), ..totp() };
    store.issue(&Account::fresh(record), Replace::No).unwrap();
    let of_login = of_a_login(&store);
    assert!(of_login.load(&totp().user, 2001).unwrap().is_some());
    let (_kept, bobs) = of_login.backend.claim(&bob).unwrap().unwrap();
    let (_kept, alices) = of_login.backend.claim(&totp().user).unwrap().unwrap();
    let change = || super::super::backend::Change::default();
    assert!(of_login.backend.commit(&bob, &bobs, change()).is_ok());
    assert!(of_login.backend.commit(&totp().user, &alices, change()).is_ok());
    assert!(of_login.backend.commit(&bob, &alices, change()).is_err());
}

/// What is done to a directory.
type Spoil<'s> = &'s dyn Fn(&Path);

#[test]
fn a_login_refuses_the_directories_that_the_tool_refuses_in_the_same_words() {
    let spoils: [(&str, Spoil<'_>); 8] = [
        ("a link", &|path| {
            let moved = path.with_extension("moved");
            fs::rename(path, &moved).unwrap();
            symlink(moved, path).unwrap();
        }),
        ("a dead link", &|path| {
            fs::remove_dir_all(path).unwrap();
            symlink("nowhere", path).unwrap();
        }),
        ("nothing", &|path| fs::remove_dir_all(path).unwrap()),
        ("for all", &|path| set_mode(path, 0o711)),
        ("for a group", &|path| set_mode(path, 0o770)),
        ("a file", &|path| {
            fs::remove_dir_all(path).unwrap();
            fs::write(path, "").unwrap();
            set_mode(path, 0o600);
        }),
        ("a FIFO", &|path| {
            fs::remove_dir_all(path).unwrap();
            let mode = rustix::fs::Mode::RWXU;
            rustix::fs::mkfifoat(rustix::fs::CWD, path, mode).unwrap();
        }),
        ("somebody else's", &|path| {
            // Who is not root cannot give anything away.
            if std::os::unix::fs::chown(path, Some(4711), None).is_err() {
                set_mode(path, 0o701);
            }
        }),
    ];
    for half in ["users", "state", ""] {
        for (what, spoil) in spoils {
            let (_dir, store) = store();
            store.issue(&fresh(), Replace::No).unwrap();
            spoil(&store.path().join(half).components().collect::<PathBuf>());
            let owner = store.backend.owner;
            let [tool, login] = [Store::open, Store::open_for_a_login]
                .map(|open| open(store.path(), owner).unwrap_err());
            let is_unsafe = matches!(login, StoreError::Unsafe { .. });
            assert_eq!(is_unsafe, what != "nothing", "{half}: {login}");
            assert_eq!(login.to_string(), tool.to_string(), "{half} {what}");
        }
    }
}

#[test]
fn a_login_does_everything_that_it_does_below_directories_that_it_has_not_opened() {
    let (_dir, store) = store();
    let of_login = of_a_login(&store);
    let hotp = Account::fresh(record(MovingFactor::Hotp));
    // A record is issued, replaced and synced, a state made, locked and committed.
    of_login.issue(&hotp, Replace::No).unwrap();
    assert_eq!(store.inspect(&hotp.record.user).unwrap(), Some(hotp.clone()));
    let activated = Verdict::Admitted(Grant::Activated);
    assert_eq!(login(&of_login, 2001, b"755224").unwrap(), activated);
    assert!(matches!(phase(&store).unwrap(), Phase::Active { .. }));
    assert_eq!(login(&of_login, 2001, b"755224").unwrap(), Verdict::Refused(Refusal::SpentCode));
    let names = |dir: &str| {
        let entries = fs::read_dir(store.path().join(dir)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("users"), ["alice.toml"]);
    assert_eq!(names("state"), ["alice"]);
    assert_eq!(names(""), ["state", "store.toml", "uids", "users"]);
}
