//! Judges the stacks that use the module, and the service that verifies
//! passwords. Text in, findings out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::Path;

use pam_onetime::config::{Config, Missing};
use pam_onetime::{Arguments, PasswordMode};

use super::finding::{Finding, Level, Names};
use super::stack::{Action, Answer, Entry, Files, Kind, Service, Walk, walk};

const CHECK: &str = "pam.d";
const PASSWORD_CHECK: &str = "password service";
const OURS: &str = "pam_onetime";

/// What a module does in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// This module.
    Code,
    /// Asks for the password, and decides by it.
    Password,
    /// Lets in by something else that the user has.
    Factor,
    /// Always success.
    Permit,
    /// Always failure.
    Deny,
    /// Has no opinion.
    Silent,
    /// Decides by who, where or when.
    Condition,
}

fn role(entry: &Entry) -> Role {
    match entry.name() {
        OURS => Role::Code,
        "pam_unix" | "pam_unix2" | "pam_tcb" | "pam_sss" | "pam_krb5" | "pam_ldap"
        | "pam_winbind" | "pam_pwdfile" | "pam_userdb" | "pam_mysql" | "pam_pgsql"
        | "pam_radius_auth" | "pam_tacplus" | "pam_himmelblau" | "pam_systemd_home" => {
            Role::Password
        }
        "pam_u2f"
        | "pam_fprintd"
        | "pam_google_authenticator"
        | "pam_oath"
        | "pam_yubico"
        | "pam_pkcs11"
        | "pam_p11"
        | "pam_ssh_agent_auth"
        | "pam_duo" => Role::Factor,
        "pam_permit" => Role::Permit,
        "pam_deny" => Role::Deny,
        "pam_faillock" if entry.has_argument("authfail") => Role::Deny,
        "pam_faildelay" | "pam_nologin" | "pam_env" | "pam_group" | "pam_cap" | "pam_mail"
        | "pam_warn" | "pam_echo" | "pam_keyinit" => Role::Silent,
        _ if entry.is_broken() => Role::Deny,
        _ => Role::Condition,
    }
}

/// Reads a configuration that a line names.
pub(crate) type Configs<'a> = dyn Fn(&Path) -> Result<Config, String> + 'a;

/// What was found out.
pub(crate) struct Judged {
    pub(crate) findings: Vec<Finding>,
    /// Services that verify passwords for the lines seen.
    pub(crate) password_services: BTreeSet<String>,
    /// How sshd's stack takes the password, if it uses the module.
    pub(crate) sshd: Option<PasswordMode>,
}

/// Judges every service of `names`.
pub(crate) fn judge(names: &[String], files: &Files<'_>, configs: &Configs<'_>) -> Judged {
    let mut notes = Notes::default();
    let mut judged =
        Judged { findings: Vec::new(), password_services: BTreeSet::new(), sshd: None };
    let mut sound = BTreeMap::<&str, Names>::new();
    let mut used = false;
    for name in names {
        let Some(service) = Service::read(name, files) else { continue };
        if !service.entries.iter().any(|entry| role(entry) == Role::Code) {
            continue;
        }
        used = true;
        let mut noted = Noting { service: name, notes: &mut notes };
        for (place, what) in &service.problems {
            let remedy = "correct the line: libpam refuses every login in its place";
            noted.add(Level::Fail, format!("{place} {what}"), remedy);
        }
        let mode = judge_lines(&service, configs, &mut noted, &mut judged.password_services);
        if let Some(mode) = mode {
            judge_stack(&service.stack(Kind::Auth), mode, &mut noted);
            if name == "sshd" {
                judged.sshd = Some(mode.password);
            }
            if mode.password == PasswordMode::None && !name.starts_with("sshd") {
                noted.add(
                    Level::Warn,
                    "password=none, and nothing but a code is asked".to_owned(),
                    "password=none is for sshd with AuthenticationMethods; elsewhere leave it out",
                );
            }
            if !notes.mentions(name) {
                let how = match mode.password {
                    PasswordMode::Verify => "password, then code",
                    PasswordMode::Stack => "password by the stack, then code",
                    PasswordMode::None => "code, without a password",
                };
                sound.entry(how).or_default().add(name);
            }
        }
    }
    for (how, services) in sound {
        judged.findings.push(Finding::ok(CHECK, format!("{services}: {how}")));
    }
    judged.findings.extend(notes.findings());
    if !used {
        let remedy = "list it in /etc/pam.d: see README.md, \"Set up sshd\"";
        judged.findings.push(Finding::warn(CHECK, "no service uses pam_onetime.so", remedy));
    }
    judged
}

