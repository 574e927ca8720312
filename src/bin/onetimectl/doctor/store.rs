//! Judges the store: its directories and files, then each account in it. It
//! is read through the store's own door, and nothing is written.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pam_onetime::account::{Account, Phase, Timestamp, UserName};
use pam_onetime::store::{Store, StoreError, Wrong};
use pam_onetime::system::Person;
use rustix::fs::IFlags;

use super::finding::{Finding, Level, Names};

const CHECK: &str = "store";
const ACCOUNTS: &str = "accounts";

/// Permission bits of group and others.
const GROUP_OTHER: u32 = 0o077;
/// BTRFS_SUPER_MAGIC
const BTRFS: u64 = 0x9123_683e;
/// What docs/FILEFORMAT.md says of names.
const TEMPORARY: &str = ".new-";
const RECORD_ENDING: &str = ".toml";

/// What an entry of the store should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Directory,
    File,
}

/// What lstat(2) says of one.
#[derive(Debug, Clone, Copy)]
struct Seen {
    sort: Option<Sort>,
    link: bool,
    uid: u32,
    mode: u32,
    links: u64,
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        let kind = metadata.file_type();
        let sort = match (kind.is_dir(), kind.is_file()) {
            (true, _) => Some(Sort::Directory),
            (_, true) => Some(Sort::File),
            _ => None,
        };
        let (uid, mode, links) = (metadata.uid(), metadata.mode(), metadata.nlink());
        Self { sort, link: kind.is_symlink(), uid, mode, links }
    }

    /// What makes a login refuse it.
    fn fault(self, should: Sort) -> Option<Wrong> {
        if self.link {
            Some(Wrong::Link)
        } else if self.sort != Some(should) {
            Some(Wrong::Type)
        } else if self.uid != Store::ROOT {
            Some(Wrong::Owner(self.uid))
        } else if self.mode & GROUP_OTHER != 0 {
            Some(Wrong::Mode(self.mode & 0o7777))
        } else if should == Sort::File && self.links > 1 {
            Some(Wrong::Links(self.links))
        } else {
            None
        }
    }
}

/// Judges the store in `dir`.
pub(crate) fn judge(dir: &Path, now: Option<Timestamp>) -> Vec<Finding> {
    let mut faults = Faults::default();
    for (name, sort) in [
        ("", Sort::Directory),
        ("users", Sort::Directory),
        ("state", Sort::Directory),
        ("store.toml", Sort::File),
    ] {
        let path = if name.is_empty() { dir.to_owned() } else { dir.join(name) };
        look(&path, sort, &mut faults);
    }
    let store = match Store::open(dir, Store::ROOT) {
        Ok(store) => store,
        Err(error) => {
            // Owners and modes have been told already, unless of what is above.
            if faults.0.is_empty() {
                let (what, remedy) = explain(&error, dir);
                return vec![Finding::fail(CHECK, what, remedy)];
            }
            return faults.findings();
        }
    };
    list(&dir.join("users"), &mut faults, |name, faults| {
        if name.starts_with(TEMPORARY) {
            faults.add(Fault::LeftBehind, format!("users/{name}"));
        } else {
            look(&dir.join("users").join(name), Sort::File, faults);
            if !name.ends_with(RECORD_ENDING) {
                faults.add(Fault::Foreign, format!("users/{name}"));
            }
        }
    });
    list(&dir.join("state"), &mut faults, |name, faults| {
        look(&dir.join("state").join(name), Sort::File, faults);
        let record = dir.join("users").join(format!("{name}{RECORD_ENDING}"));
        if matches!(fs::symlink_metadata(record), Err(e) if e.kind() == io::ErrorKind::NotFound) {
            faults.add(Fault::Orphan, name);
        }
    });
    list(dir, &mut faults, |name, faults| {
        if name.starts_with(TEMPORARY) {
            faults.add(Fault::LeftBehind, name);
        }
    });
    let mut sound = 0_usize;
    match store.users() {
        Ok(users) => {
            for user in users {
                match user {
                    Ok(user) => match account(&store, &user, now) {
                        None => sound = sound.saturating_add(1),
                        Some(fault) => faults.add(fault, user.as_str()),
                    },
                    Err(error) => faults.add(Fault::Unreadable, error.to_string()),
                }
            }
        }
        Err(error) => faults.add(Fault::Unreadable, error.to_string()),
    }
    let mut found = vec![];
    found.extend(nocow(dir));
    let faults = faults.findings();
    if found.is_empty() && !faults.iter().any(|fault| fault.check == CHECK) {
        found.push(Finding::ok(CHECK, format!("{} is sound", dir.display())));
    }
    found.extend(faults);
    found.push(Finding::ok(ACCOUNTS, format!("{sound} without fault")));
    found
}

