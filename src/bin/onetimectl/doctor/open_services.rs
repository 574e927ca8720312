//! The services that do not use the module, and whom each lets in without a code: a line
//! for each that accepts a password. Values in, findings out.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::{Finding, FindingId, NameList};
use super::known_services::{Prompts, asks_nobody, is_run_by_its_user, prompts};
use super::roles::{Role, role};
use super::search::{CodeFate, Passage, Proof, Step, Wanted, passage};
use super::services::lists_us;
use super::stack::{ModuleType, Service, StackLine};

/// Whom a service lets in without a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Open {
    /// Who has the password. The line that accepts it; the services without a file or
    /// without lines for auth are meant by `other`.
    Password(Way),
    /// Whoever another module lets pass, without a password.
    Nothing(Way),
    /// Who has something else, such as a key or a finger.
    Factor,
    /// Its program does not ask, or only root starts it.
    NeverAsked,
    /// It has too many ways to follow them all.
    Unclear,
}

impl Open {
    /// The line by which it lets in who types something.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Self::Password(way) | Self::Nothing(way) => Some(way.line.clone()),
            Self::Unclear => Some("too many ways to follow them all".to_owned()),
            Self::Factor | Self::NeverAsked => None,
        }
    }
}

/// By which line a service lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// As in "common-auth:17 pam_unix.so".
    line: String,
    /// The file that the line is in.
    file: String,
    /// Services that libpam takes `other` for, if that is this one.
    stands_for: Vec<String>,
}

/// As the services of display managers are called that show the dialogue, or log in
/// who is configured.
const NEVER_ASKED_ENDINGS: [&str; 2] = ["-greeter", "-autologin"];

/// How files begin that distributions have to be included, even where nothing does.
const PARTS: [&str; 9] = [
    "base-",
    "common-",
    "fingerprint-auth",
    "password-auth",
    "postlogin",
    "smartcard-auth",
    "system-auth",
    "system-services",
    "xdg-auth",
];

/// Whether the programs of a service ask nobody, or only root starts them.
pub(super) fn is_never_asked(name: &str) -> bool {
    asks_nobody(name) || NEVER_ASKED_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether a file of this name is there to be included.
pub(super) fn is_part_by_name(name: &str) -> bool {
    PARTS.iter().any(|start| name.starts_with(start))
}

/// The services that let in without a code. Left out: those that verify passwords for the
/// module, and what is there to be included.
pub(super) fn of<'a>(
    services: &BTreeMap<&'a str, Service>,
    password_services: &BTreeSet<String>,
    is_used: &dyn Fn(&str) -> bool,
) -> BTreeMap<&'a str, Open> {
    let includes = services.iter().flat_map(|(name, service)| {
        let others = service.includes.iter().map(|file| file_name(file));
        others.filter(|file| *file != *name)
    });
    let included: BTreeSet<_> = includes.collect();
    let is_part = |name: &str| (is_part_by_name(name) || included.contains(name)) && !is_used(name);
    let has_auth = |service: &Service| !service.stack(ModuleType::Auth).is_empty();
    let mut open = BTreeMap::new();
    for (name, service) in services {
        let is_judged = has_auth(service)
            && !lists_us(service)
            && !password_services.contains(*name)
            && (is_never_asked(name) || !is_part(name));
        if !is_judged {
            continue;
        }
        let stands_for = services.iter().filter(|_| *name == "other");
        let stands_for = stands_for.filter(|(name, service)| !has_auth(service) && !is_part(name));
        let stands_for = stands_for.map(|(name, _)| (*name).to_owned()).collect();
        if let Some(found) = look(name, &service.stack(ModuleType::Auth), stands_for) {
            open.insert(*name, found);
        }
    }
    open
}

/// The service that an include is of, also by the path of its file.
fn file_name(include: &str) -> &str {
    match include.rsplit_once('/') {
        Some((dir, name)) if dir.ends_with("/pam.d") => name,
        Some(_) | None => include,
    }
}

