//! Judges the service that verifies passwords. Text in, findings out.

use super::account_line;
use super::finding::{Finding, FindingId};
use super::roles::{Role, Trial, role};
use super::stack::{ModuleResult, ModuleType, ReadFile, Service, StackLine};

/// Judges the service `name`.
pub(crate) fn judge(name: &str, files: &ReadFile<'_>) -> Vec<Finding> {
    let file = format!("/etc/pam.d/{name}");
    let Some(service) = Service::read(name, files) else {
        let what = format!("{file} is not there");
        let remedy = "make it: see conf/pam.d/onetime-password";
        return vec![Finding::new(FindingId::PasswordServiceMissing, what, remedy)];
    };
    let broken = service.problems.iter().map(|(place, what)| {
        let remedy = "correct the line: libpam refuses every password in its place";
        Finding::new(FindingId::PasswordServiceLineBroken, format!("{place} {what}"), remedy)
    });
    let mut findings: Vec<_> = broken.collect();
    // An account line of ours has nothing to say there.
    let auth = service.stack(ModuleType::Auth);
    if let Some(ours) = auth.iter().find(|entry| role(entry) == Role::Code) {
        let what = format!("{} includes pam_onetime.so: every login is refused", ours.place);
        let remedy = "list only modules there that verify passwords: auth required pam_unix.so";
        findings.push(Finding::new(FindingId::PasswordServiceRecursion, what, remedy));
    }
    findings.extend(judge_stack(&file, &auth));
    findings.extend(account_line::judge_password_service(&file, &service));
    if findings.is_empty() {
        let what = format!("{file} verifies passwords");
        findings.push(Finding::sound(FindingId::PasswordServiceSound, what));
    }
    findings
}

/// The service verifies passwords, and is logged in to as well.
pub(crate) fn shared(name: &str) -> Finding {
    let what = format!(
        "{name} verifies passwords for pam_onetime.so, and is logged in to: without \
         pam_onetime.so in it a password alone lets in there, and with it every login is refused"
    );
    let remedy = "set password.service of onetime.toml(5) to a service of its own, such as \
                  onetime-password (conf/pam.d/onetime-password), and service= in pam.d likewise";
    Finding::new(FindingId::PasswordServiceShared, what, remedy)
}

/// A right password must be accepted, and no other.
fn judge_stack(file: &str, stack: &[&StackLine]) -> Option<Finding> {
    let code = ModuleResult::Failure;
    let login = |satisfied| Trial { satisfied, code }.run(stack).admitted;
    let mut passwords =
        stack.iter().enumerate().filter(|(_, e)| role(e) == Role::Password).map(|(index, _)| index);
    // A module that is not known here may be what checks passwords.
    let others = stack.iter().any(|e| matches!(role(e), Role::Unknown | Role::Factor));
    let known = passwords.clone().next().is_some();
    if login(None) && (known || !others) {
        let what = format!("{file} accepts any password");
        let remedy = "make the password's module required, and let nothing overrule it";
        Some(Finding::new(FindingId::PasswordServiceAcceptsAny, what, remedy))
    } else if !known {
        let what = format!("{file} has no module that is known to check passwords");
        let remedy = "list what verifies passwords on this machine: auth required pam_unix.so";
        let id = if others {
            FindingId::PasswordServiceUnknown
        } else {
            FindingId::PasswordServiceChecksNone
        };
        Some(Finding::new(id, what, remedy))
    } else if !passwords.any(|index| login(Some(index))) {
        let what = format!("{file} accepts no password");
        let remedy = "look at what refuses there, beside the password's module";
        Some(Finding::new(FindingId::PasswordServiceRefusesAll, what, remedy))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMMON: &str = "auth [success=1 default=ignore] pam_unix.so nullok\n\
        auth requisite pam_deny.so\nauth required pam_permit.so\n";

    #[test]
    fn the_password_service_must_verify_passwords() {
        use FindingId::*;
        for (text, id) in [
            (Some(include_str!("../../../../conf/pam.d/onetime-password")), PasswordServiceSound),
            (Some("@include common-auth"), PasswordServiceSound),
            (None, PasswordServiceMissing),
            (Some(""), PasswordServiceChecksNone),
            (Some("auth required pam_permit.so"), PasswordServiceAcceptsAny),
            (
                Some("auth optional pam_unix.so\nauth required pam_permit.so"),
                PasswordServiceAcceptsAny,
            ),
            (Some("auth required pam_deny.so"), PasswordServiceChecksNone),
            (Some("auth required pam_homemade.so"), PasswordServiceUnknown),
            (Some("auth sufficient pam_homemade.so"), PasswordServiceUnknown),
            (Some("@include common-auth\nauth required pam_onetime.so"), PasswordServiceRecursion),
            (
                Some("auth required pam_unix.so\nauth required pam_deny.so"),
                PasswordServiceRefusesAll,
            ),
            (Some("auth required"), PasswordServiceLineBroken),
        ] {
            let files = |name: &str| match name {
                "onetime-password" => text.map(str::to_owned),
                "common-auth" => Some(COMMON.to_owned()),
                _ => None,
            };
            let found: Vec<_> = judge("onetime-password", &files).iter().map(|f| f.id).collect();
            assert!(found.contains(&id), "{text:?}\n{id:?}\n{found:?}");
            assert!(id != PasswordServiceSound || found.len() == 1, "{found:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_password_service_is_too_strange(words in proptest::collection::vec(proptest::sample::select(vec![
            "auth", "required", "sufficient", "[success=1 default=ignore]", "[default=die]",
            "pam_onetime.so", "pam_unix.so", "pam_unix.so", "pam_permit.so", "@include", "s",
            "substack", "\n", "\n", "\n", "[a b",
        ]), 0..60)) {
            let text = words.join(" ");
            judge("s", &|_: &str| Some(text.clone()));
        }
    }
}
