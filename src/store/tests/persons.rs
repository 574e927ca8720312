//! One person, one record: by whatever name the system knows who has it.

use std::fs;

use proptest::prelude::*;

use super::super::record::with_checksum;
use super::*;
use crate::account::TokenId;

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

/// An account of this user, whose generation no other name's has.
fn account(user: &str, uid: Uid) -> Account {
    let generation = Generation([user.bytes().fold(1, |sum, byte| sum ^ byte); 16]);
    Account::fresh(Record { user: name(user), uid, generation, ..record(MovingFactor::Hotp) })
}

fn issue(store: &Store, user: &str, uid: u32) -> Result<IssueOutcome, StoreError> {
    store.issue(&account(user, Uid::Is(uid)), Replace::No)
}

fn has_record(store: &Store, user: &str, uid: u32) -> Result<bool, StoreError> {
    Ok(store.load(&name(user), uid)?.is_some())
}

/// A login with this code, by whoever has that name and uid.
fn serves(store: &Store, user: &str, uid: u32, code: &str) -> Result<bool, StoreError> {
    let answer = login::Answer::read(code.as_bytes());
    let attempt = attempt_with(&answer, Timestamp(5));
    let judge = |account: Option<&Account>| login::judge(account, &attempt, &Config::default());
    let verdict = store.update(&name(user), uid, None, judge)?;
    Ok(matches!(verdict, Verdict::Admitted(_)))
}

fn names(store: &Store, uid: u32) -> Vec<String> {
    store.indexed(uid).unwrap().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn refused_as_other<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: &str) {
    match result {
        Err(StoreError::OtherName { recorded, .. }) => assert_eq!(recorded.as_str(), expected),
        other => panic!("{other:?}"),
    }
}

/// The store as it was before there was an index.
fn make_old(store: &Store) -> Store {
    fs::remove_dir_all(store.path().join("uids")).unwrap();
    let marker = MARKER_TEXT.replace("index = \"uids\"\n", "");
    fs::write(store.path().join(MARKER), marker).unwrap();
    reopened(store)
}

fn reopened(store: &Store) -> Store {
    Store::open(store.path(), store.backend.owner).unwrap()
}

fn initialized(store: &Store) -> Store {
    Store::init(store.path(), store.backend.owner).unwrap()
}

#[test]
fn whoever_has_the_uid_of_another_names_record_is_refused_and_nobody_else() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    assert!(has_record(&store, "alice", 2001).unwrap());
    refused_as_other(has_record(&store, "alicia", 2001), "alice");
    assert!(!has_record(&store, "bob", 2002).unwrap());
    store.remove(&name("alice"), Timestamp(9)).unwrap();
    assert!(!has_record(&store, "alicia", 2001).unwrap());
    assert!(!store.path().join("uids/2001").exists());
}

#[test]
fn a_second_name_of_somebody_who_is_enabled_is_not_enabled_and_nothing_is_made_for_it() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    for replace in [Replace::No, Replace::Yes] {
        refused_as_other(store.issue(&account("toor", Uid::Is(2001)), replace), "alice");
    }
    for file in ["users/toor.toml", "state/toor"] {
        assert!(!store.path().join(file).exists(), "{file}");
    }
    assert_eq!(names(&store, 2001), ["alice"]);
}

