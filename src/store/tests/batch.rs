//! Many accounts at once: what comes of each is what would come of it alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{FlockOperation, flock};

use super::super::batch::Batch;
use super::*;
use crate::account::{TokenId, TokenState};
use crate::code::{Algorithm, Digits, Secret, Token};

const NOW: Timestamp = Timestamp(30_000);
/// The step then.
const STEP: u64 = 1000;
const AHEAD: u64 = 2;
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

fn name(nth: usize) -> UserName {
    UserName::new(NAMES[nth]).unwrap()
}

/// An account that is asked for: whose, and with which key, up to where that is spent.
#[derive(Debug, Clone)]
struct Wanted {
    user: usize,
    /// Of these there are fewer than names.
    uid: Option<u32>,
    key: u8,
    spent: u64,
}

#[derive(Debug, Clone)]
enum Order {
    Issue(Vec<Wanted>, bool),
    Remove(Vec<usize>),
    Repair(Vec<usize>, bool),
    /// The state is cut off.
    Damage(usize),
}

impl Wanted {
    fn account(&self, nth: u8) -> Account {
        let generation = Generation([nth; 16]);
        let kind = MovingFactor::Totp { period: Period::default() };
        let secret = Secret::from_bytes(vec![self.key; 20]).unwrap();
        let digits = Digits::try_from(6).unwrap();
        let token = Token { secret, algorithm: Algorithm::Sha1, digits, kind };
        let at = TokenState { next: Step(self.spent), ..TokenState::default() };
        let state = State { activated_at: Some(NOW), ..State::fresh(generation) };
        let record = Record {
            user: name(self.user),
            uid: self.uid.map_or(Uid::Any, Uid::Is),
            generation,
            tokens: vec![(TokenId::FIRST, token)],
            issued_at: NOW,
            ..totp()
        };
        Account { record, state: state.with_token(TokenId::FIRST, at) }
    }
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    let uid = prop_oneof![9 => (2001..2005_u32).prop_map(Some), 1 => Just(None)];
    let wanted = (0..NAMES.len(), uid, 1..4_u8, STEP - 1..STEP + 3)
        .prop_map(|(user, uid, key, spent)| Wanted { user, uid, key, spent });
    let wanted = prop::collection::vec(wanted, 1..6);
    let users = || prop::collection::vec(0..NAMES.len(), 1..6);
    let order = prop_oneof![
        4 => (wanted, any::<bool>()).prop_map(|(wanted, replace)| Order::Issue(wanted, replace)),
        2 => users().prop_map(Order::Remove),
        2 => (users(), any::<bool>()).prop_map(|(users, all)| Order::Repair(users, all)),
        1 => (0..NAMES.len()).prop_map(Order::Damage),
    ];
    prop::collection::vec(order, 1..8)
}

/// What came of each account; paths are those of no store.
fn told<T: std::fmt::Debug>(store: &Store, results: Vec<Result<T, StoreError>>) -> Vec<String> {
    let path = store.path().display().to_string();
    let result = |result: Result<T, StoreError>| match result {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => error.to_string().replace(&path, "STORE"),
    };
    results.into_iter().map(result).collect()
}

