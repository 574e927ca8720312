//! What is asked of the system: the time, the host's name, users and groups.

#[expect(unsafe_code, reason = "no crate in use looks up names that are bytes")]
mod passwd;

use std::borrow::Cow;
use std::ffi::CString;
use std::io::{self, IsTerminal};
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, Group, getgrouplist};
use rustix::thread::{NanosleepRelativeResult, Timespec, nanosleep};

use crate::account::{Timestamp, Uid, UserName, UserNameError};
use crate::bytes_as_text::{to_bytes, to_text};
use crate::login::{GroupAnswer, GroupFault, Membership, Output};

/// Why the system did not say.
#[derive(Debug, thiserror::Error)]
pub enum SystemError {
    /// The clock is before 1970, so there is no time to make codes of.
    #[error("the clock is before 1970")]
    Clock,
    /// passwd(5), group(5), or what is in their place.
    #[error("the user database cannot be read: {0}")]
    Users(#[from] nix::Error),
    /// A file of the system's.
    #[error("{0}: {1}")]
    File(&'static str, io::Error),
    /// It knows the user by a name that no record can have.
    #[error(transparent)]
    UserName(#[from] UserNameError),
    /// The host's name cannot be an issuer.
    #[error("the host's name cannot be an issuer")]
    HostName,
}

impl SystemError {
    /// What an admin can do about it, as an order; `None` where the error alone
    /// does not say.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Clock => Some("set the clock"),
            Self::HostName => Some("set `issuer` in the configuration"),
            Self::Users(_) => Some("see whether it answers: getent passwd"),
            Self::File(..) | Self::UserName(_) => None,
        }
    }

    /// Why, and the remedy in parentheses: for where there is one line only, such
    /// as the log.
    #[must_use]
    pub fn with_remedy(&self) -> String {
        match self.remedy() {
            Some(remedy) => format!("{self} ({remedy})"),
            None => self.to_string(),
        }
    }
}

/// The system's time, in whole seconds.
///
/// # Errors
/// [`SystemError::Clock`].
pub fn now() -> Result<Timestamp, SystemError> {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Ok(Timestamp(since.as_secs())),
        Err(_) => Err(SystemError::Clock),
    }
}

/// The name that the system has for a uid; `None` if it has none.
///
/// # Errors
/// [`SystemError`]: "cannot say" is not "nobody".
pub fn name_of(uid: u32) -> Result<Option<UserName>, SystemError> {
    match passwd::by_uid(uid)? {
        Some(user) => Ok(Some(UserName::new(user.name)?)),
        None => Ok(None),
    }
}

/// What the log has in the place of a user's name that the system does not know.
pub const UNKNOWN: &str = "(unknown)";

/// What the log may call somebody. A name that is not known may be a password, typed at the
/// wrong prompt.
#[must_use]
pub fn name_for_log(given: &str) -> String {
    let known = Person::find(given).ok().flatten();
    known.map_or_else(|| UNKNOWN.to_owned(), |person| person.name.as_str().to_owned())
}

