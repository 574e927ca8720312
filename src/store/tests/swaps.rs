//! The rules of accounts over a backend of another kind: one that locks nothing, but
//! refuses to write what was read before somebody else wrote.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::super::backend::{
    Backend, Change, CommitError, Fingerprint, Half, Remains, RemoveOutcome, SLOT_BYTES, Slot,
    SlotBytes, StoredAccount, Successor, Target,
};
use super::super::*;
use super::attempt_with;
use crate::account::tests::record;
use crate::account::{Account, Generation, Phase, Record, State, Timestamp, UserName};
use crate::code::{MovingFactor, Period};
use crate::config::Config;
use crate::login::{self, Answer, Grant, Refusal, Verdict};

/// An account as a store of keys has it.
#[derive(Clone, Default)]
struct SwapEntry {
    record: Option<Zeroizing<String>>,
    snapshots: Option<[SlotBytes; 2]>,
    services: Option<Zeroizing<String>>,
    revision: u64,
}

#[derive(Default)]
pub(super) struct Swaps {
    entries: RefCell<BTreeMap<UserName, SwapEntry>>,
    uids: RefCell<BTreeMap<u32, Vec<UserName>>>,
    /// What is remembered of keys, by fingerprint.
    memory: RefCell<BTreeMap<String, String>>,
    /// How often somebody else is quicker from now on.
    quicker: Cell<u32>,
}

impl Swaps {
    fn entry(&self, user: &UserName) -> SwapEntry {
        self.entries.borrow().get(user).cloned().unwrap_or_default()
    }

    /// As if the state's file were damaged.
    pub(super) fn lose(&self, user: &UserName) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(user) {
            entry.snapshots = Some([[0; SLOT_BYTES]; 2]);
        }
    }
}

impl Backend for Swaps {
    type Claim = u64;

