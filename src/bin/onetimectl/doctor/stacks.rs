//! What the files of pam.d make of the module: asked for a code never or twice,
//! a secret shown without a password, a stack that lets in without a code.

use std::collections::BTreeMap;
use std::ffi::CString;

use pam_onetime::{CheckedArguments, check_arguments};

use super::Finding;

const MODULE: &str = "pam_onetime.so";
/// Modules that verify a password.
const PASSWORD_MODULES: [&str; 8] = [
    "pam_unix.so",
    "pam_sss.so",
    "pam_krb5.so",
    "pam_ldap.so",
    "pam_winbind.so",
    "pam_systemd_home.so",
    "pam_authselect.so",
    "pam_pwdfile.so",
];
/// Includes of includes of includes.
const DEPTH: u32 = 16;

/// A line of a service file, with continuation lines joined.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    kind: String,
    control: String,
    /// The module's file name, without its directory.
    module: String,
    arguments: Vec<String>,
}

impl Line {
    /// Whether its success ends the stack.
    fn ends_on_success(&self) -> bool {
        self.control == "sufficient" || self.control.contains("success=done")
    }

    /// How many lines its success jumps over.
    fn jump(&self) -> usize {
        let value = self.control.split_once("success=").map(|(_, rest)| rest);
        let digits = value.and_then(|rest| rest.split([' ', ']']).next());
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    fn is_password_module(&self) -> bool {
        PASSWORD_MODULES.contains(&self.module.as_str())
    }

    fn checked(&self) -> Result<CheckedArguments, String> {
        let arguments: Vec<CString> =
            self.arguments.iter().filter_map(|a| CString::new(a.as_str()).ok()).collect();
        check_arguments(&arguments.iter().map(CString::as_c_str).collect::<Vec<_>>())
    }
}

/// Splits a line into words; square brackets hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0_u32);
    for letter in line.chars() {
        match letter {
            '[' if depth == 0 && word.is_empty() => {
                depth = 1;
                word.push(letter);
            }
            ']' if depth == 1 => {
                depth = 0;
                word.push(letter);
            }
            letter if letter.is_whitespace() && depth == 0 => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => word.push(letter),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// The lines of one kind of a service, with what it includes.
fn lines(services: &BTreeMap<String, String>, service: &str, kind: &str, depth: u32) -> Vec<Line> {
    let Some(text) = services.get(service).filter(|_| depth < DEPTH) else {
        return Vec::new();
    };
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let words = words(line.split('#').next().unwrap_or_default());
        let mut words = words.iter().map(String::as_str);
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        if first == "@include" {
            found.extend(lines(services, second, kind, depth.saturating_add(1)));
            continue;
        }
        let of = first.trim_start_matches('-').to_lowercase();
        let Some(third) = words.next().filter(|_| of == kind) else { continue };
        if second == "include" || second == "substack" {
            found.extend(lines(services, third, kind, depth.saturating_add(1)));
            continue;
        }
        let module = third.rsplit('/').next().unwrap_or(third).to_owned();
        // Brackets around an argument are not part of it.
        let bare = |word: &str| {
            word.strip_prefix('[')
                .and_then(|word| word.strip_suffix(']'))
                .unwrap_or(word)
                .to_owned()
        };
        let arguments = words.map(bare).collect();
        found.push(Line { kind: of, control: second.to_lowercase(), module, arguments });
    }
    found
}

/// The password modes of the module's lines in a service; `None` if it has none.
pub(super) fn modes_of(services: &BTreeMap<String, String>, service: &str) -> Option<Vec<String>> {
    let modes: Vec<_> = lines(services, service, "auth", 0)
        .iter()
        .filter(|line| line.module == MODULE)
        .filter_map(|line| line.checked().ok())
        .map(|checked| checked.password.to_owned())
        .collect();
    (!modes.is_empty()).then_some(modes)
}

/// Checks every service that uses the module, and the one that verifies passwords.
pub(super) fn check(services: &BTreeMap<String, String>, password_service: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = 0_u32;
    for service in services.keys().filter(|service| *service != password_service) {
        let auth = lines(services, service, "auth", 0);
        let name = format!("pam.d/{service}");
        for kind in ["account", "password", "session"] {
            if lines(services, service, kind, 0).iter().any(|line| line.module == MODULE) {
                findings.push(Finding::fail(
                    &name,
                    format!("{MODULE} is listed under {kind}, where it does nothing but fail"),
                    "list it under auth only",
                ));
            }
        }
        if auth.iter().any(|line| line.module == MODULE) {
            used = used.saturating_add(1);
            let of_this = check_service(&name, &auth);
            if of_this.is_empty() {
                findings.push(Finding::ok(&name, "asks for a code once, after the password"));
            }
            findings.extend(of_this);
        }
    }
    if used == 0 {
        findings.push(Finding::warn(
            "pam.d",
            format!("no service uses {MODULE}"),
            "see conf/pam.d of the package, and keep a root shell open meanwhile",
        ));
    }
    findings.push(check_password_service(services, password_service));
    findings
}

fn check_service(name: &str, auth: &[Line]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours: Vec<usize> = auth
        .iter()
        .enumerate()
        .filter_map(|(index, line)| (line.module == MODULE).then_some(index))
        .collect();
    if ours.len() > 1 {
        findings.push(Finding::fail(
            name,
            format!("{MODULE} is listed {} times: a code is asked for each time", ours.len()),
            "list it once (an included file may list it too)",
        ));
    }
    let Some((at, line)) = ours.first().and_then(|at| Some((*at, auth.get(*at)?))) else {
        return findings;
    };
    let mode = match line.checked() {
        Ok(checked) => checked.password,
        Err(what) => {
            findings.push(Finding::fail(
                name,
                format!("{what}: every login is refused"),
                "see pam_onetime(8) for the arguments",
            ));
            return findings;
        }
    };
    if line.ends_on_success() || line.jump() > 0 {
        findings.push(Finding::fail(
            name,
            format!("{MODULE} is {}: what follows is skipped after a code", line.control),
            "use `required`",
        ));
    } else if line.control == "optional" {
        findings.push(Finding::fail(
            name,
            format!("{MODULE} is optional: its refusal does not count"),
            "use `required`",
        ));
    }
    let before = auth.get(..at).unwrap_or_default();
    let after = auth.get(at.saturating_add(1)..).unwrap_or_default();
    for (index, earlier) in before.iter().enumerate() {
        let skips = index.saturating_add(earlier.jump()) >= at && earlier.jump() > 0;
        // Root needs no password of others (su), nor a code.
        if earlier.module != "pam_rootok.so" && (earlier.ends_on_success() || skips) {
            findings.push(Finding::fail(
                name,
                format!("{} before it ends or skips: a code is never asked for", earlier.module),
                "make it `requisite`, without a jump, or put pam_onetime.so in its place",
            ));
        }
    }
    let password_before = before.iter().rfind(|line| line.is_password_module());
    match (mode, password_before) {
        ("stack", None) => findings.push(Finding::fail(
            name,
            "password=stack, but no module before it checks a password: a pending user gets in without",
            "use password=verify, or list a password module as `requisite` before it",
        )),
        ("stack", Some(earlier)) if earlier.control == "required" => findings.push(Finding::warn(
            name,
            format!("{} before it is `required`: strangers reach the code, and can lock accounts", earlier.module),
            "make it `requisite`",
        )),
        ("none", _) if !after.iter().any(|line| line.module == "pam_permit.so" || line.is_password_module()) && password_before.is_none() => {
            findings.push(Finding::warn(
                name,
                "password=none and nothing after it decides: users who need no code are refused",
                "add `auth required pam_permit.so` after it, if something else authenticates (ssh keys)",
            ));
        }
        _ => {}
    }
    if let Some(later) =
        after.iter().find(|line| line.is_password_module() && line.ends_on_success())
    {
        findings.push(Finding::fail(
            name,
            format!(
                "{} after it is {}: the password alone lets in whom pam_onetime.so refused",
                later.module, later.control
            ),
            "take it out, or make it `required use_first_pass`",
        ));
    }
    findings
}

fn check_password_service(services: &BTreeMap<String, String>, service: &str) -> Finding {
    let name = format!("pam.d/{service}");
    let remedy = "see conf/pam.d/onetime-password of the package";
    if !services.contains_key(service) {
        return Finding::fail(&name, "is missing: libpam takes pam.d/other in its place", remedy);
    }
    let auth = lines(services, service, "auth", 0);
    if auth.iter().any(|line| line.module == MODULE) {
        return Finding::fail(
            &name,
            format!("includes {MODULE}: every password is refused"),
            remedy,
        );
    }
    match auth.iter().find(|line| line.is_password_module()) {
        Some(line) => Finding::ok(&name, format!("verifies passwords by {}", line.module)),
        None if auth.iter().all(|line| line.module == "pam_permit.so") => {
            Finding::fail(&name, "lets any password pass", remedy)
        }
        None => Finding::warn(&name, "has no password module that is known here", remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is said of a service `x` with this text, besides what is well.
    fn said(text: &str) -> Vec<String> {
        let mut services = BTreeMap::new();
        services.insert("x".to_owned(), text.to_owned());
        services.insert("common-auth".to_owned(), "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n".to_owned());
        services.insert("onetime-password".to_owned(), "auth required pam_unix.so\n".to_owned());
        let findings = check(&services, "onetime-password").into_iter();
        findings.filter(|f| f.result != super::super::Outcome::Ok).map(|f| f.what).collect()
    }

    #[test]
    fn sound_stacks_are_well() {
        for text in [
            "auth required pam_onetime.so\naccount required pam_unix.so\n",
            "# a comment\nauth  required \\\n  /lib/security/pam_onetime.so debug [prompt=Your code: ]\n",
            "auth requisite pam_unix.so\nauth required pam_onetime.so password=stack\n",
            "auth sufficient pam_rootok.so\nauth required pam_onetime.so\n",
            "auth required pam_onetime.so password=none\nauth required pam_permit.so\n",
            "@include common-auth\nauth required pam_onetime.so password=stack\n",
            "-auth optional pam_faildelay.so delay=1\nauth required pam_onetime.so\n",
        ] {
            assert_eq!(said(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn faults_of_a_stack_are_named() {
        for (text, named) in [
            ("auth required pam_unix.so\n", "no service uses"),
            ("auth required pam_onetime.so\nauth required pam_onetime.so\n", "listed 2 times"),
            ("auth required pam_onetime.so passwrod=stack\n", "passwrod: unknown"),
            ("auth required pam_onetime.so window=99\n", "window: must be at most 10"),
            ("auth sufficient pam_onetime.so\nauth required pam_deny.so\n", "is sufficient"),
            ("auth [success=done default=die] pam_onetime.so\n", "what follows is skipped"),
            ("auth optional pam_onetime.so\nauth required pam_permit.so\n", "is optional"),
            (
                "auth sufficient pam_unix.so\nauth required pam_onetime.so\n",
                "pam_unix.so before it ends or skips",
            ),
            (
                "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_onetime.so password=stack\nauth required pam_permit.so\n",
                "never asked for",
            ),
            (
                "auth required pam_onetime.so password=stack\n",
                "no module before it checks a password",
            ),
            (
                "auth required pam_unix.so\nauth required pam_onetime.so password=stack\n",
                "can lock accounts",
            ),
            ("auth required pam_onetime.so password=none\n", "users who need no code are refused"),
            (
                "auth required pam_onetime.so\nauth sufficient pam_unix.so use_first_pass\n",
                "the password alone lets in",
            ),
            (
                "auth required pam_onetime.so\naccount required pam_onetime.so\n",
                "listed under account",
            ),
        ] {
            let said = said(text);
            assert!(said.iter().any(|what| what.contains(named)), "{text}: {said:?}");
        }
    }

    #[test]
    fn faults_of_the_password_service_are_named() {
        for (text, named) in [
            (None, "is missing"),
            (Some("auth required pam_onetime.so\n"), "every password is refused"),
            (Some("auth include y\n"), "every password is refused"),
            (Some("auth required pam_permit.so\n"), "lets any password pass"),
            (Some("auth required pam_exotic.so\n"), "no password module that is known"),
        ] {
            let mut services = BTreeMap::new();
            services.insert("y".to_owned(), "auth required pam_onetime.so".to_owned());
            if let Some(text) = text {
                services.insert("p".to_owned(), text.to_owned());
            }
            let what = check_password_service(&services, "p").what;
            assert!(what.contains(named), "{what}");
        }
    }

    #[test]
    fn files_that_include_each_other_are_read_no_deeper_than_libpam_would() {
        let mut services = BTreeMap::new();
        services.insert("x".to_owned(), "@include y\nauth required pam_onetime.so\n".to_owned());
        services.insert("y".to_owned(), "auth include x\n".to_owned());
        assert!(!check(&services, "p").is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_text_is_read_without_panic(text in "(auth|account|@include|include|\\[|\\]|=|pam_onetime.so|x|\\PC|\n| |\\\\)*") {
            drop(said(&text));
        }
    }
}
