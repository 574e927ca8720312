//! Judges how what the password service says of an account reaches the applications: by
//! account lines of the service itself, and by the module's account line in each service
//! that is logged in to. Values in, findings out.

use std::collections::BTreeMap;

use pam_onetime::PasswordMode;

use super::finding::{Finding, FindingId, NameList};
use super::roles::{Role, role};
use super::services::{ReadConfig, first_configured};
use super::stack::{Action, ModuleResult, ModuleType, ReadFile, Service, StackLine};
use super::walk::{Walk, walk};

/// Modules that learn from the password check that a password has expired, and say so in
/// their own account line, in the same transaction: they keep it by pam_set_data(3).
const BY_NOTES: [&str; 4] = ["pam_krb5", "pam_ldap", "pam_sss", "pam_winbind"];

/// Judges the account lines of a password service, and what its auth lines ask for.
pub(super) fn judge_password_service(file: &str, service: &Service) -> Vec<Finding> {
    let (auth, account) = (service.stack(ModuleType::Auth), service.stack(ModuleType::Account));
    let mut findings = Vec::new();
    for name in by_notes(&auth) {
        if !account.iter().any(|entry| entry.name() == name) {
            let what = format!(
                "{file}: {name}.so learns that a password must be changed, and no account line asks it"
            );
            let remedy = format!("add to it: account required {name}.so");
            findings.push(Finding::new(FindingId::PasswordServiceAccountMissing, what, remedy));
        }
    }
    if has_account_phase(&account) && !run(&account, ModuleResult::Ignore).admitted {
        let what = format!(
            "{file}: its account lines refuse everybody, and so does each service with pam_onetime.so under account"
        );
        let remedy = "look at what refuses there, beside the module that knows the account";
        findings.push(Finding::new(FindingId::PasswordServiceAccountRefuses, what, remedy));
    }
    findings.extend(asks_more(file, &auth));
    findings
}

/// Only the first hidden prompt is answered.
fn asks_more(file: &str, auth: &[&StackLine]) -> Vec<Finding> {
    let passwords = auth.iter().filter(|entry| role(entry) == Role::Password).enumerate();
    let mut findings = Vec::new();
    for (index, entry) in passwords {
        let takes = ["use_first_pass", "try_first_pass", "force_first_pass"];
        let takes = takes.iter().any(|word| entry.has_argument(word));
        // pam_unix.so takes what an earlier module has asked for, if that left it.
        let asks_again = index > 0 && !takes && entry.name() != "pam_unix";
        if asks_again {
            let what = format!(
                "{file}: {} {} asks for the password again, and gets no answer",
                entry.place, entry.module
            );
            let remedy = "add use_first_pass to the line";
            findings.push(Finding::new(FindingId::PasswordServiceAsksMore, what, remedy));
        }
        if entry.name() == "pam_krb5" && !entry.has_argument("defer_pwchange") {
            let what = format!(
                "{file}: {} {} asks for a new password where the present one has expired, and gets no answer",
                entry.place, entry.module
            );
            let remedy = "add defer_pwchange to the line: the application asks for it then";
            findings.push(Finding::new(FindingId::PasswordServiceAsksMore, what, remedy));
        }
    }
    findings
}

/// Judges the account stacks of `names`, services that list the module under auth.
pub(super) fn judge<'n>(
    names: impl IntoIterator<Item = &'n String>,
    files: &ReadFile<'_>,
    configs: &ReadConfig<'_>,
) -> Vec<Finding> {
    let mut missing = BTreeMap::<(String, &str), NameList>::new();
    let mut overruled = NameList::default();
    for name in names {
        let Some(service) = Service::read(name, files) else { continue };
        let Some(password_service) = password_service(&service, files, configs) else { continue };
        let auth = password_service.service.stack(ModuleType::Auth);
        let account = password_service.service.stack(ModuleType::Account);
        let notes = by_notes(&auth);
        let own = service.stack(ModuleType::Account);
        let listed = own.iter().any(|entry| role(entry) == Role::Code);
        match notes.first() {
            Some(module) if !listed => {
                missing.entry((password_service.name, module)).or_default().add(name);
            }
            Some(_) if run(&own, ModuleResult::Failure).admitted => overruled.add(name),
            None if has_account_phase(&account)
                && listed
                && run(&own, ModuleResult::Failure).admitted =>
            {
                overruled.add(name);
            }
            Some(_) | None => {}
        }
    }
    let missing = missing.into_iter().map(|((password_service, module), names)| {
        let what = format!(
            "{names}: {module}.so in {password_service} says that a password must be changed, and no account line hears it"
        );
        let remedy = "add above the other account lines: account required pam_onetime.so";
        Finding::new(FindingId::PamAccountMissing, what, remedy)
    });
    let mut findings: Vec<_> = missing.collect();
    if !overruled.is_empty() {
        let what = format!(
            "{overruled}: what pam_onetime.so refuses under account is overruled, or never asked for"
        );
        let remedy = "make it the first of the account lines: account required pam_onetime.so";
        findings.push(Finding::new(FindingId::PamAccountOverruled, what, remedy));
    }
    findings
}