/// How long the machine has run (CLOCK_MONOTONIC). Asked of the C library: rustix jumps
/// into the kernel's vDSO, which valgrind does not have.
#[must_use]
pub fn uptime() -> Duration {
    // Every Linux has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Waits for a moment of that clock. Of a process that is stopped meanwhile, the time
/// counts.
pub fn wait_until(moment: Duration) {
    loop {
        let left = moment.saturating_sub(uptime());
        let Ok(left) = Timespec::try_from(left) else { return };
        if left == Timespec::default() {
            return;
        }
        match nanosleep(&left) {
            // A signal of the host process; or the whole time.
            NanosleepRelativeResult::Interrupted(_) | NanosleepRelativeResult::Ok => {}
            NanosleepRelativeResult::Err(_) => return,
        }
    }
}

/// What this process prints to, by standard output and standard error.
#[must_use]
pub fn output() -> Output {
    let streams = [rustix::stdio::stdout(), rustix::stdio::stderr()];
    if streams.iter().all(IsTerminal::is_terminal) { Output::Terminal } else { Output::Elsewhere }
}

/// The host's name, as an issuer of codes.
///
/// # Errors
/// [`SystemError::HostName`].
pub fn host_name() -> Result<String, SystemError> {
    let name = rustix::system::uname().nodename().to_str().map(str::to_owned);
    name.ok().filter(|name| crate::config::is_issuer(name)).ok_or(SystemError::HostName)
}

/// A user whom the system knows.
#[derive(Debug, Clone)]
pub struct Person {
    /// The canonical name: an alias must not be a second account.
    pub name: UserName,
    /// The uid, which a record is checked against.
    pub uid: u32,
    gid: Gid,
}

impl Person {
    /// Somebody whom the user database has as this.
    #[must_use]
    pub const fn new(name: UserName, uid: u32, gid: u32) -> Self {
        Self { name, uid, gid: Gid::from_raw(gid) }
    }

    /// Looks a name up; `None` if the system does not know it.
    ///
    /// # Errors
    /// [`SystemError`]: "cannot say" is not "unknown".
    pub fn find(given: &str) -> Result<Option<Self>, SystemError> {
        let Some(user) = passwd::by_name(given)? else {
            return Ok(None);
        };
        Ok(Some(Self::new(UserName::new(user.name)?, user.uid, user.gid)))
    }

    /// For a record.
    #[must_use]
    pub const fn uid(&self) -> Uid {
        Uid::Is(self.uid)
    }

    /// For each of `groups`, whether the user is a member.
    ///
    /// A user is one by the list of their groups or by the group's list of its members:
    /// a directory that is down makes the first list shorter without saying so. That
    /// somebody is none is believed only of a group that is known.
    pub fn groups_among<'a>(&self, groups: impl Iterator<Item = &'a String>) -> Vec<GroupAnswer> {
        let mut groups = groups.peekable();
        // Nobody asks: the database is not read.
        if groups.peek().is_none() {
            return Vec::new();
        }
        let own = CString::new(&*to_bytes(self.name.as_str()))
            .map_err(|error| error.to_string())
            .and_then(|name| getgrouplist(&name, self.gid).map_err(|error| error.to_string()));
        groups
            .map(|group| GroupAnswer {
                group: group.clone(),
                membership: self.membership(group, own.as_deref()),
            })
            .collect()
    }

    /// nix puts U+FFFD in the place of what is not UTF-8: such a name is anybody's.
    fn is_listed(&self, members: &[String]) -> bool {
        let mut sure = members.iter().filter(|name| !name.contains('\u{FFFD}'));
        sure.any(|name| name == self.name.as_str())
    }

    fn membership(&self, group: &str, own: Result<&[Gid], &String>) -> Membership {
        match (known_group(group), own) {
            (Err(fault), _) => Membership::Unknown(fault),
            (Ok(known), _) if self.is_listed(&known.mem) => Membership::Member,
            (Ok(known), _) if known.gid == self.gid => Membership::Member,
            (Ok(known), Ok(own)) if own.contains(&known.gid) => Membership::Member,
            (Ok(_), Ok(_)) => Membership::NotMember,
            (Ok(_), Err(error)) => Membership::Unknown(GroupFault::NotListed(error.clone())),
        }
    }
}

/// glibc has several errors for "not found", and none at all for a directory that is
/// down and not the last that it asks.
fn known_group(name: &str) -> Result<Group, GroupFault> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => Err(GroupFault::Missing),
        Err(error) => Err(GroupFault::NotLookedUp(error.to_string())),
    }
}

/// Whether the system knows a group, as a login asks.
///
/// # Errors
/// Why it does not.
pub fn find_group(name: &str) -> Result<(), GroupFault> {
    known_group(name).map(drop)
}

const PASSWD: &str = "/etc/passwd";

/// Where login.defs(5) is; SUSE ships the second, and the first overrides it.
const LOGIN_DEFS: [&str; 2] = ["/etc/login.defs", "/usr/etc/login.defs"];

/// The users in /etc/passwd. Others (of LDAP, say) can be looked up
/// by name, but not counted up: many directories refuse that.
#[derive(Debug)]
pub struct Passwd(Vec<u8>);

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdLine<'a> {
    /// The name as the file has it, not yet checked; its bytes are text as
    /// [`crate::bytes_as_text`] makes it.
    pub name: Cow<'a, str>,
    /// The uid, which says whether it is an ordinary user.
    pub uid: u32,
    /// The gid of their primary group.
    pub gid: u32,
    shell: &'a [u8],
}

impl Passwd {
    /// Reads the whole file into memory.
    ///
    /// # Errors
    /// [`SystemError::File`].
    pub fn read() -> Result<Self, SystemError> {
        std::fs::read(PASSWD).map(Self).map_err(|error| SystemError::File(PASSWD, error))
    }

    /// Its users, in its order. As in the C library, a malformed line is
    /// passed over.
    pub fn users(&self) -> impl Iterator<Item = PasswdLine<'_>> {
        self.0.split(|byte| *byte == b'\n').filter_map(PasswdLine::parse)
    }
}