#[test]
fn an_entry_that_was_left_behind_is_nobodys_and_goes_with_the_next_issue_or_init() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    fs::remove_file(store.path().join("users/alice.toml")).unwrap();
    assert!(!has_record(&store, "alicia", 2001).unwrap());
    issue(&store, "alicia", 2001).unwrap();
    assert_eq!(names(&store, 2001), ["alicia"]);
    // A record for another uid makes an entry void too.
    let other = account("alicia", Uid::Is(2002));
    store.issue(&other, Replace::Yes).unwrap();
    assert_eq!((names(&store, 2001), names(&store, 2002)), (vec![], vec!["alicia".to_owned()]));
    fs::remove_file(store.path().join("users/alicia.toml")).unwrap();
    fs::write(store.path().join("uids/.new-alicia"), "").unwrap();
    let store = initialized(&store);
    assert_eq!(fs::read_dir(store.path().join("uids")).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_found_out_of_the_index_is_not_nobody() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    let entry = store.path().join("uids/2001");
    let sound = fs::read(&entry).unwrap();
    let line_of = |body: &str| with_checksum(body).into_bytes();
    for damaged in [
        b"".to_vec(),
        sound[..sound.len() - 1].to_vec(),
        b"\xFF\n".to_vec(),
        line_of(""),
        line_of("Alice\n"),
    ] {
        fs::write(&entry, &damaged).unwrap();
        let found = has_record(&store, "alicia", 2001);
        assert!(matches!(found, Err(StoreError::Index { .. })), "{damaged:?}");
        assert!(has_record(&store, "alice", 2001).unwrap(), "who has a record asks no index");
        initialized(&store);
        assert_eq!(fs::read(&entry).unwrap(), sound);
    }
    // Nor is a record that is damaged none.
    let record = store.path().join("users/alice.toml");
    fs::write(&record, "nonsense").unwrap();
    assert!(matches!(has_record(&store, "alicia", 2001), Err(StoreError::Record { .. })));
    initialized(&store);
    assert_eq!(names(&store, 2001), ["alice"], "perhaps it is still theirs");
    fs::remove_dir_all(store.path().join("uids")).unwrap();
    assert!(matches!(has_record(&store, "bob", 2002), Err(StoreError::Io { .. })));
}

#[test]
fn the_index_is_refused_where_others_can_write_it_or_it_is_a_link() {
    let (dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    let mode = |path: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(store.path().join(path), mode).unwrap();
    };
    for (path, sound) in [("uids", 0o700), ("uids/2001", 0o600)] {
        mode(path, sound | 0o022);
        assert!(matches!(has_record(&store, "al", 2001), Err(StoreError::Unsafe { .. })));
        mode(path, sound);
    }
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(store.path().join("uids"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, store.path().join("uids")).unwrap();
    assert!(matches!(has_record(&store, "al", 2001), Err(StoreError::Unsafe { .. })));
}

#[test]
fn an_entry_is_written_only_where_it_changes_and_again_where_it_was_taken_for_left_behind() {
    use std::os::unix::fs::MetadataExt;
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    let entry = store.path().join("uids/2001");
    let inode = || fs::metadata(&entry).unwrap().ino();
    let before = inode();
    store.issue(&account("alice", Uid::Is(2001)), Replace::Yes).unwrap();
    store.confirm(&name("alice"), Uid::Is(2001)).unwrap();
    initialized(&store);
    assert_eq!(inode(), before, "there is nothing to write");
    fs::remove_file(&entry).unwrap();
    store.confirm(&name("alice"), Uid::Is(2001)).unwrap();
    assert_eq!(names(&store, 2001), ["alice"]);
    refused_as_other(has_record(&store, "alicia", 2001), "alice");
}

#[test]
fn whoever_has_the_new_name_keeps_their_record_also_where_a_state_was_lost() {
    for lost in ["alice", "bob"] {
        let (_dir, store) = store();
        issue(&store, "alice", 2001).unwrap();
        issue(&store, "bob", 2002).unwrap();
        fs::remove_file(store.path().join("state").join(lost)).unwrap();
        let refused = store.rename(&name("alice"), &name("bob"), Uid::Is(2001));
        assert!(matches!(refused, Err(StoreError::AlreadyEnabled(_))), "{lost}: {refused:?}");
        for (user, uid) in [("alice", 2001), ("bob", 2002)] {
            let record = store.record(&name(user)).unwrap().unwrap();
            assert_eq!(record, account(user, Uid::Is(uid)).record, "{lost}");
        }
    }
}

#[test]
fn an_older_store_works_as_before_until_init_makes_its_index() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    let old = make_old(&store);
    assert_eq!(old.indexing(), Indexing::NotYet);
    assert!(!has_record(&old, "alicia", 2001).unwrap());
    issue(&old, "bob", 2002).unwrap();
    issue(&old, "bobby", 2002).unwrap();
    let store = initialized(&old);
    assert_eq!(store.indexing(), Indexing::Complete);
    refused_as_other(has_record(&store, "alicia", 2001), "alice");
    // Two records of one person: both are logged in with, and a third name with neither.
    assert_eq!(names(&store, 2002), ["bob", "bobby"]);
    assert!(has_record(&store, "bob", 2002).unwrap() && has_record(&store, "bobby", 2002).unwrap());
    refused_as_other(has_record(&store, "robert", 2002), "bob");
    store.remove(&name("bob"), Timestamp(9)).unwrap();
    refused_as_other(has_record(&store, "bob", 2002), "bobby");
}