/// Whom a stack lets in; nobody but root: none.
fn look(name: &str, stack: &[&StackLine], stands_for: Vec<String>) -> Option<Open> {
    let closed = BTreeSet::new();
    for at_most in [Proof::Nothing, Proof::Factor, Proof::Password] {
        let wanted = Wanted { code: CodeFate::NotAsked, at_most, closed: &closed };
        let way = match passage(stack, wanted) {
            Passage::None => continue,
            Passage::Unclear => return Some(Open::Unclear),
            Passage::Way(way) => way,
        };
        if is_never_asked(name) {
            return Some(Open::NeverAsked);
        }
        let way = Way { stands_for, ..named(&way, stack) };
        return Some(match at_most {
            Proof::Nothing => Open::Nothing(way),
            Proof::Factor => Open::Factor,
            Proof::Password => Open::Password(way),
        });
    }
    None
}

/// The line that has decided, or the last that was come to.
fn named(way: &[Step], stack: &[&StackLine]) -> Way {
    let steps = || way.iter().rev().filter_map(|step| Some((step, *stack.get(step.index)?)));
    let accepts = |(step, line): &(&Step, &StackLine)| {
        step.result == super::stack::ModuleResult::Success
            && matches!(role(line), Role::Password | Role::Unknown)
    };
    let line = steps().find(accepts).or_else(|| steps().next()).map(|(_, line)| line);
    let named = line.map(|line| (format!("{} {}", line.place, line.module), &line.place.file));
    let (line, file) = named.map_or_else(Default::default, |(line, file)| (line, file.clone()));
    Way { line, file, stands_for: Vec::new() }
}

/// A line for each service that accepts a password, and one for all others of a kind.
pub(super) fn findings(open: &BTreeMap<&str, Open>, path: &dyn Fn(&str) -> String) -> Vec<Finding> {
    let mut found = Vec::new();
    let (mut never, mut factors) = (NameList::default(), NameList::default());
    let mut lockers = NameList::default();
    for (name, open) in open {
        let (what, way) = match open {
            Open::NeverAsked => {
                never.add(*name);
                continue;
            }
            Open::Factor => {
                factors.add(*name);
                continue;
            }
            Open::Unclear => {
                let what = format!("{name}: its stack has too many ways to follow them all");
                let remedy = format!("take jumps out of {}", path(name));
                found.push(Finding::new(FindingId::PamWithoutCode, what, remedy));
                continue;
            }
            Open::Password(_) if is_run_by_its_user(name) => {
                lockers.add(*name);
                continue;
            }
            Open::Password(way) => ("a password alone lets in", way),
            Open::Nothing(way) => ("lets in without a password and without a code", way),
        };
        let also = match way.stands_for.as_slice() {
            [] if *name == "other" => " (every service without a file)".to_owned(),
            [] => String::new(),
            names => {
                let mut list = NameList::default();
                names.iter().for_each(|name| list.add(name.as_str()));
                format!(" (every service without a file, and {list})")
            }
        };
        let what = format!("{name}{also}: {what}: {}", way.line);
        found.push(Finding::new(FindingId::PamWithoutCode, what, remedy(name, way, path)));
    }
    if !never.is_empty() {
        let what = format!("{never}: would accept a password alone, but are never asked for one");
        found.push(Finding::sound(FindingId::PamNeverAsked, what));
    }
    if !factors.is_empty() {
        let what = format!("{factors}: let in by something else than a password, without a code");
        found.push(Finding::sound(FindingId::PamOtherFactor, what));
    }
    if !lockers.is_empty() {
        let what = format!("{lockers}: the user's password alone unlocks: they ask for no code");
        found.push(Finding::sound(FindingId::PamLocker, what));
    }
    found
}

