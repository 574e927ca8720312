//! Judges the store and each account in it. What is wrong with a file is what the
//! store itself says ([`examine`]); here it becomes findings, ten names each.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use pam_onetime::account::{Phase, Timestamp, Uid, UserName};
use pam_onetime::config::Config;
use pam_onetime::store::{FileFault, Problem, Purpose, Store, StoreError, examine};
use pam_onetime::system::{Passwd, Person, SystemError, name_of};
use rustix::fs::IFlags;

use super::ahead;
use super::finding::{Check, Finding, FindingId, Level, NameList};
use super::persons::{ALIAS, NOT_LOOKED_UP, Uids, judge_indexing, judge_unknown};
use crate::people::People;
use crate::side_by_side::side_by_side;

/// BTRFS_SUPER_MAGIC
const BTRFS: u64 = 0x9123_683e;

/// Judges the store in `dir`.
pub(crate) fn judge(dir: &Path, now: Option<Timestamp>, config: &Config) -> Vec<Finding> {
    let mut faults = Faults::default();
    examine(dir, Store::ROOT, &mut |problem| faults.add_problem(&problem, dir));
    let store = match Store::open(dir, Store::ROOT) {
        Ok(store) => store,
        Err(error) => {
            if !faults.has_failed() {
                faults.add(Fault::of_store(&error), error.to_string());
            }
            return faults.findings();
        }
    };
    judge_indexing(&store, &mut faults);
    let (mut sound, mut uids) = (0_usize, Uids::default());
    let mut add = |judged: Judged| {
        if let Some(recorded) = judged.recorded {
            uids.note(&judged.user, recorded);
        }
        match judged.fault {
            None => sound = sound.saturating_add(1),
            Some((fault, who)) => faults.add(fault, who),
        }
    };
    match users(&store) {
        Ok((users, people)) => side_by_side(
            &users,
            |user| judge_account(&store, user, people.person(user.as_str()), now, config),
            |judged| judged.for_each(&mut add),
        ),
        Err(error) => faults.add(Fault::of_store(&error), error.to_string()),
    }
    uids.judge(&store, Passwd::read().ok().as_ref(), &mut faults);
    let mut found: Vec<_> = nocow(dir).into_iter().collect();
    let faults = faults.findings();
    if found.is_empty() && !faults.iter().any(|fault| fault.check == Check::Store) {
        found.push(Finding::sound(FindingId::StoreSound, format!("{} is sound", dir.display())));
    }
    found.extend(faults);
    found.push(Finding::sound(FindingId::AccountsSound, format!("{sound} without fault")));
    found
}

/// Who has a record, and what the user database says of them.
fn users(store: &Store) -> Result<(Vec<UserName>, People), StoreError> {
    let users = store.users()?.collect::<Result<Vec<_>, _>>()?;
    let wanted: HashSet<&str> = users.iter().map(UserName::as_str).collect();
    let people = People::known(users.len(), |name| wanted.contains(name));
    // Then each is looked up alone, and it is said of each what is wrong.
    let people = people.unwrap_or_else(|_| People::unknown());
    Ok((users, people))
}

/// What is wrong with several files or accounts alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    id: FindingId,
    /// What is said before the names.
    what: &'static str,
    remedy: &'static str,
}

impl Fault {
    #[cfg(test)]
    pub(super) const fn id(self) -> FindingId {
        self.id
    }

    pub(super) const fn new(id: FindingId, what: &'static str, remedy: &'static str) -> Self {
        Self { id, what, remedy }
    }

    /// Of the store as a whole, or of a file in it, whosever it is.
    pub(super) fn of_store(error: &StoreError) -> Self {
        let (id, what) = match error {
            StoreError::NoStore(_) => {
                (FindingId::StoreMissing, "every login that could need a code is refused")
            }
            StoreError::Format(_) => {
                (FindingId::StoreFormat, "every login that could need a code is refused")
            }
            StoreError::Unsafe { what, purpose, .. } => {
                (Self::of_file(*purpose, *what), "refused at logins")
            }
            StoreError::Io { error, .. } if error.kind() == ErrorKind::NotFound => {
                let what = "the store is incomplete, and logins are refused";
                let remedy = "restore it from a backup, or: onetimectl init";
                return Self::new(FindingId::StoreIncomplete, what, remedy);
            }
            StoreError::Index { .. } => {
                (FindingId::StoreIndexDamaged, "others of that uid are refused")
            }
            StoreError::Record { .. }
            | StoreError::Uid { .. }
            | StoreError::OtherName { .. }
            | StoreError::AlreadyEnabled(_)
            | StoreError::RenameUnfinished { .. }
            | StoreError::State { .. }
            | StoreError::NotEnabled(_)
            | StoreError::CounterLost(_)
            | StoreError::KeyTwice
            | StoreError::NoCodesLeft
            | StoreError::Retired { .. }
            | StoreError::Services { .. }
            | StoreError::NotRemembered { .. }
            | StoreError::StillIndexed(_)
            | StoreError::Busy(_)
            | StoreError::Held { .. }
            | StoreError::PassedOver(_)
            | StoreError::Name(_)
            | StoreError::Io { .. } => (FindingId::StoreUnreadable, "cannot be read"),
        };
        Self::new(id, what, remedy_of(error))
    }

