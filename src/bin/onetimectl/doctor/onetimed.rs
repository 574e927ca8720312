//! What is known of onetimed: whether anybody listens at its socket, and whom the
//! configuration lets ask for others. Values in, findings out.

use pam_onetime::config::DaemonPolicy;
use pam_onetime::system::SystemError;

use super::finding::{Finding, FindingId};
use super::known_services::{asks_each, is_run_by_its_user};

/// What is at the socket, as a program that is not root's finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Listening,
    Silent,
}

impl Socket {
    /// Whether the program of a service, which cannot read the store, has its logins judged
    /// all the same by common-auth, which asks twice. An account of `may_ask` needs a file of
    /// its own: pam_unix, by which common-auth begins, verifies nobody else's password there.
    pub(super) fn serves(self, service: &str) -> bool {
        self == Self::Listening && is_run_by_its_user(service) && asks_each(service)
    }

    /// What the kernel's list of sockets (`/proc/net/unix`) says of this path. Nobody is
    /// connected to, so nothing is started.
    pub(super) fn listed(sockets: &str, path: &str) -> Self {
        // Num RefCount Protocol Flags Type St Inode Path: flags of one at which somebody
        // listens are __SO_ACCEPTCON.
        let listens = sockets.lines().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.nth(3) == Some("00010000") && words.nth(3) == Some(path)
        });
        if listens { Self::Listening } else { Self::Silent }
    }
}

/// The socket's file, or a directory above it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SocketPath<'a> {
    pub(super) path: &'a str,
    pub(super) uid: u32,
    /// As stat(2) has it.
    pub(super) mode: u32,
    /// What everybody has to have of it, and what nobody but root may have: parts of `mode`.
    pub(super) needs: u32,
    pub(super) forbids: u32,
}

impl SocketPath<'_> {
    /// Whether everybody can connect by it, and nobody puts another in its place.
    pub(super) fn judge(self) -> Option<Finding> {
        let Self { path, uid, mode, needs, forbids } = self;
        let (is_open, is_roots) = (mode & needs == needs, uid == 0 && mode & forbids == 0);
        let what = match (is_open, is_roots) {
            (true, true) => return None,
            (false, _) => "programs that are not root's cannot connect, and refuse everybody",
            (true, false) => "others than root can put a socket of their own in its place",
        };
        let what = format!("{path} is uid {uid}'s, with mode {:04o}: {what}", mode & 0o7777);
        let remedy = "take back what changes SocketMode, SocketUser or DirectoryMode of \
                      onetimed.socket (systemctl cat onetimed.socket), then systemctl restart \
                      onetimed.socket";
        Some(Finding::new(FindingId::OnetimedSocketMode, what, remedy))
    }
}

/// What the system says of an account: its uid, if it has one.
pub(super) type FindUid<'a> = dyn Fn(&str) -> Result<Option<u32>, SystemError> + 'a;

/// Whether those who may ask are there, and the services with them.
pub(super) fn judge(
    policy: &DaemonPolicy,
    uid: &FindUid<'_>,
    is_service: &dyn Fn(&str) -> bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for entry in &policy.may_ask {
        let user = &entry.user;
        match uid(user) {
            Ok(Some(0)) => found.push(Finding::new(
                FindingId::PolicyMayAskRoot,
                format!("daemon.may_ask: {user} is root, who may ask for anybody anyway"),
                "take it out, or name the account that the program runs as",
            )),
            Ok(Some(_)) => {}
            Ok(None) => found.push(Finding::new(
                FindingId::PolicyMayAskUnknown,
                format!("daemon.may_ask: there is no account {user}: its program is refused"),
                "name the account that the program runs as (docs/callers.toml: runs_as)",
            )),
            Err(error) => found.push(Finding::new(
                FindingId::PolicyMayAskUnknown,
                format!("daemon.may_ask: {user}: {error}"),
                "correct the name, or see to it that accounts can be looked up",
            )),
        }
        let unknown: Vec<_> =
            entry.services.iter().filter(|name| !is_service(name)).cloned().collect();
        if !unknown.is_empty() || entry.services.is_empty() {
            let what = match unknown.is_empty() {
                true => format!("daemon.may_ask: {user}: no service is named, so it may not ask"),
                false => format!(
                    "daemon.may_ask: {user}: there is no file of the service {} in /etc/pam.d",
                    unknown.join(", ")
                ),
            };
            let remedy = "name the services as their files in /etc/pam.d are called";
            found.push(Finding::new(FindingId::PolicyMayAskService, what, remedy));
        }
    }
    found.sort_by_key(|finding| finding.id);
    found
}