#[test]
fn a_record_for_whoever_has_its_name_is_bound_to_the_first_who_succeeds() {
    let (_dir, store) = store();
    store.issue(&account("alice", Uid::Any), Replace::No).unwrap();
    assert_eq!(names(&store, 2001), [""; 0]);
    assert!(!serves(&store, "alice", 2001, "000000").unwrap());
    assert_eq!(store.recorded_uid(&name("alice")).unwrap(), Uid::Any, "that was no success");
    assert!(serves(&store, "alice", 2001, "755224").unwrap());
    assert_eq!(store.recorded_uid(&name("alice")).unwrap(), Uid::Is(2001));
    refused_as_other(has_record(&store, "alicia", 2001), "alice");
    let another = serves(&store, "alice", 2002, "287082");
    assert!(matches!(another, Err(StoreError::Uid { actual: 2002, .. })));
    assert!(!serves(&store, "alice", 2001, "755224").unwrap(), "its code is spent");
    assert!(serves(&store, "alice", 2001, "287082").unwrap());
}

#[test]
fn a_record_for_whoever_has_its_name_does_not_serve_who_has_one_already() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    store.issue(&account("alicia", Uid::Any), Replace::No).unwrap();
    refused_as_other(has_record(&store, "alicia", 2001), "alice");
    refused_as_other(serves(&store, "alicia", 2001, "755224"), "alice");
}

#[test]
fn a_renamed_account_keeps_what_was_issued_and_what_was_used() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    assert!(serves(&store, "alice", 2001, "755224").unwrap());
    let before = store.inspect(&name("alice")).unwrap().unwrap();
    let renamed = store.rename(&name("alice"), &name("alicia"), Uid::Is(2001)).unwrap();
    assert_eq!(renamed, RenameOutcome::Renamed);
    let after = store.inspect(&name("alicia")).unwrap().unwrap();
    let record = Record { user: name("alicia"), ..before.record };
    assert_eq!(after, Account { record, state: before.state });
    assert!(!serves(&store, "alicia", 2001, "755224").unwrap());
    assert!(serves(&store, "alicia", 2001, "287082").unwrap());
    refused_as_other(has_record(&store, "alice", 2001), "alicia");
    assert_eq!(names(&store, 2001), ["alicia"]);
    let files = |dir: &str| -> Vec<_> {
        let entries = fs::read_dir(store.path().join(dir)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(
        (files("users"), files("state")),
        (vec!["alicia.toml".into()], vec!["alicia".into()])
    );
}

#[test]
fn an_account_is_not_renamed_to_a_name_that_has_one_nor_to_one_of_somebody_else() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    issue(&store, "bob", 2002).unwrap();
    let rename = |old: &str, new: &str, uid| store.rename(&name(old), &name(new), Uid::Is(uid));
    assert!(matches!(rename("carol", "dave", 2003), Err(StoreError::NotEnabled(_))));
    assert!(matches!(rename("alice", "bob", 2002), Err(StoreError::AlreadyEnabled(_))));
    refused_as_other(rename("alice", "bobby", 2002), "bob");
    assert!(has_record(&store, "alice", 2001).unwrap() && has_record(&store, "bob", 2002).unwrap());
    // For another uid, where the admin says that it is the same person.
    rename("alice", "alicia", 2003).unwrap();
    assert!(has_record(&store, "alicia", 2003).unwrap());
    assert!(!has_record(&store, "al", 2001).unwrap());
    refused_as_other(has_record(&store, "al", 2003), "alicia");
}