    const fn of_file(purpose: Purpose, what: FileFault) -> FindingId {
        match (purpose, what) {
            (Purpose::Above | Purpose::Config, _) => FindingId::StorePathExposed,
            (Purpose::PrivateDir, FileFault::Owner(_) | FileFault::Mode(_)) => {
                FindingId::StoreDirExposed
            }
            (Purpose::PrivateFile, FileFault::Owner(_) | FileFault::Mode(_)) => {
                FindingId::StoreFileExposed
            }
            (
                Purpose::PrivateDir | Purpose::PrivateFile,
                FileFault::Link | FileFault::Type | FileFault::Links(_) | FileFault::Size(_),
            ) => FindingId::StoreEntryStrange,
        }
    }

    /// Of one account, whose name is said with it.
    fn of_account(error: &StoreError) -> Self {
        let (id, what) = match error {
            StoreError::Uid { .. } => (
                FindingId::AccountUidDiffers,
                "the record is for another uid, and the login refused",
            ),
            StoreError::OtherName { .. } => (
                FindingId::AccountSecondName,
                "the uid has a record under another name, and the login is refused",
            ),
            StoreError::Index { .. } => (FindingId::StoreIndexDamaged, "the login is refused"),
            StoreError::Services { .. } => (
                FindingId::AccountServicesDamaged,
                "what services' accounts have failed with the user is damaged, and logins that \
                 they ask for are refused",
            ),
            StoreError::Record { .. } | StoreError::Unsafe { what: FileFault::Size(_), .. } => {
                (FindingId::AccountRecordDamaged, "the record is damaged, and the login refused")
            }
            StoreError::State { .. } => (
                FindingId::AccountStateDamaged,
                "the state is missing or damaged, and the login refused",
            ),
            StoreError::Unsafe { .. } => (
                FindingId::AccountFileRefused,
                "the record or the state is not safe, and the login refused",
            ),
            StoreError::NoStore(_)
            | StoreError::Format(_)
            | StoreError::AlreadyEnabled(_)
            | StoreError::RenameUnfinished { .. }
            | StoreError::NotEnabled(_)
            | StoreError::CounterLost(_)
            | StoreError::KeyTwice
            | StoreError::NoCodesLeft
            | StoreError::Retired { .. }
            | StoreError::NotRemembered { .. }
            | StoreError::StillIndexed(_)
            | StoreError::Busy(_)
            | StoreError::Held { .. }
            | StoreError::PassedOver(_)
            | StoreError::Name(_)
            | StoreError::Io { .. } => (FindingId::AccountUnreadable, "cannot be read"),
        };
        Self::new(id, what, remedy_of(error))
    }
}

/// The store's own remedy, or what to try where it knows none.
fn remedy_of(error: &StoreError) -> &'static str {
    error.remedy().unwrap_or("look at the disk (dmesg); restore it from a backup")
}

/// What was found out of one account.
struct Judged {
    user: UserName,
    /// Whose record it is, if that can be read.
    recorded: Option<Uid>,
    /// What is wrong with it, and what is said with its name.
    fault: Option<(Fault, String)>,
}

