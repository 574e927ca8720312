//! Judges the services that use the module: each of its lines, and then the stack
//! by the rules. Text in, findings out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::Path;

use pam_onetime::config::Config;
use pam_onetime::{Arguments, PasswordMode};

use super::finding::{Finding, FindingId, NameList};
use super::roles::{Role, role};
use super::rules::{self, Mode, Note};
use super::stack::{ModuleType, ReadFile, Service, StackLine};

/// Reads a configuration that a line names.
pub(crate) type ReadConfig<'a> = dyn Fn(&Path) -> Result<Config, String> + 'a;

/// The findings, and what they make worth looking at.
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    /// Services that verify passwords for the lines seen.
    pub(crate) password_services: BTreeSet<String>,
    /// How sshd's stack takes the password, if it uses the module.
    pub(crate) sshd: Option<PasswordMode>,
}

/// Judges every service of `names`.
pub(crate) fn judge(names: &[String], files: &ReadFile<'_>, configs: &ReadConfig<'_>) -> Report {
    let mut report =
        Report { findings: Vec::new(), password_services: BTreeSet::new(), sshd: None };
    let mut notes = BTreeMap::<Note, NameList>::new();
    let mut sound = BTreeMap::<&str, NameList>::new();
    let mut used = false;
    for name in names {
        let Some(service) = Service::read(name, files) else { continue };
        if !service.entries.iter().any(|entry| role(entry) == Role::Code) {
            continue;
        }
        used = true;
        let (mode, found) = judge_service(name, &service, configs, &mut report.password_services);
        if let Some(mode) = mode {
            if name == "sshd" {
                report.sshd = Some(mode.password);
            }
            if found.is_empty() {
                sound.entry(way_of(mode.password)).or_default().add(name);
            }
        }
        for note in found {
            notes.entry(note).or_default().add(name);
        }
    }
    report.findings.extend(
        sound
            .into_iter()
            .map(|(way, names)| Finding::sound(FindingId::PamSound, format!("{names}: {way}"))),
    );
    report.findings.extend(notes.into_iter().map(|(Note { id, what, remedy }, names)| {
        Finding::new(id, format!("{names}: {what}"), remedy)
    }));
    if !used {
        let remedy = "list it in /etc/pam.d: see README.md, \"Set up sshd\"";
        let what = "no service uses pam_onetime.so";
        report.findings.push(Finding::new(FindingId::PamUnused, what, remedy));
    }
    report
}

const fn way_of(password: PasswordMode) -> &'static str {
    match password {
        PasswordMode::Verify => "password, then code",
        PasswordMode::Stack => "password by the stack, then code",
        PasswordMode::None => "code, without a password",
    }
}

/// The mode of a service's first good line with the module, and all that is to be said of
/// the service, each once.
fn judge_service(
    name: &str,
    service: &Service,
    configs: &ReadConfig<'_>,
    password_services: &mut BTreeSet<String>,
) -> (Option<Mode>, BTreeSet<Note>) {
    let mut notes = BTreeSet::new();
    for (place, what) in &service.problems {
        let remedy = "correct the line: libpam refuses every login in its place";
        notes.insert(Note::new(FindingId::PamLineBroken, format!("{place} {what}"), remedy));
    }
    let mut mode = None;
    for entry in service.entries.iter().filter(|entry| role(entry) == Role::Code) {
        if entry.kind == ModuleType::Account {
            notes.extend(arguments(entry).err().map(|what| refused(entry, &what)));
            continue;
        }
        match judge_line(entry, configs) {
            Ok((line, password_service)) => {
                password_services.extend(password_service);
                mode = mode.or(Some(line));
            }
            Err(note) => {
                notes.insert(note);
            }
        }
    }
    if let Some(mode) = mode {
        notes.extend(rules::judge(name, &service.stack(ModuleType::Auth), mode));
    }
    (mode, notes)
}

/// The mode of a line, and the service that verifies passwords for it.
fn judge_line(entry: &StackLine, configs: &ReadConfig<'_>) -> Result<(Mode, Option<String>), Note> {
    let place = &entry.place;
    if entry.kind != ModuleType::Auth {
        let what =
            format!("{place} lists it under {}, which it does not support", entry.kind.word());
        let remedy = "take the line out: the module is for auth and account alone";
        return Err(Note::new(FindingId::PamTypeWrong, what, remedy));
    }
    let (arguments, config) = configured(entry, configs).map_err(|what| refused(entry, &what))?;
    let verifies =
        arguments.password != PasswordMode::None || config.enrollment.show_without_password;
    let mode = Mode { password: arguments.password, missing: config.login.missing };
    Ok((mode, verifies.then_some(config.password.service)))
}

