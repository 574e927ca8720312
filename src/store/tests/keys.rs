//! Keys that go and come back: whatever an admin orders, no code of a key is accepted twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::backend::Backend;
use super::super::*;
use super::swaps::Swaps;
use super::{attempt_with, totp as record_of_totp};
use crate::account::{
    Account, Generation, Record, State, Timestamp, TokenId, TokenState, UserName,
};
use crate::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use crate::config::Config;
use crate::login::{self, Answer, Verdict};

/// The present step is 1000 then.
const NOW: Timestamp = Timestamp(30_000);
const KEY: &[u8] = b"12345678901234567890";
/// To HMAC the same.
const KEY_AND_ZERO: &[u8] = b"12345678901234567890\0";
const OTHER: &[u8] = b"09876543210987654321";

fn token(key: &[u8], kind: MovingFactor) -> Token {
    let secret = Secret::from_bytes(key.to_vec()).unwrap();
    let digits = Digits::try_from(8).unwrap();
    Token { secret, algorithm: Algorithm::Sha1, digits, kind }
}

fn totp(period: u64) -> MovingFactor {
    MovingFactor::Totp { period: Period::try_from(period).unwrap() }
}

fn alice() -> UserName {
    record_of_totp().user
}

/// An active account with these tokens, which are at these positions.
fn account(generation: u8, tokens: &[(Token, u64)]) -> Account {
    let generation = Generation([generation; 16]);
    let mut state = State { activated_at: Some(NOW), ..State::fresh(generation) };
    for (id, (_, next)) in TokenId::all().zip(tokens) {
        state = state.with_token(id, at(*next));
    }
    let tokens = TokenId::all().zip(tokens.iter().map(|(token, _)| token.clone())).collect();
    Account { record: Record { generation, issued_at: NOW, tokens, ..record_of_totp() }, state }
}

fn at(next: u64) -> TokenState {
    TokenState { next: Step(next), ..TokenState::default() }
}

fn store() -> Store<Swaps> {
    Store { backend: Swaps::default() }
}

/// As `onetimectl token add --stdin`.
fn add<B: Backend>(store: &Store<B>, token: &Token, now: Timestamp) -> Result<Step, StoreError> {
    let mut place = TokenId::FIRST;
    store.amend_record(&alice(), now, |account| {
        let mut account = account.clone();
        let tokens = &mut account.record.tokens;
        let free = |id: &TokenId| tokens.iter().all(|(taken, _)| taken != id);
        place = TokenId::all().find(free).ok_or(StoreError::KeyTwice)?;
        tokens.push((place, token.clone()));
        tokens.sort_by_key(|(id, _)| *id);
        account.state = account.state.with_token(place, TokenState::default());
        Ok::<_, StoreError>(account)
    })?;
    Ok(store.inspect(&alice())?.unwrap().state.token(place).next)
}

/// As `onetimectl token remove`.
fn remove<B: Backend>(store: &Store<B>, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
    store.amend_record(&alice(), now, |account| {
        let mut account = account.clone();
        account.record.tokens.retain(|(token, _)| *token != id);
        if account.record.tokens.is_empty() { Err(StoreError::KeyTwice) } else { Ok(account) }
    })
}

/// The position at which a key begins that is imported as new.
fn imported<B: Backend>(
    store: &Store<B>,
    generation: u8,
    token: Token,
    next: u64,
) -> Result<u64, StoreError> {
    store.issue(&account(generation, &[(token, next)]), Replace::Yes)?;
    Ok(store.inspect(&alice())?.unwrap().state.token(TokenId::FIRST).next.0)
}