/// What is to be said, of which services.
#[derive(Default)]
struct Notes(BTreeMap<(String, String, Level), BTreeSet<String>>);

impl Notes {
    fn mentions(&self, service: &str) -> bool {
        self.0.values().any(|services| services.contains(service))
    }

    fn findings(self) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(|((what, remedy, level), services)| {
            let mut names = Names::default();
            for service in services {
                names.add(service);
            }
            Finding::new(CHECK, level, format!("{names}: {what}"), remedy)
        })
    }
}

struct Noting<'a> {
    service: &'a str,
    notes: &'a mut Notes,
}

impl Noting<'_> {
    fn add(&mut self, level: Level, what: String, remedy: &str) {
        let note = (what, remedy.to_owned(), level);
        self.notes.0.entry(note).or_default().insert(self.service.to_owned());
    }
}

/// How the line takes the password, and users without a record.
#[derive(Clone, Copy)]
struct Mode {
    password: PasswordMode,
    missing: Missing,
}

/// Judges the lines of the module one by one; returns the first good one's mode.
fn judge_lines(
    service: &Service,
    configs: &Configs<'_>,
    noted: &mut Noting<'_>,
    password_services: &mut BTreeSet<String>,
) -> Option<Mode> {
    let mut first = None;
    for entry in service.entries.iter().filter(|entry| role(entry) == Role::Code) {
        let place = &entry.place;
        if entry.kind != Kind::Auth {
            let what =
                format!("{place} lists it under {}, which it does not do", entry.kind.word());
            noted.add(Level::Fail, what, "take the line out: the module is for auth alone");
            continue;
        }
        let (arguments, config) = match configured(entry, configs) {
            Ok(configured) => configured,
            Err(what) => {
                let remedy = "mend it: every login of this service is refused (pam_onetime(8))";
                noted.add(Level::Fail, format!("{place} {what}"), remedy);
                continue;
            }
        };
        if arguments.password != PasswordMode::None || config.enrollment.show_without_password {
            password_services.insert(config.password.service.clone());
        }
        first =
            first.or(Some(Mode { password: arguments.password, missing: config.login.missing }));
    }
    first
}

/// The line's arguments, and the configuration with them.
fn configured(entry: &Entry, configs: &Configs<'_>) -> Result<(Arguments, Config), String> {
    let line: Result<Vec<_>, _> =
        entry.arguments.iter().map(|argument| CString::new(argument.as_str())).collect();
    let line = line.map_err(|_| "has a NUL in an argument".to_owned())?;
    let line: Vec<_> = line.iter().map(CString::as_c_str).collect();
    let arguments = Arguments::parse(&line).map_err(|error| error.to_string())?;
    let config = configs(&arguments.config)?;
    let config = arguments.apply(config).map_err(|error| format!("argument {error}"))?;
    Ok((arguments, config))
}

/// What the modules answer in a login.
#[derive(Clone, Copy)]
struct Login {
    /// Which of the modules that look at a password or a factor is satisfied.
    satisfied: Option<usize>,
    code: Answer,
}