/// Judges one account; `person` is what the user database says.
fn judge_account(
    store: &Store,
    user: &UserName,
    person: Result<Option<Person>, SystemError>,
    now: Option<Timestamp>,
    config: &Config,
) -> Judged {
    let with_name = |fault| (fault, user.as_str().to_owned());
    // Of what cannot be read, that is said otherwise.
    let unread = |fault| Judged {
        user: user.clone(),
        recorded: store.recorded_uid(user).ok(),
        fault: Some(with_name(fault)),
    };
    let Ok(person) = person else { return unread(NOT_LOOKED_UP) };
    let account = match store.inspect_as(user, person.as_ref().map(|person| person.uid)) {
        Ok(Some(account)) => account,
        // Disabled since it was listed.
        Ok(None) => return Judged { user: user.clone(), recorded: None, fault: None },
        Err(error) => return unread(Fault::of_account(&error)),
    };
    let recorded = account.record.uid;
    let fault = match person.map(|person| person.name) {
        None => Some(judge_unknown(user, recorded, name_of)),
        Some(known) if known != *user => Some((ALIAS, format!("{user} is {known}"))),
        Some(_) => judge_deadline(account.record.deadline, account.phase(), now)
            .map(with_name)
            .or_else(|| ahead::judge(&account, now?, config))
            .or_else(|| {
                let error = store.service_failures(&account).err()?;
                Some(with_name(Fault::of_account(&error)))
            }),
    };
    Judged { user: user.clone(), recorded: Some(recorded), fault }
}

fn judge_deadline(
    deadline: Option<Timestamp>,
    phase: Phase,
    now: Option<Timestamp>,
) -> Option<Fault> {
    let late = deadline.zip(now).is_some_and(|(deadline, now)| deadline <= now);
    match phase {
        Phase::Pending if late => Some(Fault::new(
            FindingId::AccountDeadlinePassed,
            "not activated before the deadline, and refused",
            "issue a new secret: onetimectl enable --new-secret",
        )),
        Phase::Pending | Phase::Active { .. } => None,
    }
}

/// What was found, and of whom.
#[derive(Default)]
pub(super) struct Faults(BTreeMap<Fault, NameList>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault, name: impl Into<String>) {
        self.0.entry(fault).or_default().add(name);
    }

    fn add_problem(&mut self, problem: &Problem, dir: &Path) {
        let below = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
        match problem {
            Problem::Refused(error) => self.add(Fault::of_store(error), error.to_string()),
            Problem::Leftover(path) => self.add(
                Fault::new(
                    FindingId::StoreLeftovers,
                    "left behind by onetimectl when it was killed",
                    "they may hold secrets: onetimectl init removes them",
                ),
                below(path),
            ),
            Problem::ForeignName(path) => self.add(
                Fault::new(
                    FindingId::StoreForeignName,
                    "not a record's name",
                    "remove what does not belong there",
                ),
                below(path),
            ),
            Problem::OrphanedState(path) => self.add(
                Fault::new(
                    FindingId::AccountStateOrphaned,
                    "a state without a record",
                    "if the record is not to be restored from a backup: onetimectl repair removes it",
                ),
                path.file_name().unwrap_or_default().to_string_lossy(),
            ),
        }
    }

    fn has_failed(&self) -> bool {
        self.0.keys().any(|fault| fault.id.level() == Level::Fail)
    }

    fn findings(self) -> Vec<Finding> {
        let found = self.0.into_iter().map(|(Fault { id, what, remedy }, names)| {
            Finding::new(id, format!("{what}: {names}"), remedy)
        });
        found.collect()
    }
}

/// Without the attribute, btrfs allocates when a state is written in place.
fn nocow(dir: &Path) -> Option<Finding> {
    let state = fs::File::open(dir.join("state")).ok()?;
    let kind = rustix::fs::fstatfs(&state).ok()?.f_type;
    let is_btrfs = kind as u64 & 0xffff_ffff == BTRFS;
    judge_nocow(is_btrfs, rustix::fs::ioctl_getflags(&state).ok(), &dir.display().to_string())
}

fn judge_nocow(is_btrfs: bool, flags: Option<IFlags>, dir: &str) -> Option<Finding> {
    if !is_btrfs || flags.is_some_and(|flags| flags.contains(IFlags::NOCOW)) {
        return None;
    }
    let what = format!("{dir}/state is on btrfs without NOCOW: on a full disk nobody gets in");
    let remedy = format!("chattr +C {dir}/state; it holds for files made later");
    Some(Finding::new(FindingId::StoreNocowMissing, what, remedy))
}

#[cfg(test)]
mod tests {
    use pam_onetime::account::{Account, Uid};
    use pam_onetime::config::Config;
    use pam_onetime::enrollment::new_record;
    use pam_onetime::store::Replace;
    use rand::rngs::SysRng;

    use super::*;