#[test]
fn a_key_that_comes_back_goes_on_after_what_was_spent_whichever_way_it_went_and_comes() {
    let hotp = MovingFactor::Hotp;
    for (kind, next) in [(hotp, 57), (totp(30), 1002)] {
        let gone = |way: &str| {
            let store = store();
            let two = [(token(OTHER, hotp), 0), (token(KEY, kind), next)];
            store.issue(&account(1, &two), Replace::No).unwrap();
            match way {
                "token remove" => remove(&store, TokenId::Second, NOW).unwrap(),
                "disable" => drop(store.remove(&alice(), NOW).unwrap()),
                "enable --new-secret" => drop(imported(&store, 2, token(OTHER, hotp), 0).unwrap()),
                other => panic!("{other}"),
            }
            store
        };
        for way in ["token remove", "disable", "enable --new-secret"] {
            let back = token(KEY_AND_ZERO, kind);
            assert_eq!(imported(&gone(way), 3, back.clone(), 0).unwrap(), next, "{way}");
            assert_eq!(imported(&gone(way), 3, back.clone(), next + 3).unwrap(), next + 3);
            // Six digits are the end of eight; the same of another user's.
            let shorter = Token { digits: Digits::default(), ..back.clone() };
            assert_eq!(imported(&gone(way), 3, shorter, 5).unwrap(), next, "{way}");
            if way != "disable" {
                assert_eq!(add(&gone(way), &back, NOW).unwrap(), Step(next), "{way}");
            }
        }
        // In the place where it is in force, it is no other.
        let store = gone("token remove");
        add(&store, &token(KEY, kind), NOW).unwrap();
        assert_eq!(imported(&store, 4, token(KEY, kind), 0).unwrap(), next);
    }
}

#[test]
fn a_key_that_is_new_or_makes_other_codes_begins_where_it_is_said_to() {
    let store = store();
    store.issue(&account(1, &[(token(KEY, totp(30)), 1002)]), Replace::No).unwrap();
    store.remove(&alice(), NOW).unwrap();
    let sha256 = Token { algorithm: Algorithm::Sha256, ..token(KEY, totp(30)) };
    for (generation, other) in [
        (2, token(OTHER, totp(30))),
        (3, token(KEY, totp(60))),
        (4, token(KEY, MovingFactor::Hotp)),
        (5, sha256),
    ] {
        assert_eq!(imported(&store, generation, other, 0).unwrap(), 0, "{generation}");
    }
}

#[test]
fn no_account_gets_one_key_twice_and_nothing_changes_where_it_would() {
    let hotp = MovingFactor::Hotp;
    let store = store();
    store.issue(&account(1, &[(token(KEY, hotp), 5)]), Replace::No).unwrap();
    let before = store.inspect(&alice()).unwrap();
    for twin in [token(KEY, hotp), token(KEY_AND_ZERO, hotp), token(KEY, totp(30))] {
        assert!(matches!(add(&store, &twin, NOW), Err(StoreError::KeyTwice)));
        let both = account(2, &[(token(KEY, hotp), 0), (twin, 0)]);
        assert!(matches!(store.issue(&both, Replace::Yes), Err(StoreError::KeyTwice)));
    }
    assert_eq!(store.inspect(&alice()).unwrap(), before);
    assert_eq!(add(&store, &token(OTHER, hotp), NOW).unwrap(), Step(0));
}

#[test]
fn an_account_that_has_one_key_twice_from_before_can_still_be_changed() {
    let store = store();
    let mut old = account(1, &[(token(KEY, MovingFactor::Hotp), 5)]);
    store.issue(&old, Replace::No).unwrap();
    old.record.tokens.push((TokenId::Second, token(KEY, MovingFactor::Hotp)));
    // As an older version wrote it.
    let text = record::to_text(&old.record).unwrap();
    let claim = store.backend.claim_any(&alice()).unwrap();
    let change = backend::Change { record: Some(&text), ..backend::Change::default() };
    store.backend.commit(&alice(), &claim, change).unwrap();
    add(&store, &token(OTHER, MovingFactor::Hotp), NOW).unwrap();
    remove(&store, TokenId::Second, NOW).unwrap();
    assert_eq!(store.inspect(&alice()).unwrap().unwrap().record.tokens.len(), 2);
}