impl Login {
    fn walk(self, stack: &[&Entry]) -> Walk {
        walk(stack, |index, entry| match role(entry) {
            Role::Code => self.code,
            Role::Password | Role::Factor if self.satisfied == Some(index) => Answer::Success,
            Role::Password | Role::Factor | Role::Deny => Answer::Failure,
            Role::Permit => Answer::Success,
            Role::Silent => Answer::Ignore,
            // pam_rootok.so, pam_succeed_if.so: not whom they let pass is
            // asked about here, but everybody else.
            Role::Condition => match entry.control.success {
                Action::Done | Action::Jump(_) => Answer::Failure,
                Action::Ignore | Action::Ok | Action::Bad | Action::Die | Action::Reset => {
                    Answer::Success
                }
            },
        })
    }
}

/// Judges a stack by what comes of the logins that it can see.
fn judge_stack(stack: &[&Entry], mode: Mode, noted: &mut Noting<'_>) {
    let deciders = stack.iter().enumerate();
    let deciders = deciders.filter(|(_, e)| matches!(role(e), Role::Password | Role::Factor));
    let satisfied: Vec<_> =
        [None].into_iter().chain(deciders.map(|(index, _)| Some(index))).collect();
    let walks = |code| -> Vec<_> {
        satisfied
            .iter()
            .map(|satisfied| Login { satisfied: *satisfied, code }.walk(stack))
            .collect()
    };
    let is_code = |index: &usize| stack.get(*index).is_some_and(|e| role(e) == Role::Code);
    let (right, none, wrong) =
        (walks(Answer::Success), walks(Answer::Ignore), walks(Answer::Failure));

    let mut skipped = false;
    for walk in right.iter().filter(|walk| walk.admitted && !walk.asked.iter().any(is_code)) {
        skipped = true;
        // Who was satisfied last has ended it, or jumped.
        let last = walk.asked.iter().rev().filter_map(|index| stack.get(*index)).find(|entry| {
            matches!(role(entry), Role::Password | Role::Factor | Role::Permit)
                && matches!(entry.control.success, Action::Done | Action::Jump(_))
        });
        let Some(last) = last else {
            let what = "a login succeeds without coming to it".to_owned();
            noted.add(Level::Fail, what, "move pam_onetime.so up");
            continue;
        };
        let what = format!("no code is asked: {} {} skips it", last.place, last.module);
        let (level, remedy) = match role(last) {
            Role::Factor => (Level::Warn, "if that is not meant, list pam_onetime.so before it"),
            Role::Code
            | Role::Password
            | Role::Permit
            | Role::Deny
            | Role::Silent
            | Role::Condition => (
                Level::Fail,
                "put pam_onetime.so in its place, or make it requisite and add password=stack",
            ),
        };
        noted.add(level, what, remedy);
    }
    if !skipped && !right.iter().any(|walk| walk.asked.iter().any(is_code)) {
        let what = "it is never come to: what stands before it refuses everybody".to_owned();
        noted.add(Level::Warn, what, "move pam_onetime.so up");
    }
    if right.iter().any(|walk| walk.asked.iter().filter(|index| is_code(index)).count() > 1) {
        let what = "it is listed twice, and a code serves once: the second is refused".to_owned();
        noted.add(Level::Fail, what, "take one of the lines out");
    }
    judge_controls(stack, &wrong, noted);
    let refused = right.iter().zip(&none).any(|(right, none)| right.admitted && !none.admitted);
    let meant = mode.missing != Missing::Ignore;
    if mode.password != PasswordMode::Verify && refused && !meant {
        noted.add(
            Level::Fail,
            "users without a record are refused: nothing decides for them".to_owned(),
            "add after it, once the password or key was checked: auth required pam_permit.so",
        );
    }
    let first = stack.iter().position(|entry| role(entry) == Role::Code).unwrap_or(stack.len());
    match mode.password {
        PasswordMode::Stack => judge_before(stack, first, &right, noted),
        PasswordMode::Verify => {
            let later = |index: usize| {
                let entry = stack.get(index).filter(|entry| role(entry) == Role::Password)?;
                let quiet = ["use_first_pass", "try_first_pass"]
                    .iter()
                    .any(|word| entry.has_argument(word));
                (index > first && !quiet).then_some(entry)
            };
            let asked = right.iter().flat_map(|walk| walk.asked.iter());
            for entry in asked.filter_map(|index| later(*index)) {
                noted.add(
                    Level::Warn,
                    format!(
                        "{} {} checks the password again, and may ask again",
                        entry.place, entry.module
                    ),
                    "take it out: pam_onetime.so has verified the password (or add use_first_pass)",
                );
            }
        }
        PasswordMode::None => {}
    }
}