#[cfg(test)]
mod tests {
    use pam_onetime::config::Config;

    use super::*;

    fn judged(may_ask: &str) -> Vec<(FindingId, String)> {
        let text = format!("[daemon]\nmay_ask = [{may_ask}]\n");
        let config = Config::parse(&text).unwrap();
        let uid = |name: &str| {
            Ok(match name {
                "root" | "toor" => Some(0),
                "postgres" => Some(70),
                _ => None,
            })
        };
        let found = judge(&config.daemon, &uid, &|name| name == "postgresql");
        found.into_iter().map(|finding| (finding.id, finding.what)).collect()
    }

    #[test]
    fn who_may_ask_is_an_account_that_is_there_and_not_root_at_services_that_are_there() {
        use FindingId::*;
        for (entry, expected) in [
            ("", &[][..]),
            (r#"{ user = "postgres", services = ["postgresql"] }"#, &[]),
            (r#"{ user = "toor", services = ["postgresql"] }"#, &[(PolicyMayAskRoot, "toor")]),
            (
                r#"{ user = "postgers", services = ["postgresql"] }"#,
                &[(PolicyMayAskUnknown, "postgers")],
            ),
            (
                r#"{ user = "postgres", services = ["postgresql", "postgres"] }"#,
                &[(PolicyMayAskService, "service postgres in")],
            ),
            (
                r#"{ user = "postgres", services = [] }"#,
                &[(PolicyMayAskService, "no service is named")],
            ),
        ] {
            let found = judged(entry);
            assert_eq!(found.len(), expected.len(), "{entry}: {found:?}");
            for ((id, what), (expected, said)) in found.iter().zip(expected) {
                assert!(id == expected && what.contains(said), "{entry}: {what}");
            }
        }
    }

    #[test]
    fn a_socket_serves_programs_of_users_that_ask_twice_and_of_nobody_else_unasked() {
        assert!(Socket::Listening.serves("xscreensaver") && !Socket::Silent.serves("xscreensaver"));
        for service in ["i3lock", "postgresql", "sshd"] {
            assert!(!Socket::Listening.serves(service), "{service}");
        }
    }

    #[test]
    fn only_somebody_who_listens_at_that_very_path_counts() {
        let head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let line = |flags: &str, path: &str| {
            format!("{head}0000000000000000: 00000002 00000000 {flags} 0001 01 15903 {path}\n")
        };
        let path = "/run/onetime/socket";
        for (text, expected) in [
            (line("00010000", path), Socket::Listening),
            // Somebody who is connected.
            (line("00000000", path), Socket::Silent),
            (line("00010000", "/run/onetime/socket2"), Socket::Silent),
            (line("00010000", "@/run/onetime/socket"), Socket::Silent),
            (line("00010000", ""), Socket::Silent),
            (String::new(), Socket::Silent),
        ] {
            assert_eq!(Socket::listed(&text, path), expected, "{text}");
        }
    }

    #[test]
    fn a_socket_is_roots_and_open_to_everybody() {
        let judged = |uid, mode, needs, forbids| {
            let found = SocketPath { path: "/x", uid, mode, needs, forbids }.judge();
            found.map(|finding| finding.what)
        };
        let socket = |uid, mode| judged(uid, mode, 0o002, 0);
        let dir = |uid, mode| judged(uid, mode, 0o001, 0o022);
        assert_eq!((socket(0, 0o140_666), dir(0, 0o40_755)), (None, None));
        let closed = "/x is uid 0's, with mode 0660: programs that are not root's cannot";
        assert!(socket(0, 0o140_660).unwrap().starts_with(closed));
        assert!(dir(0, 0o40_750).unwrap().contains("cannot connect"));
        for open in [socket(7, 0o140_666), dir(7, 0o40_755), dir(0, 0o40_775), dir(0, 0o41_777)] {
            assert!(open.unwrap().contains("in its place"));
        }
    }
}