/// Looks at one entry; what is not there is for [`Store::open`] to tell.
fn look(path: &Path, should: Sort, faults: &mut Faults) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if let Some(wrong) = Seen::of(&metadata).fault(should) {
        let fault = match (wrong, should) {
            (Wrong::Owner(_) | Wrong::Mode(_), Sort::Directory) => Fault::OpenDirectory,
            (Wrong::Owner(_) | Wrong::Mode(_), Sort::File) => Fault::OpenFile,
            (Wrong::Link | Wrong::Type | Wrong::Links(_) | Wrong::Size(_), _) => Fault::Strange,
        };
        faults.add(fault, format!("{} {wrong}", path.display()));
    }
}

/// Does `each` with the name of everything in `dir`.
fn list(dir: &Path, faults: &mut Faults, each: impl Fn(&str, &mut Faults)) {
    let listed = fs::read_dir(dir).and_then(|entries| {
        for entry in entries {
            each(&entry?.file_name().to_string_lossy(), faults);
        }
        Ok(())
    });
    if let Err(error) = listed {
        faults.add(Fault::Unreadable, format!("{}: {error}", dir.display()));
    }
}

/// What is wrong with an account.
fn account(store: &Store, user: &UserName, now: Option<Timestamp>) -> Option<Fault> {
    let person = match Person::find(user.as_str()) {
        Ok(person) => person,
        Err(_) => return Some(Fault::NotLookedUp),
    };
    match store.inspect_as(user, person.as_ref().map(|person| person.uid)) {
        Ok(Some(account)) => of_account(&account, person.as_ref(), now),
        // Disabled since it was listed.
        Ok(None) => None,
        Err(StoreError::Uid { .. }) => Some(Fault::Uid),
        Err(StoreError::Record { .. }) => Some(Fault::Record),
        Err(StoreError::State { .. }) => Some(Fault::State),
        // Told when it was looked at.
        Err(StoreError::Unsafe { what: Wrong::Size(_), .. }) => Some(Fault::Record),
        Err(StoreError::Unsafe { .. }) => Some(Fault::Refused),
        Err(
            StoreError::NoStore(_)
            | StoreError::Format(_)
            | StoreError::NotEnabled(_)
            | StoreError::CounterLost(_)
            | StoreError::Busy(_)
            | StoreError::Name(_)
            | StoreError::Io { .. },
        ) => Some(Fault::Unreadable),
    }
}

/// What is wrong with an account that can be read.
fn of_account(account: &Account, person: Option<&Person>, now: Option<Timestamp>) -> Option<Fault> {
    let Some(person) = person else { return Some(Fault::UnknownUser) };
    if person.name != account.record.user {
        return Some(Fault::Alias);
    }
    let late = account.record.deadline.zip(now).is_some_and(|(deadline, now)| deadline <= now);
    match account.phase() {
        Phase::Pending if late => Some(Fault::Deadline),
        Phase::Pending | Phase::Active { .. } => None,
    }
}

/// What can be wrong, in the order in which it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    OpenDirectory,
    OpenFile,
    Strange,
    Unreadable,
    LeftBehind,
    Foreign,
    Refused,
    Record,
    State,
    Uid,
    NotLookedUp,
    UnknownUser,
    Alias,
    Deadline,
    Orphan,
}

impl Fault {
    /// Check, level, what `{}` has, and the remedy.
    const fn told(self) -> (&'static str, Level, &'static str, &'static str) {
        use Level::{Fail, Warn};
        match self {
            Self::OpenDirectory => (
                CHECK,
                Fail,
                "refused at logins",
                "chown root:root and chmod 700 them; if others could read them, the secrets are no secrets any more",
            ),
            Self::OpenFile => (
                CHECK,
                Fail,
                "refused at logins",
                "chown root:root and chmod 600 them; if others could read a record: onetimectl enable --new-secret",
            ),
            Self::Strange => (
                CHECK,
                Fail,
                "refused at logins",
                "find out who put them there; put regular files and directories of root's in their place",
            ),
            Self::Unreadable => {
                (CHECK, Fail, "cannot be read", "look at the disk (dmesg); restore from a backup")
            }
            Self::LeftBehind => (
                CHECK,
                Warn,
                "left behind by onetimectl when it was killed",
                "they hold secrets: onetimectl init removes them",
            ),
            Self::Foreign => {
                (CHECK, Warn, "not a record's name", "remove what does not belong there")
            }
            Self::Refused => (
                ACCOUNTS,
                Fail,
                "refused at logins",
                "mend the owner or mode of the record or the state: see above",
            ),
            Self::Record => (
                ACCOUNTS,
                Fail,
                "the record is damaged, and the login refused",
                "restore it from a backup, or: onetimectl enable --new-secret",
            ),
            Self::State => (
                ACCOUNTS,
                Fail,
                "the state is missing or damaged, and the login refused",
                "onetimectl repair",
            ),
            Self::Uid => (
                ACCOUNTS,
                Fail,
                "the record is for another uid, and the login refused",
                "if the user was created anew: onetimectl disable, then enable",
            ),
            Self::NotLookedUp => (
                ACCOUNTS,
                Fail,
                "the user database does not answer",
                "see that it does: getent passwd",
            ),
            Self::UnknownUser => (
                ACCOUNTS,
                Warn,
                "this system knows no such user",
                "if they are gone: onetimectl disable",
            ),
            Self::Alias => (
                ACCOUNTS,
                Warn,
                "this system calls that user by another name, and looks under that",
                "onetimectl disable, then enable with the name that getent passwd shows",
            ),
            Self::Deadline => (
                ACCOUNTS,
                Warn,
                "not activated in time, and refused",
                "onetimectl enable --new-secret",
            ),
            Self::Orphan => (
                ACCOUNTS,
                Warn,
                "a state without a record",
                "if the record is not to be restored from a backup: onetimectl repair removes it",
            ),
        }
    }
}

