//! Judges each service that libpam knows: of those that use the module each of its
//! lines, and then the stack by the rules; of the others, whether a password alone lets
//! in. Text in, findings out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::path::Path;

use pam_onetime::bytes_as_text::Readable;
use pam_onetime::config::Config;
use pam_onetime::service_lines::lines;
use pam_onetime::{Arguments, PasswordMode};

use super::finding::{Finding, FindingId, NameList};
use super::known_services::is_logged_in_to;
use super::onetimed::Socket;
use super::open_services::{self, Open};
use super::programs;
use super::roles::{Role, role};
use super::rules::{self, Mode, Note};
use super::stack::{Action, ModuleResult, ModuleType, ReadFile, Service, StackLine};

/// Reads a configuration that a line names.
pub(crate) type ReadConfig<'a> = dyn Fn(&Path) -> Result<Config, String> + 'a;

/// Whether somebody has activated a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accounts {
    /// Nobody.
    NoneActive,
    /// Somebody, or nobody knows.
    Active,
}

/// What the machine is asked beside the text of services.
pub(crate) struct ServicesMachine<'a> {
    pub(crate) files: &'a ReadFile<'a>,
    pub(crate) configs: &'a ReadConfig<'a>,
    /// Where a service's file is.
    pub(crate) path: &'a dyn Fn(&str) -> String,
    /// Whether a group has members, as far as is known.
    pub(crate) has_members: &'a dyn Fn(&str) -> bool,
    /// Whether the file of a module is there, as far as is known.
    pub(crate) has_module: &'a dyn Fn(&str) -> bool,
    /// Whether a program has this name.
    pub(crate) is_program: &'a dyn Fn(&str) -> bool,
    pub(crate) accounts: Accounts,
    /// The services that sshd uses.
    pub(crate) of_sshd: BTreeSet<String>,
    /// Whether there is an sshd.
    pub(crate) has_sshd: bool,
    /// The service that verifies passwords by the configuration.
    pub(crate) password_service: Option<String>,
    /// Who listens for programs that cannot read the store.
    pub(crate) socket: Socket,
}

impl ServicesMachine<'_> {
    /// Whether a program asks for a password by this service.
    fn is_used(&self, service: &str) -> bool {
        is_logged_in_to(service) || self.of_sshd.contains(service) || (self.is_program)(service)
    }
}

/// How a service of sshd's lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SshdStack {
    /// The module takes the password in this way, by the first of its good lines.
    Code(PasswordMode),
    /// None of its lines is good: every login is refused.
    Refused,
    /// Without a code, by the line that is named.
    Open(String),
    /// Not by what somebody types, or not at all.
    Closed,
}

/// The findings, and what they make worth looking at.
pub(crate) struct Report {
    pub(crate) findings: Vec<Finding>,
    /// Services that verify passwords for the lines seen.
    pub(crate) password_services: BTreeSet<String>,
    /// Those of them that are logged in to as well.
    pub(crate) shared: BTreeSet<String>,
    /// The files that lines name as the module by an absolute path, and that are there.
    pub(crate) module_files: BTreeSet<String>,
    /// The services that use the module.
    pub(crate) users: BTreeSet<String>,
    /// Each service of sshd's.
    pub(crate) sshd: BTreeMap<String, SshdStack>,
}