#[test]
fn a_counter_at_its_end_is_refused_and_the_one_before_it_works_once() {
    let hotp = MovingFactor::Hotp;
    let store = store();
    let last = u64::MAX - 1;
    let at_end = imported(&store, 1, token(KEY, hotp), u64::MAX);
    assert!(matches!(at_end, Err(StoreError::NoCodesLeft)));
    assert!(store.inspect(&alice()).unwrap().is_none());
    assert_eq!(imported(&store, 1, token(KEY, hotp), last).unwrap(), last);
    let mut served = Vec::new();
    for _ in 0..3 {
        served.push(login(&store, &shown(KEY, last), NOW).is_ok_and(is_admitted));
    }
    assert_eq!(served, [true, false, false]);
    for step in [u64::MAX - 11, u64::MAX - 2, u64::MAX] {
        assert!(!login(&store, &shown(KEY, step), NOW).is_ok_and(is_admitted), "{step}");
    }
}

#[test]
fn of_a_counter_that_was_lost_with_its_state_no_code_is_good_again() {
    let hotp = MovingFactor::Hotp;
    let store = store();
    store.issue(&account(1, &[(token(KEY, hotp), 57)]), Replace::No).unwrap();
    store.backend.lose(&alice());
    store.remove(&alice(), NOW).unwrap();
    let back = imported(&store, 2, token(KEY, hotp), 60);
    assert!(matches!(back, Err(StoreError::Retired { .. })), "{back:?}");
    assert_eq!(imported(&store, 2, token(OTHER, hotp), 60).unwrap(), 60);
}

#[test]
fn of_a_time_token_whose_state_was_lost_all_is_spent_that_can_have_been_accepted() {
    let store = store();
    store.issue(&account(1, &[(token(KEY, totp(30)), 1002)]), Replace::No).unwrap();
    store.backend.lose(&alice());
    store.remove(&alice(), NOW).unwrap();
    // 10 steps of window and 100 of drift are the most that can be configured.
    assert_eq!(imported(&store, 2, token(KEY, totp(30)), 0).unwrap(), 1111);
}

#[test]
fn a_code_that_a_wrong_clock_had_accepted_stays_spent_when_its_key_comes_back() {
    let store = store();
    store.issue(&account(1, &[(token(KEY, totp(30)), 10_000_000)]), Replace::No).unwrap();
    store.remove(&alice(), NOW).unwrap();
    assert_eq!(imported(&store, 2, token(KEY, totp(30)), 0).unwrap(), 10_000_000);
}

#[test]
fn what_is_remembered_of_a_time_token_is_forgotten_once_its_codes_are_too_old() {
    let (_dir, store) = super::store();
    let retired = store.path().join("retired");
    let files = || std::fs::read_dir(&retired).map_or(0, Iterator::count);
    let two = [(token(KEY, totp(30)), 1002), (token(OTHER, MovingFactor::Hotp), 3)];
    store.issue(&account(1, &two), Replace::No).unwrap();
    assert_eq!(files(), 0);
    store.remove(&alice(), NOW).unwrap();
    assert_eq!(files(), 2);
    // The window of the last code: 110 steps after it.
    let last = Timestamp((1002 + 111) * 30);
    assert_eq!(store.forget_expired(last).unwrap(), 0);
    std::fs::write(retired.join(".new-x"), "").unwrap();
    assert_eq!(store.forget_expired(last.plus(1)).unwrap(), 1);
    assert_eq!(files(), 1, "a counter is remembered for ever, and a leftover goes");
    // A position that old is not even written down.
    store.issue(&account(2, &[(token(KEY, totp(30)), 889)]), Replace::No).unwrap();
    store.remove(&alice(), NOW).unwrap();
    assert_eq!(files(), 1);
    // But one whose last code a window may still reach.
    store.issue(&account(3, &[(token(KEY, totp(30)), 890)]), Replace::No).unwrap();
    store.remove(&alice(), NOW).unwrap();
    assert_eq!(files(), 2);
}