/// The service that verifies passwords for a login.
struct PasswordService {
    name: String,
    service: Service,
}

/// That of the first good line that has the password verified; `None` where other modules
/// of the stack check it, which speak to the application by themselves.
fn password_service(
    service: &Service,
    files: &ReadFile<'_>,
    configs: &ReadConfig<'_>,
) -> Option<PasswordService> {
    let (arguments, config) = first_configured(service, configs)?;
    if arguments.password != PasswordMode::Verify {
        return None;
    }
    let name = config.password.service;
    Some(PasswordService { service: Service::read(&name, files)?, name })
}

/// The modules of a stack that work by notes, each once.
fn by_notes(stack: &[&StackLine]) -> Vec<&'static str> {
    let is_there = |name: &&str| stack.iter().any(|entry| entry.name() == *name);
    BY_NOTES.into_iter().filter(is_there).collect()
}

/// Whether a login asks these account lines: those of pam_deny.so and pam_permit.so alone
/// it does not.
fn has_account_phase(account: &[&StackLine]) -> bool {
    account.iter().any(|entry| {
        !entry.begins_substack
            && (entry.is_broken() || !matches!(role(entry), Role::Permit | Role::Deny))
    })
}

/// What comes of an account stack where nothing is against the account but what our line
/// returns.
fn run(stack: &[&StackLine], ours: ModuleResult) -> Walk {
    walk(stack, |_, entry| match role(entry) {
        Role::Code => ours,
        Role::Deny => ModuleResult::Failure,
        Role::Silent | Role::Count => ModuleResult::Ignore,
        Role::Password | Role::Factor | Role::Permit => ModuleResult::Success,
        // Of pam_localuser.so the question is what comes of everybody else.
        Role::Condition | Role::Root | Role::Unknown => match entry.control.success {
            Action::Done | Action::Jump(_) => ModuleResult::Failure,
            Action::Ignore | Action::Ok | Action::Bad | Action::Die | Action::Reset => {
                ModuleResult::Success
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use pam_onetime::config::Config;

    const SSS: &str = "auth required pam_sss.so\naccount required pam_sss.so\n";
    const COMMON_ACCOUNT: &str = "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\n\
        account requisite pam_deny.so\naccount required pam_permit.so\n\
        account sufficient pam_localuser.so\n\
        account [default=bad success=ok user_unknown=ignore] pam_sss.so\n";

    fn of_password_service(text: &str) -> Vec<FindingId> {
        let files = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "common-account" => Some(COMMON_ACCOUNT.to_owned()),
            _ => None,
        };
        let service = Service::read("s", &files).unwrap();
        let findings = judge_password_service("s", &service);
        assert!(findings.iter().all(|finding| finding.level > Level::Ok));
        findings.into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn a_password_service_lists_under_account_what_works_by_notes_and_asks_once() {
        use FindingId::*;
        for (text, found) in [
            (include_str!("../../../../conf/pam.d/onetime-password"), &[][..]),
            (SSS, &[]),
            ("auth required pam_unix.so\n", &[]),
            ("auth required pam_unix.so\naccount required pam_deny.so\n", &[]),
            ("auth required pam_sss.so\n@include common-account\n", &[]),
            ("auth required pam_sss.so\n", &[PasswordServiceAccountMissing]),
            (
                "auth required pam_winbind.so\naccount required pam_unix.so\n",
                &[PasswordServiceAccountMissing],
            ),
            (
                "auth required pam_ldap.so\naccount required pam_deny.so\n",
                &[PasswordServiceAccountMissing],
            ),
            (
                "auth required pam_sss.so\naccount required pam_sss.so\naccount required pam_deny.so\n",
                &[PasswordServiceAccountRefuses],
            ),
            (
                "auth required pam_unix.so\naccount required pam_unix.so\naccount mandatory pam_permit.so\n",
                &[PasswordServiceAccountRefuses],
            ),
            (
                "auth sufficient pam_unix.so\nauth required pam_sss.so\naccount required pam_sss.so\n",
                &[PasswordServiceAsksMore],
            ),
            (
                "auth sufficient pam_unix.so\nauth required pam_sss.so use_first_pass\naccount required pam_sss.so\n",
                &[],
            ),
            (
                "auth required pam_krb5.so\naccount required pam_krb5.so\n",
                &[PasswordServiceAsksMore],
            ),
            ("auth required pam_krb5.so defer_pwchange\naccount required pam_krb5.so\n", &[]),
        ] {
            assert_eq!(of_password_service(text), found, "{text}");
        }
    }

    fn of_service(text: &str, password_service: &str) -> Vec<FindingId> {
        let files = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "onetime-password" => Some(password_service.to_owned()),
            "common-account" => Some(COMMON_ACCOUNT.to_owned()),
            _ => None,
        };
        let findings = judge([&"s".to_owned()], &files, &|_| Ok(Config::default()));
        assert!(findings.iter().all(|finding| finding.what.starts_with("s: ")), "{findings:?}");
        findings.into_iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn a_service_hears_what_its_password_service_says_of_the_account() {
        use FindingId::*;
        let auth = "auth required pam_onetime.so\n";
        for (account, found) in [
            ("account required pam_onetime.so\naccount required pam_unix.so\n", &[][..]),
            ("account required pam_onetime.so\n@include common-account\n", &[]),
            ("@include common-account\naccount required pam_onetime.so\n", &[]),
            ("", &[PamAccountMissing]),
            ("account required pam_unix.so\n", &[PamAccountMissing]),
            ("@include common-account\n", &[PamAccountMissing]),
            (
                "account optional pam_onetime.so\naccount required pam_unix.so\n",
                &[PamAccountOverruled],
            ),
            (
                "account sufficient pam_onetime.so\naccount required pam_unix.so\n",
                &[PamAccountOverruled],
            ),
            (
                "account sufficient pam_unix.so\naccount required pam_onetime.so\n",
                &[PamAccountOverruled],
            ),
            (
                "account [default=ignore] pam_onetime.so\naccount required pam_permit.so\n",
                &[PamAccountOverruled],
            ),
        ] {
            assert_eq!(of_service(&format!("{auth}{account}"), SSS), found, "{account}");
        }
        // Nothing is missed where pam_unix.so alone is asked.
        assert_eq!(of_service(auth, "auth required pam_unix.so\n"), []);
        let unix = "auth required pam_unix.so\naccount required pam_unix.so\n";
        assert_eq!(of_service(auth, unix), []);
        let optional =
            format!("{auth}account optional pam_onetime.so\naccount required pam_permit.so\n");
        assert_eq!(of_service(&optional, unix), [PamAccountOverruled]);
        // The modules of the stack speak for themselves.
        let stack = "auth requisite pam_sss.so\nauth required pam_onetime.so password=stack\naccount required pam_sss.so\n";
        assert_eq!(of_service(stack, SSS), []);
    }

    #[test]
    fn each_shipped_service_hears_it() {
        for text in [
            include_str!("../../../../conf/pam.d/sshd"),
            include_str!("../../../../conf/pam.d/login"),
            include_str!("../../../../conf/pam.d/su"),
            include_str!("../../../../conf/pam.d/su-l"),
            include_str!("../../../../conf/pam.d/sudo"),
            include_str!("../../../../conf/pam.d/sudo-i"),
            include_str!("../../../../conf/pam.d/remote"),
        ] {
            assert_eq!(of_service(text, SSS), [], "{text}");
        }
    }
}