#[test]
fn a_rename_that_was_stopped_leaves_one_name_with_the_account_and_can_be_finished() {
    // What is done before it stops.
    for done in 1..=3 {
        let (_dir, store) = store();
        issue(&store, "alice", 2001).unwrap();
        assert!(serves(&store, "alice", 2001, "755224").unwrap());
        let both = [name("alice"), name("alicia")];
        store.backend.index(2001, &both, &name("alice")).unwrap();
        let old = account("alice", Uid::Is(2001)).record;
        let text = store.text_of(&Record { user: name("alicia"), ..old }).unwrap();
        let path = |file: &str| store.path().join(file);
        if done >= 2 {
            fs::write(path("users/alicia.toml"), &*text).unwrap();
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(path("users/alicia.toml"), private).unwrap();
        }
        if done >= 3 {
            fs::rename(path("state/alice"), path("state/alicia")).unwrap();
        }
        let (has_it, other) = if done >= 3 { ("alicia", "alice") } else { ("alice", "alicia") };
        assert!(has_record(&store, has_it, 2001).unwrap());
        assert!(has_record(&store, other, 2001).is_err(), "{done}");
        // No second state is made beside the one.
        if done >= 2 {
            let repaired = store.repair(&name(other), Timestamp(9), 1, Scope::Lost);
            assert!(matches!(repaired, Err(StoreError::RenameUnfinished { .. })), "{repaired:?}");
            assert!(!path(&format!("state/{other}")).exists());
        }
        assert!(!serves(&store, has_it, 2001, "755224").unwrap());
        assert!(serves(&store, has_it, 2001, "287082").unwrap());
        let renamed = store.rename(&name("alice"), &name("alicia"), Uid::Is(2001)).unwrap();
        let finished = if done >= 3 { RenameOutcome::Finished } else { RenameOutcome::Renamed };
        assert_eq!(renamed, finished);
        assert!(!serves(&store, "alicia", 2001, "287082").unwrap());
        assert!(serves(&store, "alicia", 2001, "359152").unwrap());
        refused_as_other(has_record(&store, "alice", 2001), "alicia");
        assert_eq!(names(&store, 2001), ["alicia"]);
    }
}

#[test]
fn who_waits_for_the_lock_of_an_account_that_is_renamed_does_not_write_into_it() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    let old = store.backend.open_state(&name("alice"), Access::Exclusive).unwrap().unwrap();
    store.rename(&name("alice"), &name("alicia"), Uid::Is(2001)).unwrap();
    let lock =
        store.backend.lock(&name("alice"), old, Access::Exclusive, &mut Wait::lasting(PATIENCE));
    assert!(matches!(lock.unwrap(), Waited::Moved));
    assert!(has_record(&store, "alicia", 2001).unwrap());
}

#[test]
fn an_account_is_bound_to_the_uid_that_its_user_has_now() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    assert!(serves(&store, "alice", 2001, "755224").unwrap());
    assert!(matches!(has_record(&store, "alice", 2005), Err(StoreError::Uid { .. })));
    store.rebind(&name("alice"), 2005).unwrap();
    assert!(!serves(&store, "alice", 2005, "755224").unwrap());
    assert!(serves(&store, "alice", 2005, "287082").unwrap());
    refused_as_other(has_record(&store, "alicia", 2005), "alice");
    assert!(!has_record(&store, "bob", 2001).unwrap(), "somebody else may have it now");
    issue(&store, "bob", 2001).unwrap();
    refused_as_other(store.rebind(&name("bob"), 2005), "alice");
}