    fn peek(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError> {
        let entry = self.entry(user);
        Ok(entry
            .record
            .zip(entry.snapshots)
            .map(|(record, snapshots)| StoredAccount { record, snapshots }))
    }

    fn read(&self, user: &UserName) -> Result<Option<StoredAccount>, StoreError> {
        self.peek(user)
    }

    fn claim(&self, user: &UserName) -> Result<Option<(StoredAccount, u64)>, StoreError> {
        Ok(self.peek(user)?.map(|kept| (kept, self.entry(user).revision)))
    }

    fn claim_any(&self, user: &UserName) -> Result<u64, StoreError> {
        Ok(self.entry(user).revision)
    }

    fn record(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError> {
        Ok(self.entry(user).record)
    }

    fn snapshots(&self, user: &UserName, _claim: &u64) -> Result<[SlotBytes; 2], StoreError> {
        let missing = || StoreError::State { path: PathBuf::new(), what: "the state is missing" };
        self.entry(user).snapshots.ok_or_else(missing)
    }

    fn services(&self, user: &UserName) -> Result<Option<Zeroizing<String>>, StoreError> {
        Ok(self.entry(user).services)
    }

    fn services_path(&self, _user: &UserName) -> PathBuf {
        PathBuf::from("memory")
    }

    fn commit(&self, user: &UserName, claim: &u64, change: Change<'_>) -> Result<(), CommitError> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(user.clone()).or_default();
        if let Some(left) = self.quicker.get().checked_sub(1) {
            self.quicker.set(left);
            entry.revision += 1;
        }
        if entry.revision != *claim {
            return Err(CommitError::Conflict);
        }
        if let Some(text) = change.services {
            entry.services = Some(Zeroizing::new(text.to_owned()));
        }
        if let Some((snapshot, target)) = change.state {
            let [first, second] = entry.snapshots.get_or_insert([[0; SLOT_BYTES]; 2]);
            match target {
                Target::Over(Slot::First) => *first = *snapshot,
                Target::Over(Slot::Second) => *second = *snapshot,
                Target::OverBoth(_) => (*first, *second) = (*snapshot, *snapshot),
                Target::Anew => (*first, *second) = (*snapshot, [0; SLOT_BYTES]),
            }
        }
        if let Some(text) = change.record {
            entry.record = Some(Zeroizing::new(text.to_owned()));
        }
        entry.revision += 1;
        Ok(())
    }

    fn release(&self, _claim: u64) -> Result<(), StoreError> {
        Ok(())
    }

    fn abandon(&self, user: &UserName, claim: u64) -> Result<(), StoreError> {
        let mut entries = self.entries.borrow_mut();
        if entries.get(user).is_some_and(|entry| entry.revision == claim) {
            entries.remove(user);
        }
        Ok(())
    }

    fn remove(
        &self,
        user: &UserName,
        before: &mut dyn FnMut(Remains) -> Option<u32>,
    ) -> Result<RemoveOutcome, StoreError> {
        let SwapEntry { record, snapshots, .. } = self.entry(user);
        let uid = before(Remains { record: Ok(record), snapshots });
        let removed = self.entries.borrow_mut().remove(user);
        if let Some(uid) = uid {
            self.uids.borrow_mut().entry(uid).or_default().retain(|name| name != user);
        }
        Ok(if removed.is_some() { RemoveOutcome::Record } else { RemoveOutcome::Nothing })
    }

    fn hand_over(
        &self,
        old: &UserName,
        claim: &u64,
        new: &UserName,
        text: &str,
    ) -> Result<(), CommitError> {
        self.commit(old, claim, Change { record: Some(text), ..Change::default() })?;
        let mut entries = self.entries.borrow_mut();
        let entry = entries.remove(old).unwrap_or_default();
        entries.insert(new.clone(), entry);
        Ok(())
    }

    fn indexed(&self, uid: u32) -> Result<Vec<UserName>, StoreError> {
        Ok(self.uids.borrow().get(&uid).cloned().unwrap_or_default())
    }

    fn index(&self, uid: u32, names: &[UserName], _user: &UserName) -> Result<(), StoreError> {
        self.uids.borrow_mut().insert(uid, names.to_vec());
        Ok(())
    }

    fn users(&self) -> Result<impl Iterator<Item = Result<UserName, StoreError>>, StoreError> {
        Ok(self.entries.borrow().keys().cloned().map(Ok).collect::<Vec<_>>().into_iter())
    }

    fn remembered(&self, key: &Fingerprint) -> Result<Option<Zeroizing<String>>, StoreError> {
        Ok(self.memory.borrow().get(&key.to_string()).cloned().map(Zeroizing::new))
    }

    fn remember(&self, key: &Fingerprint, text: &mut Successor<'_>) -> Result<(), StoreError> {
        let before = self.memory.borrow().get(&key.to_string()).cloned();
        if let Some(text) = text(before.as_deref())? {
            self.memory.borrow_mut().insert(key.to_string(), text);
        }
        Ok(())
    }

    fn forget(&self, over: &mut dyn FnMut(&str) -> bool) -> Result<usize, StoreError> {
        let mut memory = self.memory.borrow_mut();
        let before = memory.len();
        memory.retain(|_, text| !over(text));
        Ok(before - memory.len())
    }

    fn memory(&self, _key: &Fingerprint) -> PathBuf {
        PathBuf::from("memory")
    }

    fn location(&self, _user: &UserName, _half: Half) -> PathBuf {
        PathBuf::from("memory")
    }
}

/// When orders are given.
const NOW: Timestamp = Timestamp(60);

fn fresh(kind: MovingFactor) -> Account {
    Account::fresh(record(kind))
}

fn totp() -> MovingFactor {
    MovingFactor::Totp { period: Period::default() }
}

fn alice() -> UserName {
    UserName::new("alice").unwrap()
}

fn login<B: Backend>(store: &Store<B>, typed: &str, now: u64) -> Result<Verdict, StoreError> {
    let answer = Answer::read(typed.as_bytes());
    let attempt = attempt_with(&answer, Timestamp(now));
    let judge = |account: Option<&Account>| login::judge(account, &attempt, &Config::default());
    store.update(&alice(), 2001, None, judge)
}

#[test]
fn a_login_that_others_were_quicker_than_is_judged_again_and_its_code_serves_once() {
    let store = Store { backend: Swaps::default() };
    store.issue(&fresh(MovingFactor::Hotp), Replace::No).unwrap();
    store.backend.quicker.set(5);
    assert_eq!(login(&store, "755224", 5).unwrap(), Verdict::Admitted(Grant::Activated));
    assert_eq!(store.backend.quicker.get(), 0, "it was judged six times");
    let spent = Verdict::Refused(Refusal::SpentCode);
    assert_eq!(login(&store, "755224", 5).unwrap(), spent);
}

#[test]
fn a_verdict_that_changes_nothing_is_about_the_account_as_it_is_then() {
    let store = Store { backend: Swaps::default() };
    store.issue(&fresh(MovingFactor::Hotp), Replace::No).unwrap();
    store.backend.quicker.set(2);
    let skipped = Verdict::NotNeeded(login::NotNeeded::Skipped);
    assert_eq!(login(&store, "", 5).unwrap(), skipped);
    assert_eq!(store.backend.quicker.get(), 0, "it was judged three times");
}

#[test]
fn a_login_that_others_are_always_quicker_than_is_refused_and_nothing_is_written() {
    let store = Store { backend: Swaps::default() };
    store.issue(&fresh(MovingFactor::Hotp), Replace::No).unwrap();
    store.backend.quicker.set(u32::MAX);
    assert!(matches!(login(&store, "755224", 5), Err(StoreError::Busy(_))));
    assert_eq!(store.inspect(&alice()).unwrap().unwrap().phase(), Phase::Pending);
}

#[test]
fn nobody_who_issues_at_the_same_time_overwrites_the_other() {
    let store = Store { backend: Swaps::default() };
    store.backend.quicker.set(1);
    assert_eq!(store.issue(&fresh(totp()), Replace::No).unwrap(), IssueOutcome::New);
    assert_eq!(store.issue(&fresh(totp()), Replace::No).unwrap(), IssueOutcome::AlreadyThere);
}

/// What is done to an account.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Issue { generation: u8, replace: bool },
    Login { code: &'static str, now: u64 },
    Touch,
    Rename,
    Remove,
    Repair,
}

fn steps() -> impl Strategy<Value = Vec<Operation>> {
    let codes = ["755224", "287082", "359152", "969429", "000000", ""];
    let step = prop_oneof![
        (1_u8..4, any::<bool>())
            .prop_map(|(generation, replace)| Operation::Issue { generation, replace }),
        (prop::sample::select(codes.to_vec()), 0_u64..90)
            .prop_map(|(code, now)| Operation::Login { code, now }),
        Just(Operation::Touch),
        Just(Operation::Rename),
        Just(Operation::Remove),
        Just(Operation::Repair),
    ];
    prop::collection::vec(step, 1..12)
}

/// What comes of a step, in words: errors name paths, which differ.
fn take<B: Backend>(store: &Store<B>, step: Operation) -> String {
    let without_path =
        |error: StoreError| format!("{error:?}").split('{').next().map(str::to_owned);
    match step {
        Operation::Issue { generation, replace } => {
            let record = Record { generation: Generation([generation; 16]), ..record(totp()) };
            let replace = if replace { Replace::Yes } else { Replace::No };
            format!("{:?}", store.issue(&Account::fresh(record), replace).map_err(without_path))
        }
        Operation::Login { code, now } => {
            format!("{:?}", login(store, code, now).map_err(without_path))
        }
        Operation::Touch => {
            let change = |account: &Account| {
                Ok::<_, StoreError>(State { last_login: Some(Timestamp(6)), ..account.state })
            };
            format!("{:?}", store.amend(&alice(), change).map_err(without_path))
        }
        Operation::Rename => {
            let change = |account: &Account| {
                let mut next = account.clone();
                next.record.issuer = "elsewhere.example.org".to_owned();
                Ok::<_, StoreError>(next)
            };
            format!("{:?}", store.amend_record(&alice(), NOW, change).map_err(without_path))
        }
        Operation::Remove => format!("{:?}", store.remove(&alice(), NOW).map_err(without_path)),
        Operation::Repair => {
            let repaired = store.repair(&alice(), NOW, 1, Scope::Lost);
            format!("{:?}", repaired.map_err(without_path))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn files_and_compare_and_swap_keep_the_same_accounts(steps in steps()) {
        let owner = rustix::process::geteuid().as_raw();
        let dir = tempfile::tempdir().unwrap();
        let files = Store::init(&dir.path().join("store"), owner).unwrap();
        let swaps = Store { backend: Swaps::default() };
        for step in steps {
            prop_assert_eq!(take(&files, step), take(&swaps, step), "{:?}", step);
            let (one, other) = (files.inspect(&alice()).unwrap(), swaps.inspect(&alice()).unwrap());
            prop_assert_eq!(one, other, "{:?}", step);
        }
    }
}