#[test]
fn of_keys_that_stay_nothing_is_remembered_nor_is_one_that_is_used_up_in_the_way_of_others() {
    let (_dir, store) = super::store();
    store.issue(&account(1, &[(token(KEY, MovingFactor::Hotp), 7)]), Replace::No).unwrap();
    let retired = store.path().join("retired");
    let files = || std::fs::read_dir(&retired).map_or(0, Iterator::count);
    let used_up = at(Step::END.0);
    store
        .amend(&alice(), |account| {
            Ok::<_, StoreError>(account.state.with_token(TokenId::First, used_up))
        })
        .unwrap();
    add(&store, &token(OTHER, totp(30)), NOW).unwrap();
    assert_eq!(files(), 0);
    remove(&store, TokenId::Second, NOW).unwrap();
    let left = store.inspect(&alice()).unwrap().unwrap();
    assert_eq!((left.record.tokens.len(), left.state.token(TokenId::First)), (1, used_up));
    assert_eq!(files(), 0, "the other was not used");
}

#[test]
fn what_is_remembered_holds_no_key_and_damage_to_it_refuses_the_key() {
    let (_dir, store) = super::store();
    let hotp = token(KEY, MovingFactor::Hotp);
    store.issue(&account(1, &[(hotp.clone(), 7)]), Replace::No).unwrap();
    store.remove(&alice(), NOW).unwrap();
    let mut files = std::fs::read_dir(store.path().join("retired")).unwrap();
    let path = files.next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "next = \"7\"\n");
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.len() == 64 + ".toml".len(), "{name}");
    for text in ["", "next = 7", "next = \"-1\"", "next = \"7\"\nmore = 1", "\u{0}"] {
        std::fs::write(&path, text).unwrap();
        let back = imported(&store, 2, hotp.clone(), 0);
        assert!(matches!(back, Err(StoreError::Retired { .. })), "{text}: {back:?}");
        assert!(back.unwrap_err().to_string().contains(name), "{text}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(imported(&store, 2, hotp, 0).unwrap(), 0);
}

#[test]
fn an_account_goes_even_where_its_positions_cannot_be_written_down() {
    let (_dir, store) = super::store();
    store.issue(&account(1, &[(token(KEY, MovingFactor::Hotp), 7)]), Replace::No).unwrap();
    std::fs::write(store.path().join("retired"), "no directory").unwrap();
    let removed = store.remove(&alice(), NOW);
    let complete = Removal::Complete;
    assert!(
        matches!(removed, Err(StoreError::NotRemembered { removal, .. }) if removal == complete),
        "{removed:?}"
    );
    assert!(store.inspect(&alice()).unwrap().is_none());
    // A key that stays is not given up for it: nothing changes.
    let two = [(token(KEY, MovingFactor::Hotp), 7), (token(OTHER, MovingFactor::Hotp), 9)];
    std::fs::remove_file(store.path().join("retired")).unwrap();
    store.issue(&account(2, &two), Replace::No).unwrap();
    std::fs::write(store.path().join("retired"), "no directory").unwrap();
    assert!(remove(&store, TokenId::Second, NOW).is_err());
    assert_eq!(store.inspect(&alice()).unwrap(), Some(account(2, &two)));
}

/// The code of eight digits that a key shows at a position.
fn shown(key: &[u8], step: u64) -> String {
    let hotp = totp_rs::Builder::new()
        .with_secret(key.to_vec())
        .with_digits(8)
        .with_step_duration(1)
        .build_noncompliant();
    hotp.generate(step).to_string()
}

fn login<B: Backend>(store: &Store<B>, typed: &str, now: Timestamp) -> Result<Verdict, StoreError> {
    let answer = Answer::read(typed.as_bytes());
    let attempt = attempt_with(&answer, now);
    let mut config = Config::default();
    config.limits.failures = 0;
    let judge = |account: Option<&Account>| login::judge(account, &attempt, &config);
    store.update(&alice(), 2001, None, judge)
}

fn is_admitted(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Admitted(_))
}