/// What was found, and of whom: ten names each, and a number.
#[derive(Default)]
struct Faults(BTreeMap<Fault, Names>);

impl Faults {
    fn add(&mut self, fault: Fault, name: impl Into<String>) {
        self.0.entry(fault).or_default().add(name);
    }

    fn findings(self) -> Vec<Finding> {
        let told = self.0.into_iter().map(|(fault, names)| {
            let (check, level, what, remedy) = fault.told();
            Finding::new(check, level, format!("{what}: {names}"), remedy)
        });
        told.collect()
    }
}

/// Why the store cannot be opened, and the remedy.
fn explain(error: &StoreError, dir: &Path) -> (String, &'static str) {
    // A directory of the store, whose marker is there.
    if let StoreError::Io { error, .. } = error
        && error.kind() == io::ErrorKind::NotFound
    {
        let what = format!("the store in {} is not whole", dir.display());
        return (what, "restore it from a backup, or: onetimectl init");
    }
    let what = format!("{error}: every login that could need a code is refused");
    (what, error.remedy().unwrap_or("look at the disk (dmesg)"))
}

/// Without the attribute, btrfs allocates when a state is written in place.
fn nocow(dir: &Path) -> Option<Finding> {
    let state = fs::File::open(dir.join("state")).ok()?;
    let kind = rustix::fs::fstatfs(&state).ok()?.f_type;
    #[allow(clippy::cast_sign_loss, reason = "a magic number, whose sign differs by architecture")]
    let is_btrfs = kind as u64 & 0xffff_ffff == BTRFS;
    judge_nocow(is_btrfs, rustix::fs::ioctl_getflags(&state).ok(), &dir.display().to_string())
}

fn judge_nocow(is_btrfs: bool, flags: Option<IFlags>, dir: &str) -> Option<Finding> {
    if !is_btrfs || flags.is_some_and(|flags| flags.contains(IFlags::NOCOW)) {
        return None;
    }
    let what = format!("{dir}/state is on btrfs without NOCOW: on a full disk nobody gets in");
    let remedy = format!("chattr +C {dir}/state; it holds for files made later");
    Some(Finding::warn(CHECK, what, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_login_refuses_is_a_fault() {
        let good = Seen { sort: Some(Sort::File), link: false, uid: 0, mode: 0o100_600, links: 1 };
        for (seen, fault) in [
            (good, None),
            (Seen { mode: 0o400, ..good }, None),
            (Seen { link: true, sort: None, ..good }, Some(Wrong::Link)),
            (Seen { sort: Some(Sort::Directory), ..good }, Some(Wrong::Type)),
            (Seen { sort: None, ..good }, Some(Wrong::Type)),
            (Seen { uid: 7, ..good }, Some(Wrong::Owner(7))),
            (Seen { mode: 0o100_640, ..good }, Some(Wrong::Mode(0o640))),
            (Seen { links: 2, ..good }, Some(Wrong::Links(2))),
        ] {
            assert_eq!(seen.fault(Sort::File), fault, "{seen:?}");
        }
        let dir = Seen { sort: Some(Sort::Directory), mode: 0o40_700, links: 4, ..good };
        assert_eq!(dir.fault(Sort::Directory), None);
    }

    #[test]
    fn only_btrfs_needs_the_attribute() {
        for (is_btrfs, flags, sound) in [
            (false, None, true),
            (true, Some(IFlags::NOCOW), true),
            (true, Some(IFlags::empty()), false),
            (true, None, false),
        ] {
            assert_eq!(judge_nocow(is_btrfs, flags, "d").is_none(), sound);
        }
    }

    #[test]
    fn many_accounts_with_a_fault_are_a_number() {
        let mut faults = Faults::default();
        for number in 0..100_000 {
            faults.add(Fault::State, format!("user{number:06}"));
        }
        let found = faults.findings();
        assert_eq!(found.len(), 1);
        assert!(found[0].what.ends_with("user000009 and 99990 more"), "{found:?}");
        assert!(found[0].what.len() < 300);
    }
}