#[test]
fn a_state_keeps_its_positions_where_its_record_is_bound_or_renamed() {
    let (_dir, store) = store();
    issue(&store, "alice", 2001).unwrap();
    assert!(serves(&store, "alice", 2001, "755224").unwrap());
    store.rebind(&name("alice"), 2005).unwrap();
    store.rename(&name("alice"), &name("alicia"), Uid::Is(2005)).unwrap();
    let state = store.inspect(&name("alicia")).unwrap().unwrap().state;
    assert_eq!(state.token(TokenId::FIRST).next, Step(1));
}

/// What is done to the accounts of a few people.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Issue { user: usize, uid: Option<u32>, replace: bool },
    Remove { user: usize },
    Rename { old: usize, new: usize, uid: u32 },
    Rebind { user: usize, uid: u32 },
    Login { user: usize, uid: u32 },
    Init,
}

const PEOPLE: [&str; 4] = ["alice", "alicia", "bob", "Bob"];

fn steps() -> impl Strategy<Value = Vec<Deed>> {
    let (user, uid) = (0..PEOPLE.len(), 1_u32..4);
    let step = prop_oneof![
        (user.clone(), prop::option::of(uid.clone()), any::<bool>())
            .prop_map(|(user, uid, replace)| Deed::Issue { user, uid, replace }),
        user.clone().prop_map(|user| Deed::Remove { user }),
        (user.clone(), user.clone(), uid.clone()).prop_map(|(old, new, uid)| Deed::Rename {
            old,
            new,
            uid
        }),
        (user.clone(), uid.clone()).prop_map(|(user, uid)| Deed::Rebind { user, uid }),
        (user, uid).prop_map(|(user, uid)| Deed::Login { user, uid }),
        Just(Deed::Init),
    ];
    prop::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_nobody_has_two_records_and_no_other_name_of_theirs_goes_without(
        steps in steps()
    ) {
        let (_dir, store) = store();
        for step in steps {
            match step {
                Deed::Issue { user, uid, replace } => {
                    let account = account(PEOPLE[user], uid.map_or(Uid::Any, Uid::Is));
                    let replace = if replace { Replace::Yes } else { Replace::No };
                    drop(store.issue(&account, replace));
                }
                Deed::Remove { user } => drop(store.remove(&name(PEOPLE[user]), Timestamp(9))),
                Deed::Rename { old, new, uid } => {
                    drop(store.rename(&name(PEOPLE[old]), &name(PEOPLE[new]), Uid::Is(uid)));
                }
                Deed::Rebind { user, uid } => drop(store.rebind(&name(PEOPLE[user]), uid)),
                Deed::Login { user, uid } => {
                    drop(serves(&store, PEOPLE[user], uid, "755224"));
                }
                Deed::Init => drop(initialized(&store)),
            }
            for uid in 1..4 {
                let has = |user: &&&str| {
                    store.recorded_uid(&name(user)).is_ok_and(|recorded| recorded == Uid::Is(uid))
                };
                let recorded: Vec<_> = PEOPLE.iter().filter(has).map(|user| (*user).to_owned()).collect();
                prop_assert!(recorded.len() <= 1, "{:?}: {:?}", step, recorded);
                prop_assert_eq!(names(&store, uid), recorded.clone(), "{:?}", step);
                for user in PEOPLE.iter().filter(|user| store.recorded_uid(&name(user)).is_err()) {
                    let found = has_record(&store, user, uid);
                    prop_assert_eq!(found.is_err(), !recorded.is_empty(), "{:?}: {:?}", step, found);
                }
            }
        }
    }
}
