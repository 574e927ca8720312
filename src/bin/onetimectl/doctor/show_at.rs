//! Judges where secrets are shown (`enrollment.show_at`): by what is known of the programs
//! that are named, and whether a pending user is shown a key anywhere. Values in, findings
//! out.

use std::collections::BTreeSet;

use pam_onetime::PasswordMode;
use pam_onetime::callers::{Carrier, carrier};
use pam_onetime::config::{AtLogin, Config, ShowAt};

use super::finding::{Finding, FindingId, NameList};
use super::known_services::{Texts, program};
use super::services::{ReadConfig, first_configured};
use super::stack::{ReadFile, Service};

/// Judges the services that the configuration names; `services` are those that have a file.
pub(super) fn judge(config: &Config, services: &[String]) -> Vec<Finding> {
    let names = match &config.enrollment.show_at {
        // Not each of them is everywhere.
        ShowAt::Proven => return Vec::new(),
        ShowAt::These(names) => names,
    };
    let mut unsafe_names = NameList::default();
    let (mut short, mut unknown) = (NameList::default(), NameList::default());
    for name in names {
        match program(name).map(|program| (program.texts, &program.name)) {
            Some((Texts::Log, program)) => {
                unsafe_names.add(format!("{name} ({program} writes every text to a log)"));
            }
            Some((Texts::Stops, program)) => {
                unsafe_names.add(format!("{name} ({program} stops at a text, and nobody gets in)"));
            }
            Some((Texts::Short, program)) => {
                short.add(format!("{name} ({program} loses what is long)"));
            }
            Some((Texts::Dropped, program)) => {
                short.add(format!("{name} ({program} shows no text)"));
            }
            Some((Texts::Person | Texts::Terminal, _)) | None => {}
        }
        if !services.contains(name) {
            unknown.add(name);
        }
    }
    let mut found = Vec::new();
    let mut add = |id, names: &NameList, what: &str, remedy| {
        if !names.is_empty() {
            found.push(Finding::new(id, format!("show_at: {what}: {names}"), remedy));
        }
    };
    let what = "a secret is shown where it gets into wrong hands, or keeps users out";
    let remedy = "take them out of show_at, and hand secrets out: onetimectl handout; of a secret \
                  that was shown there: onetimectl enable --new-secret";
    add(FindingId::PolicyShowAtUnsafe, &unsafe_names, what, remedy);
    let what = "no QR code is seen, or no key";
    let remedy =
        "take them out of show_at, or let users enroll elsewhere too: ssh, sudo, a console";
    add(FindingId::PolicyShowAtShort, &short, what, remedy);
    let what = "no file in pam.d is called so";
    let remedy = "name a service as its file is called; which one a program uses, the log says: \
                  service= of its logins";
    add(FindingId::PolicyShowAtUnknown, &unknown, what, remedy);
    found
}

/// Whether a pending user is shown the key by one of these services, which use the module.
pub(super) fn is_shown_by_any(
    users: &BTreeSet<String>,
    files: &ReadFile<'_>,
    configs: &ReadConfig<'_>,
) -> bool {
    users.iter().any(|name| {
        let Some(service) = Service::read(name, files) else { return false };
        let Some((arguments, config)) = first_configured(&service, configs) else { return false };
        let enrollment = &config.enrollment;
        let asks = match enrollment.at_login {
            AtLogin::Optional | AtLogin::Required => true,
            AtLogin::Accept | AtLogin::Off => false,
        };
        let is_proven =
            arguments.password != PasswordMode::None || enrollment.show_without_password;
        let is_shown = enrollment.show_at.names(name) && carrier(name) != Carrier::Nothing;
        asks && is_proven && is_shown
    })
}

/// Somebody is pending, and is shown nothing anywhere.
pub(super) fn nothing_shown() -> Finding {
    let what = "accounts are pending, and no service shows them a key: none that uses \
                pam_onetime.so is in show_at, or at_login keeps it";
    let remedy = "hand secrets out: onetimectl handout; or list pam_onetime.so in a service of \
                  show_at";
    Finding::new(FindingId::PolicyNothingShown, what, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_judged_by_what_its_program_does_with_texts() {
        use FindingId::*;
        let services = ["sshd", "cockpit", "xdm", "sddm", "vsftpd", "polkit-1", "test"];
        let services = services.map(str::to_owned);
        for (names, expected) in [
            (r#"["sshd", "test"]"#, &[][..]),
            (r#"["cockpit"]"#, &[PolicyShowAtUnsafe]),
            (r#"["xdm"]"#, &[PolicyShowAtUnsafe]),
            (r#"["sddm", "polkit-1"]"#, &[PolicyShowAtUnsafe, PolicyShowAtShort]),
            (r#"["vsftpd"]"#, &[PolicyShowAtShort]),
            (r#"["SSHD"]"#, &[PolicyShowAtUnknown]),
            (r#"["xrdp-sesman"]"#, &[PolicyShowAtUnsafe, PolicyShowAtUnknown]),
            (r#"[]"#, &[]),
            // The default.
            (r#"["login", "remote", "sshd", "su", "su-l", "sudo", "sudo-i"]"#, &[]),
        ] {
            let config = Config::parse(&format!("enrollment.show_at = {names}")).unwrap();
            let found: Vec<_> = judge(&config, &services).iter().map(|found| found.id).collect();
            assert_eq!(found, expected, "{names}");
        }
    }

    #[test]
    fn whether_a_key_is_shown_anywhere_depends_on_each_service() {
        for (service, line, config, is_shown) in [
            ("sshd", "", "", true),
            ("sshd", "at_login=off", "", false),
            ("sshd", "at_login=accept", "", false),
            ("sshd", "at_login=required", "", true),
            ("sshd", "password=none", "", false),
            ("sshd", "password=none show_without_password=true", "", true),
            ("sshd", "", "enrollment.show_at = [\"su\"]", false),
            ("openvpn", "", "", false),
            ("openvpn", "", "enrollment.show_at = [\"openvpn\"]", true),
            ("xdm", "", "enrollment.show_at = [\"xdm\"]", false),
        ] {
            let text = format!("auth required pam_onetime.so {line}\n");
            let users = BTreeSet::from([service.to_owned()]);
            let configs = |_: &std::path::Path| Ok(Config::parse(config).unwrap());
            let shown = is_shown_by_any(&users, &|_| Some(text.clone()), &configs);
            assert_eq!(shown, is_shown, "{service} {line} {config}");
        }
        assert_eq!(nothing_shown().id, FindingId::PolicyNothingShown);
    }
}