/// What happens to alice's account.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A code, so many positions from the newest that was accepted or is present.
    Login {
        key: usize,
        hotp: bool,
        offset: u64,
    },
    Import {
        key: usize,
        hotp: bool,
        pending: bool,
    },
    Add {
        key: usize,
        hotp: bool,
    },
    RemoveToken(TokenId),
    Disable,
    LoseState,
    Repair(Scope),
}

const KEYS: [&[u8]; 3] = [KEY, KEY_AND_ZERO, OTHER];

fn events() -> impl Strategy<Value = Vec<(Event, u64)>> {
    let scopes = prop::sample::select(vec![Scope::Lost, Scope::Restored]);
    let tokens = prop::sample::select(vec![TokenId::First, TokenId::Second, TokenId::Third]);
    let event = prop_oneof![
        6 => (0_usize..3, any::<bool>(), 0_u64..6)
            .prop_map(|(key, hotp, offset)| Event::Login { key, hotp, offset }),
        2 => (0_usize..3, any::<bool>(), any::<bool>())
            .prop_map(|(key, hotp, pending)| Event::Import { key, hotp, pending }),
        2 => (0_usize..3, any::<bool>()).prop_map(|(key, hotp)| Event::Add { key, hotp }),
        2 => tokens.prop_map(Event::RemoveToken),
        1 => Just(Event::Disable),
        1 => Just(Event::LoseState),
        1 => scopes.prop_map(Event::Repair),
    ];
    prop::collection::vec((event, 0_u64..40), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_code_is_accepted_twice_whatever_doors_its_key_goes_through(events in events()) {
        let store = store();
        // By the code: two of eight digits are hardly ever equal.
        let mut accepted: BTreeMap<String, Event> = BTreeMap::new();
        let mut counters = [0_u64; 3];
        let mut now = NOW;
        let mut generation = 0;
        for (event, seconds) in events {
            now = now.plus(seconds);
            match event {
                Event::Login { key, hotp, offset } => {
                    let counter = &mut counters[if key == 1 { 0 } else { key }];
                    let newest = if hotp { *counter } else { now.0 / 30 };
                    let step = (newest + offset).saturating_sub(3);
                    let code = shown(KEYS[key], step);
                    if login(&store, &code, now).is_ok_and(is_admitted) {
                        let before = accepted.insert(code, event);
                        prop_assert!(before.is_none(), "{before:?}, then {event:?}");
                        if hotp {
                            *counter = step + 1;
                        }
                    }
                }
                Event::Import { key, hotp, pending } => {
                    generation += 1;
                    let kind = if hotp { MovingFactor::Hotp } else { totp(30) };
                    let mut account = account(generation, &[(token(KEYS[key], kind), 0)]);
                    account.record.issued_at = now;
                    if pending {
                        account.state.activated_at = None;
                    }
                    let _refused = store.issue(&account, Replace::Yes).is_err();
                }
                Event::Add { key, hotp } => {
                    let kind = if hotp { MovingFactor::Hotp } else { totp(30) };
                    let _refused = add(&store, &token(KEYS[key], kind), now).is_err();
                }
                Event::RemoveToken(id) => {
                    let _refused = remove(&store, id, now).is_err();
                }
                Event::Disable => drop(store.remove(&alice(), now).unwrap()),
                Event::LoseState => store.backend.lose(&alice()),
                Event::Repair(scope) => {
                    let code = Config::default().code;
                    let ahead = code.window.get() + code.max_drift.get();
                    let _refused = store.repair(&alice(), now, ahead, scope).is_err();
                }
            }
        }
    }
}