fn files(below: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in ["users", "state", "uids", "retired", "services"] {
        let Ok(entries) = fs::read_dir(below.join(dir)) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(below).unwrap().display().to_string();
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

impl Order {
    /// Does it on both stores, and returns what came of it on each.
    fn carry_out(&self, batch: &Batch, alone: &Store, nth: u8) -> [Vec<String>; 2] {
        let store = batch.store();
        match self {
            Self::Issue(wanted, replace) => {
                let replace = if *replace { Replace::Yes } else { Replace::No };
                let accounts: Vec<_> = wanted.iter().map(|it| it.account(nth)).collect();
                let issued = accounts.iter().map(|it| alone.issue(it, replace)).collect();
                [told(store, batch.issue(&accounts, replace)), told(alone, issued)]
            }
            Self::Remove(users) => {
                let users: Vec<_> = users.iter().map(|nth| name(*nth)).collect();
                let removed = users.iter().map(|user| alone.remove(user, NOW)).collect();
                [told(store, batch.remove(&users, NOW)), told(alone, removed)]
            }
            Self::Repair(users, restored) => {
                let scope = if *restored { Scope::Restored } else { Scope::Lost };
                let users: Vec<_> = users.iter().map(|nth| name(*nth)).collect();
                let repair = |user| alone.repair(user, NOW, AHEAD, scope);
                let repaired = users.iter().map(repair).collect();
                [told(store, batch.repair(&users, NOW, AHEAD, scope)), told(alone, repaired)]
            }
            Self::Damage(user) => {
                for store in [store, alone] {
                    let path = store.path().join("state").join(NAMES[*user]);
                    if let Ok(file) = File::options().write(true).open(path) {
                        file.set_len(100).unwrap();
                    }
                }
                [Vec::new(), Vec::new()]
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn of_many_at_once_each_becomes_what_it_would_become_alone(orders in orders()) {
        let ((_a, store), (_b, alone)) = (store(), store());
        let batch = Batch::forced(store);
        for (order, nth) in orders.iter().zip(1..) {
            let [together, one_by_one] = order.carry_out(&batch, &alone, nth);
            prop_assert_eq!(together, one_by_one, "{:?}", order);
            prop_assert_eq!(files(batch.store().path()), files(alone.path()), "{:?}", order);
        }
    }
}

fn wanted(user: usize, key: u8, spent: u64) -> Wanted {
    Wanted { user, uid: Some(2001 + u32::try_from(user).unwrap()), key, spent }
}

#[test]
fn a_key_that_goes_from_one_to_another_of_a_batch_brings_no_used_code_with_it() {
    let (_dir, store) = store();
    let batch = Batch::forced(store);
    let [alice, bob] = [wanted(0, 1, STEP + 2), wanted(1, 2, STEP)].map(|it| it.account(1));
    assert!(batch.issue(&[alice, bob], Replace::No).iter().all(Result::is_ok));
    // They exchange them, by somebody who knows nothing of what was used.
    let [alice, bob] = [wanted(0, 2, 0), wanted(1, 1, 0)].map(|it| it.account(2));
    let issued = batch.issue(&[alice, bob], Replace::Yes);
    assert!(matches!(issued[1], Ok(IssueOutcome::NewMovedOn)), "{issued:?}");
    let bob = batch.store().inspect(&name(1)).unwrap().unwrap();
    assert_eq!(bob.state.token(TokenId::FIRST).next, Step(STEP + 2));
}

#[test]
fn an_account_whose_lock_is_held_is_waited_for_with_no_other_lock_held() {
    let (_dir, store) = store();
    let accounts =
        [0, 1, 2].map(|user| wanted(user, u8::try_from(user).unwrap() + 1, 0).account(1));
    store.issue(&accounts[1], Replace::No).unwrap();
    let held = File::open(store.path().join("state/bob")).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let alice = store.path().join("state/alice");
    let batch = Batch::forced(store);
    std::thread::scope(|scope| {
        let holder = scope.spawn(move || {
            let is_free = (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                let free = FlockOperation::NonBlockingLockExclusive;
                File::open(&alice).is_ok_and(|it| {
                    let has_record = alice.with_file_name("../users/alice.toml").exists();
                    has_record && flock(&it, free).is_ok()
                })
            });
            flock(&held, FlockOperation::Unlock).unwrap();
            is_free
        });
        let issued = batch.issue(&accounts, Replace::Yes);
        assert!(issued.iter().all(Result::is_ok), "{issued:?}");
        assert!(holder.join().unwrap());
    });
    assert!(batch.store().take_overs().take().is_empty());
}

#[test]
fn of_a_batch_one_that_fails_is_told_and_the_others_are_done() {
    let (_dir, store) = store();
    let batch = Batch::forced(store);
    let mut accounts = [0, 1, 2].map(|user| wanted(user, 9, 0).account(1));
    accounts[2].record.uid = accounts[0].record.uid;
    let issued = batch.issue(&accounts, Replace::No);
    assert!(issued[0].is_ok() && issued[1].is_ok(), "{issued:?}");
    assert!(matches!(issued[2], Err(StoreError::OtherName { .. })), "{issued:?}");
    let gone = batch.remove(&[name(0), name(3)], NOW);
    assert!(
        matches!(gone[..], [Ok(RemoveOutcome::Record), Ok(RemoveOutcome::Nothing)]),
        "{gone:?}"
    );
}