impl<'a> PasswdLine<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        let name =
            std::str::from_utf8(name).map_or_else(|_| Cow::Owned(to_text(name)), Cow::Borrowed);
        // `+` and `-` include others from NIS.
        if name.is_empty() || name.starts_with(['+', '-', '#']) {
            return None;
        }
        let _password = fields.next()?;
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (uid, gid) = (number()?, number()?);
        // After the name in full and the home directory.
        let shell = fields.nth(2).unwrap_or_default();
        Some(Self { name, uid, gid, shell })
    }

    /// Whether this is a person, as far as one can see: by uid, and by a shell
    /// with which one can log in (an empty one is /bin/sh).
    #[must_use]
    pub fn is_ordinary(&self, uids: &RangeInclusive<u32>) -> bool {
        let program = self.shell.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        uids.contains(&self.uid) && program != b"nologin" && program != b"false"
    }

    /// As if looked up.
    ///
    /// # Errors
    /// [`SystemError::UserName`].
    pub fn person(&self) -> Result<Person, SystemError> {
        let name = UserName::new(&*self.name)?;
        Ok(Person::new(name, self.uid, self.gid))
    }
}

/// The uids of ordinary users: UID_MIN to UID_MAX of login.defs(5), by default
/// 1000 to 60000.
///
/// # Errors
/// [`SystemError::File`].
pub fn ordinary_uids() -> Result<RangeInclusive<u32>, SystemError> {
    for path in LOGIN_DEFS {
        match std::fs::read(path) {
            Ok(text) => return Ok(uids_of(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SystemError::File(path, error)),
        }
    }
    Ok(uids_of(""))
}

fn uids_of(login_defs: &str) -> RangeInclusive<u32> {
    let value = |key: &str| {
        let mut lines = login_defs.lines().map(str::split_whitespace);
        lines.find_map(|mut words| (words.next()? == key).then(|| words.next()?.parse().ok())?)
    };
    value("UID_MIN").unwrap_or(1000)..=value("UID_MAX").unwrap_or(60000)
}

/// The members of a group, in no particular order: those it names, and those
/// of `passwd` whose primary group it is. `None` if there is no such group.
///
/// # Errors
/// [`SystemError::Users`].
pub fn members(group: &str, passwd: &Passwd) -> Result<Option<Vec<String>>, SystemError> {
    let Some(group) = Group::from_name(group)? else {
        return Ok(None);
    };
    let primary = passwd.users().filter(|user| user.gid == group.gid.as_raw());
    Ok(Some(group.mem.into_iter().chain(primary.map(|user| user.name.into_owned())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_of_a_host_name_that_is_none_is_apart_from_it() {
        assert!(!SystemError::HostName.to_string().contains("issuer`"));
        assert!(
            SystemError::HostName.with_remedy().ends_with(" (set `issuer` in the configuration)")
        );
        let unreadable = SystemError::Users(nix::Error::EIO);
        let remedy = " (see whether it answers: getent passwd)";
        assert_eq!(unreadable.with_remedy(), format!("{unreadable}{remedy}"));
    }

    #[test]
    fn ordinary_users_and_system_users_differ_by_uid_and_shell() {
        let passwd = Passwd(
            b"root:x:0:0:root:/root:/bin/sh\n\
              alice:x:1000:100:\xFF:/home/alice:/bin/sh\n\
              empty:x:60000:100::/:\n\
              short:x:1001:100\n\
              www:x:1002:100::/:/usr/sbin/nologin\n\
              none:x:1003:100::/:/bin/false\n\
              nobody:x:65534:65534::/:/bin/sh\n\
              +:x:1004:100::/:/bin/sh\n\
              #old:x:1005:100::/:/bin/sh\n\
              broken:x:y:100::/:/bin/sh\n\n"
                .to_vec(),
        );
        assert_eq!(passwd.users().count(), 7);
        let uids = uids_of("");
        let ordinary: Vec<_> =
            passwd.users().filter(|user| user.is_ordinary(&uids)).map(|user| user.name).collect();
        assert_eq!(ordinary, ["alice", "empty", "short"]);
    }

    #[test]
    fn the_range_of_ordinary_uids_is_read_from_login_defs() {
        let text = "# UID_MIN 5\nUID_MIN\t 500 # first\nSYS_UID_MAX 99\n  UID_MAX 70000\n";
        assert_eq!(uids_of(text), 500..=70000);
        assert_eq!(uids_of("UID_MIN\nUID_MAX many\n"), 1000..=60000);
    }
}