fn remedy(name: &str, way: &Way, path: &dyn Fn(&str) -> String) -> String {
    let file = path(name);
    let place = format!("/etc/pam.d/{name}");
    let copy = if file == place { String::new() } else { format!("copy {file} to {place}, and ") };
    let profile = if way.file == "common-auth" {
        "pam-auth-update --enable onetime, for every service of common-auth (README.md); or "
    } else {
        ""
    };
    let ours = match prompts(name) {
        Prompts::Any => "pam_onetime.so",
        Prompts::One => "pam_onetime.so prompt=combined",
        Prompts::WithoutRoot => {
            return format!(
                "if that is not meant: {profile}{copy}put pam_onetime.so in the place of what \
                 checks the password in {place}, and have onetimed judge its logins: its program \
                 cannot read the store (onetimed(8))"
            );
        }
    };
    format!(
        "if that is not meant: {profile}{copy}put {ours} in the place of what checks the password \
         in {place}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::super::onetimed::Socket;
    use super::super::services::{Accounts, Report, ServicesMachine, SshdStack, judge};
    use super::*;
    use pam_onetime::config::Config;

    const COMMON: &str = "auth [success=1 default=ignore] pam_unix.so nullok\n\
        auth requisite pam_deny.so\nauth required pam_permit.so\n";

    fn report(services: &[(&str, &str)], accounts: Accounts, of_sshd: &[&str]) -> Report {
        let files = |name: &str| match name.strip_prefix("/etc/pam.d/").unwrap_or(name) {
            "common-auth" => Some(COMMON.to_owned()),
            name => services.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned()),
        };
        let names = services.iter().map(|(name, _)| (*name).to_owned());
        let names: Vec<_> = names.chain(["common-auth".to_owned()]).collect();
        let machine = ServicesMachine {
            files: &files,
            configs: &|_| Ok(Config::default()),
            path: &|name| match name {
                "polkit-1" => "/usr/lib/pam.d/polkit-1".to_owned(),
                name => format!("/etc/pam.d/{name}"),
            },
            is_program: &|name| name == "su",
            has_module: &|_| true,
            has_members: &|_| true,
            accounts,
            has_sshd: true,
            of_sshd: of_sshd.iter().map(|name| (*name).to_owned()).collect(),
            password_service: Some("onetime-password".to_owned()),
            socket: Socket::Silent,
        };
        judge(&names, &machine)
    }

    /// The level and text of what is said of the services.
    fn said(services: &[(&str, &str)], accounts: Accounts) -> Vec<(FindingId, String)> {
        let found = report(services, accounts, &[]).findings.into_iter();
        found.map(|finding| (finding.id, finding.what)).collect()
    }

    const OURS: (&str, &str) = ("login", "auth required pam_onetime.so\n");

    #[test]
    fn each_service_that_accepts_a_password_has_a_line_of_its_own() {
        let include = "@include common-auth\n";
        let found = report(
            &[
                OURS,
                ("sudo-i", include),
                ("polkit-1", include),
                ("su", "auth sufficient pam_rootok.so\n@include common-auth\n"),
                ("su-l", "auth include su\n"),
                ("vpn", "auth required pam_homemade.so\n"),
                ("ftp", "auth required pam_permit.so\n"),
                ("onetime-password", "auth required pam_unix.so\n"),
                ("runuser", "auth sufficient pam_rootok.so\n"),
                ("denied", "auth required pam_deny.so\n"),
            ],
            Accounts::Active,
            &[],
        );
        let open = found.findings.iter().filter(|finding| finding.id == FindingId::PamWithoutCode);
        let open: Vec<_> = open.collect();
        let what: Vec<_> = open.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(
            what,
            [
                "ftp: lets in without a password and without a code: ftp:1 pam_permit.so",
                "polkit-1: a password alone lets in: common-auth:1 pam_unix.so",
                "su: a password alone lets in: common-auth:1 pam_unix.so",
                "su-l: a password alone lets in: common-auth:1 pam_unix.so",
                "sudo-i: a password alone lets in: common-auth:1 pam_unix.so",
                "vpn: a password alone lets in: vpn:1 pam_homemade.so",
            ]
        );
        assert!(open.iter().all(|finding| finding.level == Level::Warn), "{open:#?}");
        let remedies: Vec<_> = open.iter().filter_map(|finding| finding.remedy.as_ref()).collect();
        assert!(remedies[1].contains("copy /usr/lib/pam.d/polkit-1 to /etc/pam.d/polkit-1, and"));
        assert!(remedies[4].contains("pam-auth-update --enable onetime"), "{remedies:#?}");
        assert!(!remedies[5].contains("pam-auth-update"), "{remedies:#?}");
    }

    #[test]
    fn programs_that_never_ask_are_told_and_no_alarm() {
        let found = said(
            &[
                OURS,
                ("cron", "@include common-auth\n"),
                ("systemd-user", "@include common-auth\n"),
                ("lightdm-autologin", "auth required pam_permit.so\n"),
                ("sddm-greeter", "auth required pam_permit.so\n"),
                ("gdm-fingerprint", "auth required pam_fprintd.so\n"),
            ],
            Accounts::Active,
        );
        let [(sound, _), (never, names), (factor, finger)] = found.as_slice() else {
            panic!("{found:#?}")
        };
        use FindingId::{PamNeverAsked, PamOtherFactor, PamSound};
        assert_eq!((*sound, *never, *factor), (PamSound, PamNeverAsked, PamOtherFactor));
        assert!(names.starts_with("cron, lightdm-autologin, sddm-greeter, systemd-user: "));
        assert!(finger.starts_with("gdm-fingerprint: "), "{finger}");
    }

    #[test]
    fn what_is_there_to_be_included_is_no_service_and_other_stands_for_what_has_none() {
        let services = [
            OURS,
            ("my-auth", "auth required pam_unix.so\n"),
            ("vnc", "auth include my-auth\n"),
            ("other", "@include common-auth\n"),
            ("passwd", "password required pam_unix.so\n"),
        ];
        let found = said(&services, Accounts::Active);
        let [_, (FindingId::PamWithoutCode, other), (FindingId::PamWithoutCode, vnc)] =
            found.as_slice()
        else {
            panic!("{found:#?}")
        };
        assert!(other.starts_with("other (every service without a file, and passwd): a password"));
        assert!(vnc.starts_with("vnc: a password alone lets in: my-auth:1 "), "{vnc}");
    }

    #[test]
    fn what_a_program_uses_is_a_service_also_where_others_include_it() {
        let own = "auth required pam_unix.so\n";
        let services = [
            OURS,
            ("gdm-password", own),
            ("gdm-smartcard", "auth include gdm-password\n"),
            ("system-config", own),
            ("by-path", own),
            ("vnc", "@include /etc/pam.d/by-path\n"),
            ("itself", "auth required pam_unix.so\nauth include itself\n"),
        ];
        let found = said(&services, Accounts::Active).into_iter();
        let open = found.filter(|(id, _)| *id == FindingId::PamWithoutCode);
        let open: Vec<_> =
            open.map(|(_, what)| what.split(':').next().map(str::to_owned)).collect();
        let expected = ["gdm-password", "gdm-smartcard", "system-config", "vnc"];
        assert_eq!(open, expected.map(|name| Some(name.to_owned())));
    }

    #[test]
    fn no_service_at_all_is_a_failure_while_accounts_are_active() {
        let services = [("passwd", "password required pam_unix.so\n")];
        for (accounts, id) in [
            (Accounts::NoneActive, FindingId::PamUnused),
            (Accounts::Active, FindingId::PamUnusedByAccounts),
        ] {
            let found = said(&services, accounts);
            assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id]);
        }
        assert_eq!(FindingId::PamUnusedByAccounts.level(), Level::Fail);
    }

    #[test]
    fn a_service_of_sshd_is_left_to_the_judgement_of_sshd_while_accounts_are_active() {
        let services =
            [OURS, ("sshd", "@include common-auth\n"), ("key", "auth required pam_deny.so")];
        // libpam goes by `other` where a file has no lines for auth.
        let by_other = [OURS, ("sshd", "account required pam_unix.so\n"), ("other", COMMON)];
        let found = report(&by_other, Accounts::Active, &["sshd"]);
        assert_eq!(found.sshd["sshd"], SshdStack::Open("other:1 pam_unix.so".to_owned()));
        let found = report(&services, Accounts::Active, &["sshd", "key", "login", "none"]);
        assert!(found.findings.iter().all(|f| f.id != FindingId::PamWithoutCode));
        let sshd = &found.sshd;
        let line = "common-auth:1 pam_unix.so".to_owned();
        assert_eq!(sshd["sshd"], SshdStack::Open(line));
        assert_eq!(sshd["login"], SshdStack::Code(pam_onetime::PasswordMode::Verify));
        assert_eq!((&sshd["key"], &sshd["none"]), (&SshdStack::Closed, &SshdStack::Closed));
        let found = report(&services, Accounts::NoneActive, &["sshd"]).findings;
        assert!(found.iter().any(|finding| finding.id == FindingId::PamWithoutCode), "{found:#?}");
    }

    #[test]
    fn a_stack_that_is_too_involved_is_not_called_sound() {
        let open = BTreeMap::from([("s", Open::Unclear)]);
        let found = findings(&open, &|name| name.to_owned());
        assert_eq!(found[0].id, FindingId::PamWithoutCode);
        assert!(Open::Unclear.line().is_some() && Open::Factor.line().is_none());
    }
}