fn refused(entry: &StackLine, what: &str) -> Note {
    let remedy = "correct it: every login of this service is refused (pam_onetime(8))";
    Note::new(FindingId::PamArgumentsRefused, format!("{} {what}", entry.place), remedy)
}

/// The line's arguments.
fn arguments(entry: &StackLine) -> Result<Arguments, String> {
    let line: Result<Vec<_>, _> =
        entry.arguments.iter().map(|argument| CString::new(argument.as_str())).collect();
    let line = line.map_err(|_| "has a NUL in an argument".to_owned())?;
    let line: Vec<_> = line.iter().map(CString::as_c_str).collect();
    Arguments::parse(&line).map_err(|error| error.to_string())
}

/// The line's arguments, and the configuration with them.
pub(super) fn configured(
    entry: &StackLine,
    configs: &ReadConfig<'_>,
) -> Result<(Arguments, Config), String> {
    let arguments = arguments(entry)?;
    let config = configs(&arguments.config)?;
    let config = arguments.apply(config).map_err(|error| format!("argument {error}"))?;
    Ok((arguments, config))
}

/// Whether a file in pam.d is somebody's service, and not one that an editor
/// or a packager left there.
pub(crate) fn is_service(name: &str) -> bool {
    let leftovers = ["bak", "before", "orig", "old", "save", "swp", "pacnew", "pacsave"];
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let packager = ["dpkg-", "rpm", "ucf-"].iter().any(|start| ending.starts_with(start));
    !name.starts_with('.') && !name.ends_with('~') && !packager && !leftovers.contains(&ending)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use proptest::prelude::*;

    fn configs(path: &Path) -> Result<Config, String> {
        match path.to_str() {
            Some("/etc/onetime/onetime.toml") => Ok(Config::default()),
            Some("/deny") => {
                Config::parse("[login]\nmissing = \"deny\"").map_err(|e| e.to_string())
            }
            _ => Err(format!("{}: cannot be read", path.display())),
        }
    }

    const COMMON: &str = "auth [success=1 default=ignore] pam_unix.so nullok\n\
        auth requisite pam_deny.so\nauth required pam_permit.so\n";

    /// The findings for service `s`: name and text, without the sound ones.
    fn judged(text: &str) -> Vec<(FindingId, String)> {
        let files = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "common-auth" => Some(COMMON.to_owned()),
            _ => None,
        };
        let report = judge(&["s".to_owned()], &files, &configs);
        let bad = report.findings.into_iter().filter(|finding| finding.level > Level::Ok);
        bad.map(|finding| {
            assert!(finding.remedy.is_some_and(|remedy| !remedy.is_empty()));
            (finding.id, finding.what)
        })
        .collect()
    }

    #[test]
    fn nothing_is_said_against_sound_stacks() {
        for text in [
            include_str!("../../../../conf/pam.d/sshd"),
            include_str!("../../../../conf/pam.d/login"),
            include_str!("../../../../conf/pam.d/su"),
            include_str!("../../../../conf/pam.d/sudo"),
            include_str!("../../../../conf/pam.d/stack"),
            "@include common-auth\nauth required pam_onetime.so password=stack\n",
            "auth [success=1 default=ignore] pam_onetime.so\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
            "auth [success=1 default=ignore] pam_succeed_if.so user ingroup nocode\nauth required pam_onetime.so\nauth required pam_permit.so\n",
            "auth required pam_onetime.so config=/deny [prompt=One time: ]\n",
            "auth required pam_onetime.so\nauth required pam_unix.so use_first_pass\n",
            "auth required pam_faillock.so preauth\nauth required pam_onetime.so\n",
            "auth required pam_onetime.so\naccount required pam_onetime.so\naccount required pam_unix.so\n",
        ] {
            assert_eq!(judged(text), [], "{text}");
            let files = |name: &str| (name == "common-auth").then(|| COMMON.to_owned());
            let report = judge(
                &["s".to_owned()],
                &|name: &str| if name == "s" { Some(text.to_owned()) } else { files(name) },
                &configs,
            );
            assert_eq!(report.findings[0].id, FindingId::PamSound, "{text}");
        }
    }

    #[test]
    fn each_fault_has_its_name() {
        use FindingId::*;
        for (text, id, line) in [
            ("auth required pam_onetime.so passwd=stack", PamArgumentsRefused, "s:1"),
            ("auth required pam_onetime.so debug debug", PamArgumentsRefused, "s:1"),
            ("auth required pam_onetime.so window=x", PamArgumentsRefused, "argument window"),
            ("auth required pam_onetime.so config=/x", PamArgumentsRefused, "/x: cannot be read"),
            ("auth required pam_onetime.so\nauth required pam_onetime.so", PamListedTwice, ""),
            (
                "auth sufficient pam_unix.so\nauth required pam_onetime.so",
                PamCodeSkipped,
                "s:1 pam_unix.so",
            ),
            (
                "auth sufficient pam_sss.so\nauth required pam_onetime.so password=stack",
                PamCodeSkipped,
                "s:1 pam_sss.so",
            ),
            (
                "auth sufficient pam_permit.so\nauth required pam_onetime.so",
                PamCodeSkipped,
                "s:1 pam_permit.so",
            ),
            (
                "auth [success=1 default=ignore] pam_unix.so\nauth required pam_onetime.so\nauth required pam_permit.so",
                PamCodeSkipped,
                "s:1 pam_unix.so",
            ),
            (
                "auth [success=2 default=ignore] pam_unix.so\nauth [success=2 default=ignore] pam_sss.so\nauth requisite pam_deny.so\nauth required pam_onetime.so\nauth required pam_permit.so",
                PamCodeSkipped,
                "s:2 pam_sss.so",
            ),
            (
                "auth sufficient pam_u2f.so\nauth required pam_onetime.so",
                PamFactorInstead,
                "s:1 pam_u2f.so",
            ),
            ("auth requisite pam_deny.so\nauth required pam_onetime.so", PamNeverReached, ""),
            ("auth sufficient pam_onetime.so", PamSufficient, "s:1"),
            (
                "auth sufficient pam_onetime.so\nauth required pam_permit.so",
                PamCodeOverruled,
                "s:1",
            ),
            (
                "auth optional pam_onetime.so\nauth required pam_unix.so use_first_pass",
                PamCodeOverruled,
                "s:1",
            ),
            (
                "auth [success=1 default=die] pam_onetime.so\nauth required pam_nologin.so",
                PamSufficient,
                "s:1",
            ),
            ("auth required pam_onetime.so password=stack", PamPasswordUnchecked, ""),
            (
                "auth required pam_unix.so\nauth required pam_onetime.so password=stack",
                PamStrangersLock,
                "s:1 pam_unix.so",
            ),
            (
                "auth optional pam_unix.so\nauth required pam_onetime.so password=stack",
                PamPasswordOverruled,
                "",
            ),
            (
                "auth required pam_onetime.so\n@include common-auth",
                PamPasswordTwice,
                "common-auth:1 pam_unix.so",
            ),
            ("auth required pam_onetime.so password=none", PamOthersRefused, ""),
            (
                "auth requisite pam_unix.so\nauth [success=ok default=bad] pam_onetime.so password=stack",
                PamOthersRefused,
                "",
            ),
            (
                "auth required pam_onetime.so password=none\nauth required pam_permit.so",
                PamCodeAlone,
                "",
            ),
            (
                "auth required pam_onetime.so\naccount required pam_onetime.so x=1",
                PamArgumentsRefused,
                "s:2",
            ),
            ("auth required pam_onetime.so\npassword required pam_onetime.so", PamTypeWrong, "s:2"),
            ("auth required pam_onetime.so\n-session optional pam_onetime.so", PamTypeWrong, "s:2"),
            ("auth required pam_onetime.so\nauth mandatory pam_unix.so", PamLineBroken, "s:2"),
            ("auth required pam_unix.so", PamUnused, ""),
        ] {
            let found = judged(text);
            let named = |(i, w): &(FindingId, String)| *i == id && w.contains(line);
            assert!(found.iter().any(named), "{text}\n{id:?} {line}\n{found:?}");
        }
    }

    #[test]
    fn one_fault_of_many_services_is_one_finding() {
        let files = |_: &str| Some("auth required pam_onetime.so x\n".to_owned());
        let names: Vec<_> = (0..12).map(|n| format!("s{n:02}")).collect();
        // The place names the file, and so the file's own service.
        let files_of_one = |name: &str| match name {
            "common" => files(name),
            _ => Some("@include common\n".to_owned()),
        };
        let findings = judge(&names, &files_of_one, &configs).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].what.contains("s09 and 2 more: common:1"), "{findings:?}");
    }

    #[test]
    fn what_editors_and_packagers_leave_is_no_service() {
        for (name, service) in [
            ("sshd", true),
            ("gdm-password", true),
            ("my.service", true),
            ("sshd.before", false),
            ("sshd~", false),
            (".sshd.swp", false),
            ("sshd.dpkg-new", false),
            ("sshd.rpmsave", false),
        ] {
            assert_eq!(is_service(name), service, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_service_is_too_strange(words in proptest::collection::vec(proptest::sample::select(vec![
            "auth", "required", "sufficient", "[success=1 default=ignore]", "[default=die]",
            "pam_onetime.so", "pam_onetime.so", "pam_unix.so", "pam_permit.so", "password=stack",
            "password=none", "@include", "s", "substack", "\n", "\n", "\n", "[a b", "config=",
        ]), 0..60)) {
            judged(&words.join(" "));
        }
    }
}