/// Judges every service of `names`.
pub(crate) fn judge(names: &[String], machine: &ServicesMachine<'_>) -> Report {
    let mut report = Report {
        findings: Vec::new(),
        password_services: machine.password_service.iter().cloned().collect(),
        shared: BTreeSet::new(),
        module_files: BTreeSet::new(),
        users: BTreeSet::new(),
        sshd: BTreeMap::new(),
    };
    let services: BTreeMap<&str, Service> =
        names.iter().filter_map(|name| Some((name.as_str(), read(name, machine)?))).collect();
    let mut notes = BTreeMap::<Note, NameList>::new();
    let mut sound = BTreeMap::<&str, NameList>::new();
    for (name, service) in &services {
        if !service.entries.iter().any(|entry| role(entry) == Role::Code) {
            continue;
        }
        let (mode, found) = judge_service(name, service, machine, &mut report);
        if lists_us(service) {
            report.users.insert((*name).to_owned());
            if let Some(mode) = mode.filter(|_| found.is_empty()) {
                sound.entry(way_of(mode.password)).or_default().add(*name);
            }
            if machine.of_sshd.contains(*name) {
                let stack = mode.map_or(SshdStack::Refused, |mode| SshdStack::Code(mode.password));
                report.sshd.insert((*name).to_owned(), stack);
            }
        }
        for note in found {
            notes.entry(note).or_default().add(*name);
        }
    }
    report.findings.extend(
        sound
            .into_iter()
            .map(|(way, names)| Finding::sound(FindingId::PamSound, format!("{names}: {way}"))),
    );
    report.findings.extend(findings_of(notes));
    report.findings.extend(judge_others(&services, &report.password_services, machine));
    let shared = report.password_services.iter().filter(|name| machine.is_used(name));
    report.shared = shared.cloned().collect();
    add_open(&mut report, &services, machine);
    if report.users.is_empty() {
        report.findings.push(unused(machine.accounts));
    }
    report
}

/// Adds the services that let in without the module.
fn add_open(
    report: &mut Report,
    services: &BTreeMap<&str, Service>,
    machine: &ServicesMachine<'_>,
) {
    let only_passwords = report.password_services.difference(&report.shared).cloned().collect();
    let is_used = |name: &str| machine.is_used(name);
    let open = open_services::of(services, &only_passwords, &is_used);
    for name in &machine.of_sshd {
        // libpam takes `other` for a service without a file, or without lines for auth.
        let own = services.get(name.as_str());
        let own = own.filter(|service| !service.stack(ModuleType::Auth).is_empty());
        let file = own.map_or("other", |_| name.as_str());
        let stack = match open.get(file) {
            Some(open) => open.line().map_or(SshdStack::Closed, SshdStack::Open),
            None => SshdStack::Closed,
        };
        report.sshd.entry(name.clone()).or_insert(stack);
    }
    // Of sshd's own the judgement of sshd says more, and that is worse.
    let is_said = |name: &str| {
        let judged = machine.accounts == Accounts::Active && machine.has_sshd;
        judged && matches!(report.sshd.get(name), Some(SshdStack::Open(_)))
    };
    let open: BTreeMap<&str, Open> = open.into_iter().filter(|(name, _)| !is_said(name)).collect();
    report.findings.extend(open_services::findings(&open, machine.path));
}

/// A service, with the lines that are about a group without members known as such: display
/// managers ship one for `nopasswdlogin`.
fn read(name: &str, machine: &ServicesMachine<'_>) -> Option<Service> {
    let mut service = Service::read(name, machine.files)?;
    for entry in &mut service.entries {
        let is_empty = |groups: &Vec<&str>| !groups.iter().any(|it| (machine.has_members)(it));
        entry.is_idle = entry.groups().iter().any(is_empty);
    }
    Some(service)
}

fn unused(accounts: Accounts) -> Finding {
    let remedy = "list it in /etc/pam.d: see README.md, \"Set up\"";
    match accounts {
        Accounts::NoneActive => {
            Finding::new(FindingId::PamUnused, "no service uses pam_onetime.so", remedy)
        }
        Accounts::Active => Finding::new(
            FindingId::PamUnusedByAccounts,
            "accounts are active, and no service uses pam_onetime.so: no login asks for a code",
            remedy,
        ),
    }
}