    #[test]
    fn only_btrfs_needs_the_attribute() {
        for (is_btrfs, flags, sound) in [
            (false, None, true),
            (true, Some(IFlags::NOCOW), true),
            (true, Some(IFlags::empty()), false),
            (true, None, false),
        ] {
            let found = judge_nocow(is_btrfs, flags, "d").map(|finding| finding.id);
            assert_eq!(found, (!sound).then_some(FindingId::StoreNocowMissing));
        }
    }

    #[test]
    fn each_account_with_a_fault_is_named_in_one_finding() {
        let mut faults = Faults::default();
        for number in 0..1_000 {
            let fault = Fault::new(FindingId::AccountStateDamaged, "w", "r");
            faults.add(fault, format!("user{number:06}"));
        }
        let found = faults.findings();
        assert_eq!(found.len(), 1);
        assert!(found[0].what.ends_with(", user000998, user000999"), "{found:?}");
    }

    #[test]
    fn each_error_of_the_store_has_its_name_and_a_remedy() {
        use FindingId::*;
        let path = || Path::new("p").to_owned();
        let exposed = |purpose, what| StoreError::Unsafe { path: path(), what, purpose };
        let io =
            |kind: ErrorKind| StoreError::Io { path: path(), what: "open", error: kind.into() };
        for (error, id) in [
            (StoreError::NoStore(path()), StoreMissing),
            (StoreError::Format(path()), StoreFormat),
            (exposed(Purpose::Above, FileFault::Mode(0o777)), StorePathExposed),
            (exposed(Purpose::PrivateDir, FileFault::Mode(0o755)), StoreDirExposed),
            (exposed(Purpose::PrivateFile, FileFault::Owner(7)), StoreFileExposed),
            (exposed(Purpose::PrivateFile, FileFault::Link), StoreEntryStrange),
            (StoreError::Index { path: path(), what: "w" }, StoreIndexDamaged),
            (io(ErrorKind::NotFound), StoreIncomplete),
            (io(ErrorKind::Other), StoreUnreadable),
        ] {
            let fault = Fault::of_store(&error);
            assert_eq!(fault.id, id, "{error}");
            assert!(!fault.remedy.is_empty(), "{error}");
        }
    }

    #[test]
    fn each_error_of_an_account_has_its_name() {
        use FindingId::*;
        let path = || Path::new("p").to_owned();
        let exposed =
            |what| StoreError::Unsafe { path: path(), what, purpose: Purpose::PrivateFile };
        let io = std::io::Error::from(ErrorKind::Other);
        for (error, id) in [
            (StoreError::Record { path: path(), what: "w" }, AccountRecordDamaged),
            (exposed(FileFault::Size(1 << 20)), AccountRecordDamaged),
            (exposed(FileFault::Mode(0o644)), AccountFileRefused),
            (StoreError::State { path: path(), what: "w" }, AccountStateDamaged),
            (StoreError::Services { path: path(), what: "w" }, AccountServicesDamaged),
            (StoreError::Io { path: path(), what: "read", error: io }, AccountUnreadable),
        ] {
            assert_eq!(Fault::of_account(&error).id, id, "{error}");
        }
    }

    #[test]
    fn a_user_whom_the_system_has_another_name_for_is_an_alias() {
        let above = tempfile::tempdir().unwrap();
        let owner = rustix::process::geteuid().as_raw();
        let store = Store::init(&above.path().join("store"), owner).unwrap();
        let name = |text: &str| UserName::new(text).unwrap();
        let config = Config::default();
        for (known, expected) in [("alice", None), ("al", Some(FindingId::AccountAlias))] {
            let uid = Uid::Is(7);
            let record = new_record(
                &mut SysRng,
                &config,
                name("alice"),
                uid,
                "example.org".to_owned(),
                Timestamp(0),
            );
            store.issue(&Account::fresh(record.unwrap()), Replace::Yes).unwrap();
            let person = Ok(Some(Person::new(name(known), 7, 7)));
            let found = judge_account(&store, &name("alice"), person, None, &config);
            assert_eq!(found.fault.map(|(fault, _)| fault.id), expected);
        }
    }

    #[test]
    fn a_user_database_that_does_not_answer_is_no_unknown_user() {
        let above = tempfile::tempdir().unwrap();
        let owner = rustix::process::geteuid().as_raw();
        let store = Store::init(&above.path().join("store"), owner).unwrap();
        let fault = judge_account(
            &store,
            &UserName::new("alice").unwrap(),
            Err(SystemError::Clock),
            None,
            &Config::default(),
        );
        let fault = fault.fault.map(|(fault, _)| fault.id);
        assert_eq!(fault, Some(FindingId::AccountUserNotLookedUp));
    }
}
