//! What is known of onetimed: whether anybody listens at its socket, and whom the
//! configuration lets ask for others. Values in, findings out.

use pam_onetime::config::DaemonPolicy;
use pam_onetime::system::SystemError;

use super::finding::{Finding, FindingId};
use super::known_services::is_run_by_its_user;

/// What is at the socket, as a program that is not root's finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Listening,
    Silent,
}

impl Socket {
    /// Whether the program of a service, which cannot read the store, has its logins judged
    /// all the same, without a word in the configuration.
    pub(super) fn serves(self, service: &str) -> bool {
        self == Self::Listening && is_run_by_its_user(service)
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
    fn a_socket_serves_programs_of_users_and_of_nobody_else_unasked() {
        assert!(Socket::Listening.serves("i3lock") && !Socket::Silent.serves("i3lock"));
        assert!(!Socket::Listening.serves("postgresql") && !Socket::Listening.serves("sshd"));
    }
}