/// A refusal must be one, and what follows must not be skipped.
fn judge_controls(stack: &[&Entry], wrong: &[Walk], noted: &mut Noting<'_>) {
    let codes = || stack.iter().enumerate().filter(|(_, entry)| role(entry) == Role::Code);
    let overruled = wrong
        .iter()
        .any(|walk| walk.admitted && codes().any(|(index, _)| walk.asked.contains(&index)));
    for (index, entry) in codes() {
        let place = &entry.place;
        if overruled {
            noted.add(
                Level::Fail,
                format!("{place} a wrong code is overruled by what follows"),
                "make the line: auth required pam_onetime.so",
            );
        }
        let skips = match entry.control.success {
            Action::Done => true,
            // Over pam_deny.so alone, as pam-auth-update(8) writes it.
            Action::Jump(modules) => {
                let modules = usize::try_from(modules).unwrap_or(usize::MAX);
                let over = stack.iter().skip(index.saturating_add(1)).take(modules);
                over.into_iter().any(|entry| role(entry) != Role::Deny)
            }
            Action::Ignore | Action::Ok | Action::Bad | Action::Die | Action::Reset => false,
        };
        if skips {
            noted.add(
                Level::Warn,
                format!("{place} it is sufficient: what follows is skipped after a right code"),
                "make the line: auth required pam_onetime.so",
            );
        }
    }
}

/// With password=stack, what stands before must keep strangers away.
fn judge_before(stack: &[&Entry], first: usize, right: &[Walk], noted: &mut Noting<'_>) {
    let before = || stack.iter().take(first).filter(|entry| role(entry) == Role::Password);
    // Nobody's password was right in the first of the walks.
    let Some(stranger) = right.first() else { return };
    if before().next().is_none() {
        noted.add(
            Level::Fail,
            "password=stack, but no module before it is known to check one".to_owned(),
            "list before it: auth requisite pam_unix.so (or leave password=stack out)",
        );
    } else if stranger.asked.contains(&first) && stranger.admitted {
        noted.add(
            Level::Fail,
            "password=stack, and a wrong password is overruled".to_owned(),
            "make the password's module requisite",
        );
    } else if stranger.asked.contains(&first) {
        let names: Vec<_> =
            before().map(|entry| format!("{} {}", entry.place, entry.module)).collect();
        noted.add(
            Level::Warn,
            format!(
                "a code is asked also after a wrong password ({}): strangers can lock accounts",
                names.join(", ")
            ),
            "make the password's module requisite",
        );
    }
}