/// Whether an authentication comes to the module.
pub(super) fn lists_us(service: &Service) -> bool {
    service.stack(ModuleType::Auth).into_iter().any(|entry| role(entry) == Role::Code)
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
    machine: &ServicesMachine<'_>,
    report: &mut Report,
) -> (Option<Mode>, BTreeSet<Note>) {
    let mut notes: BTreeSet<_> = broken_lines(FindingId::PamLineBroken, service).collect();
    notes.extend(missing_modules(FindingId::PamModuleMissing, service, machine));
    let ours = service.entries.iter().filter(|entry| role(entry) == Role::Code);
    let there = ours.filter(|entry| is_path(&entry.module) && (machine.has_module)(&entry.module));
    report.module_files.extend(there.map(|entry| entry.module.clone()));
    let mut mode = None;
    for entry in service.entries.iter().filter(|entry| role(entry) == Role::Code) {
        if !entry.module.ends_with(".so") {
            let what = format!(
                "{} names `{}`, which is no file of a module",
                entry.place,
                Readable(&entry.module)
            );
            let remedy = "write pam_onetime.so: libpam refuses every login in its place";
            notes.insert(Note::new(FindingId::PamLineBroken, what, remedy));
        }
        if entry.kind == ModuleType::Account {
            notes.extend(arguments(entry).err().map(|what| refused(entry, &what)));
            continue;
        }
        match judge_line(name, entry, machine) {
            Ok(line) => {
                report.password_services.extend(line.password_service);
                notes.extend(line.of_program);
                mode = mode.or(Some(line.mode));
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

/// The lines that libpam does not understand.
fn broken_lines(id: FindingId, service: &Service) -> impl Iterator<Item = Note> {
    let remedy = "correct the line: libpam refuses every login in its place";
    let note = move |(place, what)| Note::new(id, format!("{place} {what}"), remedy);
    service.problems.iter().map(|(place, what)| (place, what)).map(note)
}

fn is_path(module: &str) -> bool {
    module.starts_with('/')
}

/// The lines whose module is not there. Left out are those that then change nothing, and the
/// module itself by its usual name, of which the judgement of the module says more.
fn missing_modules(
    id: FindingId,
    service: &Service,
    machine: &ServicesMachine<'_>,
) -> impl Iterator<Item = Note> {
    let remedy = "correct the path, or install what it names: libpam has no other module for it";
    let refuses = |entry: &StackLine| {
        let after = entry.control.after(ModuleResult::Failure);
        !entry.may_be_missing && matches!(after, Action::Bad | Action::Die)
    };
    let matters = move |entry: &&StackLine| {
        if role(entry) == Role::Code { is_path(&entry.module) } else { refuses(entry) }
    };
    let named = service.entries.iter().filter(|entry| entry.module.ends_with(".so"));
    let missing = named.filter(matters).filter(|entry| !(machine.has_module)(&entry.module));
    missing.map(move |entry| {
        let result = if entry.may_be_missing { "is passed over" } else { "fails" };
        let what = format!(
            "{} names {}, which is not there: the line {result}",
            entry.place, entry.module
        );
        Note::new(id, what, remedy)
    })
}

/// What libpam cannot do of the services without the module: a slip in the line that was to
/// list it would look like a service that was never set up.
fn judge_others(
    services: &BTreeMap<&str, Service>,
    password_services: &BTreeSet<String>,
    machine: &ServicesMachine<'_>,
) -> Vec<Finding> {
    let mut notes = BTreeMap::<Note, NameList>::new();
    for (name, service) in services {
        let is_said = service.entries.iter().any(|entry| role(entry) == Role::Code)
            || password_services.contains(*name);
        if is_said {
            continue;
        }
        let text = (machine.files)(name).unwrap_or_default();
        let id =
            if is_meant(&text) { FindingId::PamLineBroken } else { FindingId::PamServiceBroken };
        let missing = missing_modules(FindingId::PamServiceBroken, service, machine);
        for note in broken_lines(id, service).chain(missing) {
            notes.entry(note).or_default().add(*name);
        }
    }
    findings_of(notes).collect()
}

/// Whether a line of the file has to do with the module, be it understood or not.
pub(super) fn is_meant(text: &str) -> bool {
    lines(text).iter().any(|(_, line)| line.contains("pam_onetime"))
}

/// One finding for each note, with the services that share it.
fn findings_of(notes: BTreeMap<Note, NameList>) -> impl Iterator<Item = Finding> {
    notes.into_iter().map(|(Note { id, what, remedy }, names)| {
        Finding::new(id, format!("{names}: {what}"), remedy)
    })
}

/// What a good line of the module says.
struct GoodLine {
    mode: Mode,
    /// The service that verifies passwords for it.
    password_service: Option<String>,
    /// What is to be said of it because of the program that uses the service.
    of_program: Vec<Note>,
}

fn judge_line(
    service: &str,
    entry: &StackLine,
    machine: &ServicesMachine<'_>,
) -> Result<GoodLine, Note> {
    let configs = machine.configs;
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
    Ok(GoodLine {
        mode: Mode { password: arguments.password, missing: config.login.missing },
        of_program: programs::judge(service, entry, &arguments, &config, machine.socket),
        password_service: verifies.then_some(config.password.service),
    })
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

/// Arguments and configuration of the service's first good line of the module.
pub(super) fn first_configured(
    service: &Service,
    configs: &ReadConfig<'_>,
) -> Option<(Arguments, Config)> {
    let auth = service.stack(ModuleType::Auth);
    let mut ours = auth.iter().filter(|entry| role(entry) == Role::Code);
    ours.find_map(|entry| configured(entry, configs).ok())
}

/// Whether a file in pam.d is somebody's service, and not one that an editor
/// or a packager left there.
pub(crate) fn is_service(name: &str) -> bool {
    // pam_start(3) makes every name lower-case.
    let no_name = name.starts_with(['.', '#']) || name.ends_with('~');
    let capital = name.chars().any(|c| c.is_ascii_uppercase());
    let endings = name.split('.').skip(1).any(|ending| {
        let packager =
            ["dpkg-", "rpm", "ucf-", "apk-"].iter().any(|start| ending.starts_with(start));
        packager || LEFTOVERS.contains(&ending)
    });
    !no_name && !capital && !endings
}

/// How editors, packagers and pam-auth-update(8) end the names of what they keep.
const LEFTOVERS: [&str; 17] = [
    "bak", "backup", "before", "disabled", "example", "new", "old", "orig", "pacnew", "pacsave",
    "pam-new", "pam-old", "sample", "save", "sav", "swp", "tmp",
];

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

    fn machine<'a>(files: &'a ReadFile<'a>, accounts: Accounts) -> ServicesMachine<'a> {
        ServicesMachine {
            files,
            configs: &configs,
            path: &|name| format!("/etc/pam.d/{name}"),
            is_program: &|_| false,
            has_module: &|_| true,
            has_members: &|group| group != "nopasswdlogin",
            accounts,
            of_sshd: BTreeSet::new(),
            has_sshd: true,
            password_service: Some("onetime-password".to_owned()),
            socket: Socket::Silent,
        }
    }

    /// The findings for service `s`: name and text, without the sound ones.
    fn judged(text: &str) -> Vec<(FindingId, String)> {
        let files = |name: &str| match name {
            "s" => Some(text.to_owned()),
            "common-auth" => Some(COMMON.to_owned()),
            _ => None,
        };
        let report = judge(&["s".to_owned()], &machine(&files, Accounts::NoneActive));
        let bad = report.findings.into_iter().filter(|finding| finding.level > Level::Ok);
        bad.map(|finding| {
            assert!(finding.remedy.is_some_and(|remedy| !remedy.is_empty()));
            (finding.id, finding.what)
        })
        .collect()
    }

    #[test]
    fn what_lets_root_pass_lets_everybody_pass_in_the_service_of_a_daemon() {
        let text = "auth sufficient pam_rootok.so\nauth required pam_onetime.so\n";
        let files = |name: &str| (name != "onetime-password").then(|| text.to_owned());
        for (name, is_open) in [
            ("su", false),
            ("su-l", false),
            ("chsh", false),
            ("sshd", true),
            ("login", true),
            ("remote", true),
            ("gdm-password", true),
            ("lightdm", true),
        ] {
            let report = judge(&[name.to_owned()], &machine(&files, Accounts::NoneActive));
            let fails = report.findings.iter().any(|finding| finding.level == Level::Fail);
            assert_eq!(fails, is_open, "{name}: {:?}", report.findings);
        }
    }

    #[test]
    fn a_line_whose_module_libpam_does_not_find_is_broken() {
        use FindingId::PamLineBroken;
        for text in [
            "auth required pam_onetime\n",
            "auth required pam_onetime.so\r\n",
            "auth required pam_env.so\r\nauth required pam_onetime.so\n",
        ] {
            let found: Vec<_> = judged(text).into_iter().map(|(id, _)| id).collect();
            assert!(found.contains(&PamLineBroken), "{text:?}: {found:?}");
        }
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
            "auth required pam_succeed_if.so user notingroup nologin\nauth required pam_onetime.so\n",
            "auth sufficient pam_rootok.so\nauth required pam_onetime.so\n",
            "auth sufficient pam_succeed_if.so user ingroup nopasswdlogin\nauth required pam_onetime.so\n",
            include_str!("../../../../conf/pam.d/su-l"),
            include_str!("../../../../conf/pam.d/sudo-i"),
            include_str!("../../../../conf/pam.d/remote"),
            "auth required pam_onetime.so config=/deny [prompt=One time: ]\n",
            "auth required pam_onetime.so\nauth required pam_unix.so use_first_pass\n",
            "auth required pam_faillock.so preauth\nauth required pam_onetime.so\n",
            "auth required pam_onetime.so\naccount required pam_onetime.so\naccount required pam_unix.so\n",
        ] {
            assert_eq!(judged(text), [], "{text}");
            let files = |name: &str| (name == "common-auth").then(|| COMMON.to_owned());
            let files = |name: &str| if name == "s" { Some(text.to_owned()) } else { files(name) };
            let report = judge(&["s".to_owned()], &machine(&files, Accounts::NoneActive));
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
            (
                "auth [success=1 default=ignore] pam_succeed_if.so user ingroup nocode\nauth required pam_onetime.so\nauth required pam_permit.so",
                PamCodeSkipped,
                "no password and no code is asked: s:1 pam_succeed_if.so",
            ),
            (
                "auth requisite pam_unix.so\nauth [success=1 default=ignore] pam_succeed_if.so user ingroup nocode\nauth required pam_onetime.so password=stack",
                PamConditionInstead,
                "s:2 pam_succeed_if.so",
            ),
            (
                "auth sufficient pam_exec.so expose_authtok /bin/x\nauth required pam_onetime.so",
                PamCodeSkipped,
                "s:1 pam_exec.so",
            ),
            (
                "auth sufficient pam_localuser.so\nauth required pam_onetime.so",
                PamCodeSkipped,
                "s:1",
            ),
            ("auth sufficient pam_rhosts.so\nauth required pam_onetime.so", PamCodeSkipped, "s:1"),
            (
                "auth sufficient pam_wheel.so trust\nauth required pam_onetime.so",
                PamCodeSkipped,
                "s:1",
            ),
            (
                "auth [success=ok auth_err=1 default=ignore] pam_homemade.so\nauth required pam_onetime.so\nauth required pam_permit.so",
                PamCodeSkipped,
                "s:1 pam_homemade.so",
            ),
            (
                "auth [success=ok auth_err=bad default=ignore] pam_onetime.so\nauth required pam_permit.so",
                PamCodeOverruled,
                "s:1",
            ),
            // The module that skips is named, and not one that decides later.
            (
                "auth [success=1 default=ignore] pam_succeed_if.so uid < 1000\nauth required pam_onetime.so\nauth [success=1 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_permit.so",
                PamConditionInstead,
                "s:1 pam_succeed_if.so",
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
    fn a_line_whose_module_is_not_there_is_named_where_it_changes_a_login() {
        use FindingId::*;
        let ours = "auth required pam_onetime.so\n";
        for (text, id, what) in [
            ("auth required /opt/pam_onetime.so\n", Some(PamModuleMissing), "the line fails"),
            ("-auth required /opt/pam_onetime.so\n", Some(PamModuleMissing), "is passed over"),
            (
                "auth required pam_gone.so\nauth required pam_onetime.so\n",
                Some(PamModuleMissing),
                "s:1",
            ),
            ("auth required pam_onetim.so\n", Some(PamServiceBroken), "pam_onetim.so"),
            ("-auth required pam_gone.so\nauth required pam_onetime.so\n", None, ""),
            ("auth sufficient pam_gone.so\nauth required pam_onetime.so\n", None, ""),
            (ours, None, ""),
        ] {
            let files = |name: &str| (name == "s").then(|| text.to_owned());
            let there = |module: &str| {
                !["/opt/pam_onetime.so", "pam_gone.so", "pam_onetim.so"].contains(&module)
            };
            let machine =
                ServicesMachine { has_module: &there, ..machine(&files, Accounts::NoneActive) };
            let found = judge(&["s".to_owned()], &machine).findings;
            let found =
                found.into_iter().filter(|f| [PamModuleMissing, PamServiceBroken].contains(&f.id));
            let found: Vec<_> = found.map(|finding| (Some(finding.id), finding.what)).collect();
            match found.as_slice() {
                [] => assert_eq!(id, None, "{text}"),
                [(named, said)] => assert!(*named == id && said.contains(what), "{text}: {said}"),
                more => panic!("{text}: {more:?}"),
            }
        }
    }

    #[test]
    fn a_service_of_which_libpam_understands_nothing_is_not_passed_over() {
        use FindingId::*;
        for (text, id) in [
            ("auht required pam_onetime.so\n", PamLineBroken),
            ("auht required pam_unix.so\n", PamServiceBroken),
            ("# pam_onetime.so\nauth mandatory pam_unix.so\n", PamServiceBroken),
            ("auth include nowhere\n", PamServiceBroken),
        ] {
            let found = judged(text);
            let named =
                |(found, what): &(FindingId, String)| *found == id && what.contains("s: s:");
            assert!(found.iter().any(named), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_login_service_that_verifies_passwords_is_not_hidden_by_that() {
        let login = "auth required pam_unix.so\n";
        let files = |name: &str| match name {
            "s" => Some("auth required pam_onetime.so\n".to_owned()),
            "login" | "sshd" | "my-passwords" => Some(login.to_owned()),
            _ => None,
        };
        for (service, is_shared) in [("login", true), ("sshd", true), ("my-passwords", false)] {
            let machine = ServicesMachine {
                password_service: Some(service.to_owned()),
                configs: &|_| {
                    let text = format!("password.service = {service:?}");
                    Config::parse(&text).map_err(|error| error.to_string())
                },
                of_sshd: BTreeSet::from(["sshd".to_owned()]),
                ..machine(&files, Accounts::Active)
            };
            let names = ["s", "login", "sshd", "my-passwords"].map(str::to_owned);
            let report = judge(&names, &machine);
            assert_eq!(report.shared.contains(service), is_shared, "{service}");
            assert!(matches!(report.sshd["sshd"], SshdStack::Open(_)), "{service}");
            let open = |name: &str| {
                let begins = format!("{name}: a password alone");
                report.findings.iter().any(|finding| finding.what.starts_with(&begins))
            };
            assert!(open("login"), "{service}: {:?}", report.findings);
            assert_eq!(open("my-passwords"), is_shared, "{service}");
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
        let findings = judge(&names, &machine(&files_of_one, Accounts::NoneActive)).findings;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].what.contains("s09, s10, s11: common:1"), "{findings:?}");
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
            ("#sshd#", false),
            ("sshd.dpkg-new", false),
            ("sshd.dpkg-old", false),
            ("sshd.dpkg-dist", false),
            ("sshd.dpkg-bak", false),
            ("sshd.ucf-dist", false),
            ("sshd.ucf-old", false),
            ("common-auth.pam-old", false),
            ("common-auth.pam-new", false),
            ("sshd.rpmsave", false),
            ("sshd.rpmnew", false),
            ("sshd.pacnew", false),
            ("sshd.apk-new", false),
            ("sshd.bak.2", false),
            ("Sshd", false),
            ("polkit-1", true),
            ("sudo-i", true),
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
