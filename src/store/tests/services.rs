//! What services' accounts fail with a user: it counts for them alone, and goes with the
//! account.

use super::super::services;
use super::*;
use crate::account::Failures;
use crate::login::Answer;

const POSTGRES: &str = "postgres";

/// One login of alice's through a service's account; `None`: by a program of root's.
fn through(store: &Store, account: Option<&str>, typed: &str, now: u64) -> Verdict {
    let answer = Answer::read(typed.as_bytes());
    let attempt = attempt_with(&answer, Timestamp(now));
    let judge = |account: Option<&Account>| login::judge(account, &attempt, &Config::default());
    let user = &totp().user;
    match account {
        Some(account) => store.update_at_service(account, user, 2001, None, judge),
        None => store.update(user, 2001, None, judge),
    }
    .unwrap()
}

/// With alice's account, which is active.
fn active_store() -> (tempfile::TempDir, Store) {
    let (dir, store) = store();
    let record = totp();
    let state = State { activated_at: Some(Timestamp(1)), ..State::fresh(record.generation) };
    store.issue(&Account { record, state }, Replace::No).unwrap();
    (dir, store)
}

fn alice(store: &Store) -> Account {
    store.inspect(&totp().user).unwrap().expect("she has an account")
}

fn counted(store: &Store) -> Vec<(String, Failures)> {
    store.service_failures(&alice(store)).unwrap().collect()
}

fn owner() -> u32 {
    rustix::process::geteuid().as_raw()
}

const WRONG: &str = "000000";
const NOW: u64 = 1_000_000;

#[test]
fn a_services_wrong_codes_lock_the_user_there_and_nowhere_else() {
    let (_dir, store) = active_store();
    for _ in 0..3 {
        let verdict = through(&store, Some(POSTGRES), WRONG, NOW);
        assert_eq!(verdict, Verdict::Refused(Refusal::WrongCode));
    }
    let until = Timestamp(NOW + 60);
    let locked = Verdict::Refused(Refusal::LockedAtService { until });
    assert_eq!(through(&store, Some(POSTGRES), WRONG, NOW), locked);
    assert_eq!(alice(&store).state.failures, Failures::default());
    for other in [Some("nginx"), None] {
        let verdict = through(&store, other, WRONG, NOW);
        assert_eq!(verdict, Verdict::Refused(Refusal::WrongCode), "{other:?}");
    }
    assert_eq!(alice(&store).state.failures.count, 1);
    // It lasts, whoever opens the store next.
    let again = Store::open(store.path(), owner()).unwrap();
    assert_eq!(through(&again, Some(POSTGRES), WRONG, NOW), locked);
    assert_eq!(counted(&again).len(), 2);
}

#[test]
fn unlocking_forgets_what_services_have_counted_also_where_that_is_damaged() {
    let (_dir, store) = active_store();
    for _ in 0..3 {
        let _counted = through(&store, Some(POSTGRES), WRONG, NOW);
    }
    let file = store.path().join("services/alice.toml");
    std::fs::write(&file, "damaged").unwrap();
    let user = totp().user;
    let attempt = attempt_with(&Answer::Empty, Timestamp(NOW));
    let judge = |account: Option<&Account>| login::judge(account, &attempt, &Config::default());
    let refused = store.update_at_service(POSTGRES, &user, 2001, None, judge);
    assert!(matches!(refused, Err(StoreError::Services { .. })), "{refused:?}");
    store.forget_at_services(&user).unwrap();
    assert_eq!(counted(&store), []);
    let verdict = through(&store, Some(POSTGRES), WRONG, NOW);
    assert_eq!(verdict, Verdict::Refused(Refusal::WrongCode));
}

#[test]
fn what_is_counted_goes_with_the_account_and_with_its_name_and_not_to_a_new_secret() {
    let (_dir, store) = active_store();
    let user = totp().user;
    let bob = UserName::new("bob").unwrap();
    let _counted = through(&store, Some(POSTGRES), WRONG, NOW);
    store.rename(&user, &bob, Uid::Is(2001)).unwrap();
    let account = store.inspect(&bob).unwrap().expect("it is bob's now");
    assert_eq!(store.service_failures(&account).unwrap().count(), 1);
    store.rename(&bob, &user, Uid::Is(2001)).unwrap();
    let new = Account::fresh(Record { generation: Generation([9; 16]), ..totp() });
    store.issue(&new, Replace::Yes).unwrap();
    assert_eq!(counted(&store), []);
    store.remove(&user, Timestamp(NOW)).unwrap();
    let left = std::fs::read_dir(store.path().join("services")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn init_removes_what_a_killed_process_has_left_and_nothing_that_counts() {
    let (_dir, store) = active_store();
    let _counted = through(&store, Some(POSTGRES), WRONG, NOW);
    let services = store.path().join("services");
    for name in [".new-alice.toml", "carol.toml"] {
        std::fs::copy(services.join("alice.toml"), services.join(name)).unwrap();
    }
    let store = Store::init(store.path(), owner()).unwrap();
    assert_eq!(std::fs::read_dir(services).unwrap().count(), 1);
    assert_eq!(counted(&store).len(), 1);
}

#[test]
fn a_text_of_any_failures_is_read_as_it_was_written() {
    let failures = Failures {
        count: u32::MAX,
        since: Timestamp(u64::MAX),
        lockouts: 7,
        locked_until: Timestamp(NOW),
    };
    let read = services::tests::written_and_read("a \"strange\"\nname", failures);
    let latest = Timestamp(i64::MAX.unsigned_abs());
    assert_eq!(read, Failures { since: latest, ..failures });
}