/// Judges the service that verifies passwords.
pub(crate) fn judge_password_service(name: &str, files: &Files<'_>) -> Vec<Finding> {
    let file = format!("/etc/pam.d/{name}");
    let Some(service) = Service::read(name, files) else {
        let remedy = "make it: see conf/pam.d/onetime-password";
        return vec![Finding::fail(PASSWORD_CHECK, format!("{file} is not there"), remedy)];
    };
    let mut findings: Vec<_> = service
        .problems
        .iter()
        .map(|(place, what)| {
            let remedy = "correct the line: libpam refuses every password in its place";
            Finding::fail(PASSWORD_CHECK, format!("{place} {what}"), remedy)
        })
        .collect();
    let stack = service.stack(Kind::Auth);
    if let Some(ours) = service.entries.iter().find(|entry| role(entry) == Role::Code) {
        let what = format!("{} includes pam_onetime.so: every login is refused", ours.place);
        let remedy = "put there what verifies passwords alone: auth required pam_unix.so";
        findings.push(Finding::fail(PASSWORD_CHECK, what, remedy));
    }
    let login = |satisfied| Login { satisfied, code: Answer::Failure }.walk(&stack).admitted;
    let mut passwords =
        stack.iter().enumerate().filter(|(_, e)| role(e) == Role::Password).map(|(index, _)| index);
    // A module that is not known here may be what checks passwords.
    let others = stack.iter().any(|e| matches!(role(e), Role::Condition | Role::Factor));
    let known = passwords.clone().next().is_some();
    if login(None) && (known || !others) {
        let what = format!("{file}: any password is right");
        let remedy = "make the password's module required, and let nothing overrule it";
        findings.push(Finding::fail(PASSWORD_CHECK, what, remedy));
    } else if !known {
        let what = format!("{file} has no module that is known to check passwords");
        let remedy = "list what verifies passwords on this machine: auth required pam_unix.so";
        let level = if others { Level::Warn } else { Level::Fail };
        findings.push(Finding::new(PASSWORD_CHECK, level, what, remedy));
    } else if !passwords.any(|index| login(Some(index))) {
        let what = format!("{file}: no password is ever right");
        let remedy = "look at what refuses there, beside the password's module";
        findings.push(Finding::warn(PASSWORD_CHECK, what, remedy));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(PASSWORD_CHECK, format!("{file} verifies passwords")));
    }
    findings
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

    /// The findings for service `s`: level and text, without the ok ones.
    fn judged(text: &str) -> Vec<(Level, String)> {
        let files = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "common-auth" => Some(COMMON.to_owned()),
            _ => None,
        };
        let judged = judge(&["s".to_owned()], &files, &configs);
        let bad = judged.findings.into_iter().filter(|finding| finding.level > Level::Ok);
        bad.map(|finding| {
            assert!(finding.remedy.is_some_and(|remedy| !remedy.is_empty()));
            (finding.level, finding.what)
        })
        .collect()
    }

    #[test]
    fn sound_stacks_are_left_in_peace() {
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
        ] {
            assert_eq!(judged(text), [], "{text}");
        }
    }

    #[test]
    fn each_fault_is_named() {
        use Level::{Fail, Warn};
        for (text, level, what) in [
            ("auth required pam_onetime.so passwd=stack", Fail, "s:1 argument passwd: unknown"),
            ("auth required pam_onetime.so debug debug", Fail, "given twice"),
            ("auth required pam_onetime.so window=x", Fail, "argument window: must be"),
            ("auth required pam_onetime.so config=/x", Fail, "/x: cannot be read"),
            ("auth required pam_onetime.so\nauth required pam_onetime.so", Fail, "listed twice"),
            (
                "auth sufficient pam_unix.so\nauth required pam_onetime.so",
                Fail,
                "s:1 pam_unix.so skips it",
            ),
            (
                "auth sufficient pam_sss.so\nauth required pam_onetime.so password=stack",
                Fail,
                "pam_sss.so skips it",
            ),
            (
                "auth sufficient pam_permit.so\nauth required pam_onetime.so",
                Fail,
                "pam_permit.so skips it",
            ),
            (
                "auth [success=1 default=ignore] pam_unix.so\nauth required pam_onetime.so\nauth required pam_permit.so",
                Fail,
                "pam_unix.so skips it",
            ),
            (
                "auth [success=2 default=ignore] pam_unix.so\nauth [success=2 default=ignore] pam_sss.so\nauth requisite pam_deny.so\nauth required pam_onetime.so\nauth required pam_permit.so",
                Fail,
                "pam_sss.so skips it",
            ),
            (
                "auth sufficient pam_u2f.so\nauth required pam_onetime.so",
                Warn,
                "pam_u2f.so skips it",
            ),
            ("auth requisite pam_deny.so\nauth required pam_onetime.so", Warn, "never come to"),
            ("auth sufficient pam_onetime.so", Warn, "it is sufficient"),
            (
                "auth sufficient pam_onetime.so\nauth required pam_permit.so",
                Fail,
                "a wrong code is overruled",
            ),
            (
                "auth optional pam_onetime.so\nauth required pam_unix.so use_first_pass",
                Fail,
                "overruled",
            ),
            (
                "auth [success=1 default=die] pam_onetime.so\nauth required pam_nologin.so",
                Warn,
                "it is sufficient",
            ),
            ("auth required pam_onetime.so password=stack", Fail, "no module before it is known"),
            (
                "auth required pam_unix.so\nauth required pam_onetime.so password=stack",
                Warn,
                "strangers can lock",
            ),
            (
                "auth optional pam_unix.so\nauth required pam_onetime.so password=stack",
                Fail,
                "a wrong password is overruled",
            ),
            (
                "auth required pam_onetime.so\n@include common-auth",
                Warn,
                "checks the password again",
            ),
            (
                "auth required pam_onetime.so password=none",
                Fail,
                "users without a record are refused",
            ),
            (
                "auth requisite pam_unix.so\nauth [success=ok default=bad] pam_onetime.so password=stack",
                Fail,
                "users without a record are refused",
            ),
            (
                "auth required pam_onetime.so password=none\nauth required pam_permit.so",
                Warn,
                "nothing but a code is asked",
            ),
            (
                "auth required pam_onetime.so\naccount required pam_onetime.so",
                Fail,
                "s:2 lists it under account",
            ),
            (
                "auth required pam_onetime.so\n-session optional pam_onetime.so",
                Fail,
                "under session",
            ),
            (
                "auth required pam_onetime.so\nauth mandatory pam_unix.so",
                Fail,
                "s:2 has an unknown control word",
            ),
            ("auth required pam_unix.so", Warn, "no service uses"),
        ] {
            let found = judged(text);
            let named = |(l, w): &(Level, String)| *l == level && w.contains(what);
            assert!(found.iter().any(named), "{text}\n{what}\n{found:?}");
        }
    }

    #[test]
    fn one_fault_of_many_services_is_told_once() {
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
    fn the_password_service_must_verify_passwords() {
        use Level::{Fail, Ok, Warn};
        for (text, level, what) in [
            (Some(include_str!("../../../../conf/pam.d/onetime-password")), Ok, "verifies"),
            (Some("@include common-auth"), Ok, "verifies"),
            (None, Fail, "is not there"),
            (Some(""), Fail, "no module"),
            (Some("auth required pam_permit.so"), Fail, "any password is right"),
            (Some("auth optional pam_unix.so\nauth required pam_permit.so"), Fail, "any password"),
            (Some("auth required pam_deny.so"), Fail, "no module"),
            (Some("auth required pam_homemade.so"), Warn, "known to check"),
            (Some("auth sufficient pam_homemade.so"), Warn, "known to check"),
            (
                Some("@include common-auth\nauth required pam_onetime.so"),
                Fail,
                "includes pam_onetime",
            ),
            (Some("auth required pam_unix.so\nauth required pam_deny.so"), Warn, "ever right"),
            (Some("auth required"), Fail, "names no module"),
        ] {
            let files = |name: &str| match name {
                "onetime-password" => text.map(str::to_owned),
                "common-auth" => Some(COMMON.to_owned()),
                _ => None,
            };
            let found = judge_password_service("onetime-password", &files);
            let named = |f: &Finding| f.level == level && f.what.contains(what);
            assert!(found.iter().any(named), "{text:?}\n{what}\n{found:?}");
        }
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
            let text = words.join(" ");
            judge_password_service("s", &|_: &str| Some(text.clone()));
        }
    }
}
