//! Judges the policies of a configuration, of the file and of each line in pam.d with what
//! it overrides: those that cannot be applied, because a group is not known, and those
//! that are none, because they let in whom they are to keep out. Values in, notes out.

use std::collections::BTreeMap;
use std::path::Path;

use pam_onetime::PasswordMode;
use pam_onetime::config::{Config, Limits, Qr, TokenKind, is_common_issuer};
use pam_onetime::login::GroupFault;

use super::finding::{Finding, FindingId, NameList};
use super::roles::{Role, role};
use super::rules::Note;
use super::services::{ReadConfig, configured};
use super::stack::{ModuleType, ReadFile, Service};

/// Why a group is not known; `None` if it is.
pub(super) type GroupProblem<'a> = dyn Fn(&str) -> Option<GroupFault> + 'a;

/// How long a guesser is thought to try, in seconds, and with what chance of success
/// the limits on wrong codes count as too weak.
const MONTH: u64 = 30 * 86_400;
const WEAK: f64 = 0.01;

/// The findings for the configuration in `file`, and for each service that uses the
/// module; those that share a note are named together.
pub(super) fn judge(
    own: Option<(&Path, &Config)>,
    services: &[String],
    files: &ReadFile<'_>,
    configs: &ReadConfig<'_>,
    groups: &GroupProblem<'_>,
) -> Vec<Finding> {
    let mut notes = BTreeMap::<Note, NameList>::new();
    let mut add = |name: &str, found: Vec<Note>| {
        for note in found {
            notes.entry(note).or_default().add(name);
        }
    };
    if let Some((file, config)) = own {
        add(&file.display().to_string(), judge_config(config, None, groups));
    }
    for name in services {
        let Some(service) = Service::read(name, files) else { continue };
        for entry in service.stack(ModuleType::Auth) {
            if role(entry) != Role::Code {
                continue;
            }
            // What is wrong with the line itself is said by the judgement of services.
            if let Ok((arguments, config)) = configured(entry, configs) {
                add(name, judge_config(&config, Some(arguments.password), groups));
            }
        }
    }
    let finding = |(Note { id, what, remedy }, names): (Note, NameList)| {
        Finding::new(id, format!("{names}: {what}"), remedy)
    };
    notes.into_iter().map(finding).collect()
}

/// `password`: how the service's line takes it; `None` of the file itself.
fn judge_config(
    config: &Config,
    password: Option<PasswordMode>,
    groups: &GroupProblem<'_>,
) -> Vec<Note> {
    let mut notes = Vec::new();
    for group in &config.login.require_groups.0 {
        if let Some(fault) = groups(group) {
            let what =
                format!("require_groups: {group}: {fault}; every user without a record is refused");
            notes.push(Note::new(FindingId::PolicyRequiredGroupUnknown, what, fault.remedy()));
        }
    }
    for group in &config.login.exempt_groups.0 {
        if let Some(fault) = groups(group) {
            let what = format!("exempt_groups: {group}: {fault}; it exempts nobody");
            notes.push(Note::new(FindingId::PolicyExemptGroupUnknown, what, fault.remedy()));
        }
    }
    for network in config.login.exempt_networks.of_everybody() {
        let what = format!("exempt_networks: {network}: whoever comes from there needs no code");
        let remedy = "name the networks of your own";
        notes.push(Note::new(FindingId::PolicyNetworkWide, what, remedy));
    }
    notes.extend(judge_limits(config));
    if config.enrollment.show_without_password {
        let note = |what| {
            let remedy = "set show_without_password to false, and enable users with onetimectl qr";
            Note::new(FindingId::PolicySecretShown, what, remedy)
        };
        notes.extend(match password {
            Some(PasswordMode::None) => Some(note(
                "show_without_password: whoever has the key of a pending user gets the secret too",
            )),
            None => Some(note(
                "show_without_password: where password=none, a secret is shown without a password",
            )),
            Some(PasswordMode::Verify | PasswordMode::Stack) => None,
        });
    }
    notes
}

/// `host`: the name of this machine, where it has one.
pub(super) fn judge_issuer(config: &Config, host: Option<&str>) -> Option<Finding> {
    let issuer = config.issuer.as_deref().or(host).filter(|issuer| is_common_issuer(issuer))?;
    let what = format!(
        "issuer: {issuer}: other machines are called so too, and in an app the key of one takes the place of another's"
    );
    let remedy = "name this machine: issuer = \"web1.example.org\"; new secrets have it";
    Some(Finding::new(FindingId::PolicyIssuerCommon, what, remedy))
}

/// A drawing that a configuration asks for and no longer gets.
pub(super) fn judge_drawing(config: &Config) -> Option<Finding> {
    match config.enrollment.qr {
        Qr::Ascii => {
            let what =
                "qr = \"ascii\": it is no longer drawn, since no app read it; users see the key";
            let remedy = "set qr to utf8, utf8-light (for dark text on light), or none";
            Some(Finding::new(FindingId::PolicyQrAscii, what, remedy))
        }
        Qr::Utf8 | Qr::Utf8Light | Qr::None => None,
    }
}

fn judge_limits(config: &Config) -> Option<Note> {
    let Limits { failures, period, lockout, max_lockout } = config.limits;
    if failures == 0 {
        let what = "failures = 0: whoever has a password can try codes until one is right";
        let remedy = "set failures to a few, as in failures = 3";
        return Some(Note::new(FindingId::PolicyNoLimits, what, remedy));
    }
    let guesses = guesses_in(MONTH, &config.limits);
    let chance = (guesses as f64 * accepted(config)).min(1.0);
    (chance > WEAK).then(|| {
        let what = format!(
            "failures = {failures}, period = {period}, lockout = {lockout}, max_lockout = \
             {max_lockout}: {guesses} codes can be tried in 30 days, and one is right with a \
             chance of {:.0} %",
            chance * 100.0
        );
        let remedy = "make period and the lockouts longer, or code.window smaller";
        Note::new(FindingId::PolicyLimitsWeak, what, remedy)
    })
}

/// The share of all codes that is accepted at one time.
fn accepted(config: &Config) -> f64 {
    let code = &config.code;
    let steps = match code.kind {
        TokenKind::Totp => code.window.get().saturating_mul(2).saturating_add(1),
        TokenKind::Hotp => code.look_ahead.get().saturating_add(1),
    };
    let digits = i32::try_from(u32::from(code.digits.get())).unwrap_or(6);
    steps as f64 / 10_f64.powi(digits)
}

/// How many wrong codes the limits tolerate in so many seconds: the more of staying below
/// the lock, and of running into one after the other.
fn guesses_in(seconds: u64, limits: &Limits) -> u64 {
    let failures = u64::from(limits.failures);
    let periods = seconds.checked_div(limits.period).unwrap_or(seconds).saturating_add(1);
    let below = failures.saturating_sub(1).saturating_mul(periods);
    let (mut at, mut lock, mut locks) = (0_u64, limits.lockout.max(1), 0_u64);
    while at < seconds && lock < limits.max_lockout {
        at = at.saturating_add(lock);
        lock = lock.saturating_mul(2);
        locks = locks.saturating_add(1);
    }
    let longest = limits.max_lockout.max(1);
    let rest = seconds.saturating_sub(at).checked_div(longest).unwrap_or(0);
    let through = failures.saturating_mul(locks.saturating_add(rest).saturating_add(1));
    below.max(through)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, password: Option<PasswordMode>) -> Vec<(FindingId, String)> {
        let config = Config::parse(text).unwrap();
        let groups = |name: &str| match name {
            "typo" => Some(GroupFault::Missing),
            "down" => Some(GroupFault::NotLookedUp("EIO".to_owned())),
            _ => None,
        };
        let notes = judge_config(&config, password, &groups);
        notes
            .into_iter()
            .map(|note| {
                assert!(!note.remedy.is_empty());
                (note.id, note.what)
            })
            .collect()
    }

    #[test]
    fn nothing_is_said_against_policies_that_are_some() {
        for text in [
            "",
            "login.require_groups = [\"wheel\"]\nlogin.exempt_groups = [\"robots\"]",
            "login.exempt_networks = [\"10.0.0.0/8\", \"fc00::/7\", \"192.0.2.7\"]",
            "code.kind = \"hotp\"\ncode.look_ahead = 100",
            "code.window = 10",
            "limits.failures = 10",
            "limits.failures = 1\nlimits.period = 1",
            "code.digits = 8\nlimits.lockout = 60\nlimits.max_lockout = 600",
        ] {
            assert_eq!(found(text, None), [], "{text}");
        }
    }

    #[test]
    fn policies_that_cannot_be_applied_and_those_that_are_none_have_a_name() {
        use FindingId::*;
        for (text, id, what) in [
            ("login.require_groups = [\"wheel\", \"typo\"]", PolicyRequiredGroupUnknown, "typo: "),
            ("login.require_groups = [\"down\"]", PolicyRequiredGroupUnknown, "looked up: EIO"),
            ("login.exempt_groups = [\"typo\"]", PolicyExemptGroupUnknown, "exempts nobody"),
            ("login.exempt_networks = [\"0.0.0.0/0\"]", PolicyNetworkWide, "0.0.0.0/0"),
            ("login.exempt_networks = [\"::/1\", \"8000::/1\"]", PolicyNetworkWide, "::/0"),
            ("limits.failures = 0", PolicyNoLimits, "failures = 0"),
            ("limits.period = 1", PolicyLimitsWeak, "period = 1,"),
            ("limits.lockout = 1\nlimits.max_lockout = 1", PolicyLimitsWeak, "lockout = 1,"),
            ("limits.max_lockout = 60", PolicyLimitsWeak, "max_lockout = 60:"),
            ("limits.failures = 100000", PolicyLimitsWeak, "failures = 100000,"),
            ("enrollment.show_without_password = true", PolicySecretShown, "password=none"),
        ] {
            let found = found(text, None);
            assert!(
                matches!(&found[..], [(found, said)] if *found == id && said.contains(what)),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn a_secret_is_shown_without_a_password_only_where_none_is_checked() {
        let text = "enrollment.show_without_password = true";
        for (password, said) in
            [(PasswordMode::Verify, 0), (PasswordMode::Stack, 0), (PasswordMode::None, 1)]
        {
            assert_eq!(found(text, Some(password)).len(), said, "{password:?}");
        }
    }

    #[test]
    fn the_arithmetic_is_that_of_the_security_page() {
        // 79 guesses in 30 days by the defaults (SECURITY.md): here nearly so.
        let guesses = guesses_in(MONTH, &Limits::default());
        assert!(guesses.abs_diff(79) <= 3, "{guesses}");
        let chance = guesses as f64 * accepted(&Config::default());
        assert!((0.0002..0.0003).contains(&chance), "{chance}");
        // No number of seconds takes long.
        let limits =
            Limits { failures: u32::MAX, period: u64::MAX, lockout: 1, max_lockout: u64::MAX };
        assert!(guesses_in(u64::MAX, &limits) > 0);
    }

    #[test]
    fn services_that_share_a_note_are_named_together() {
        let config = Config::parse("login.require_groups = [\"typo\"]").unwrap();
        let files = |name: &str| match name {
            "a" | "b" => Some("auth required pam_onetime.so\n".to_owned()),
            "c" => {
                Some("auth required pam_onetime.so require_groups=wheel failures=0\n".to_owned())
            }
            "d" => Some("auth required pam_onetime.so nonsense\n".to_owned()),
            _ => None,
        };
        let names = ["a", "b", "c", "d", "gone"].map(str::to_owned);
        let groups = |name: &str| (name == "typo").then_some(GroupFault::Missing);
        let findings = judge(
            Some((Path::new("/etc/onetime/onetime.toml"), &config)),
            &names,
            &files,
            &|_| Ok(config.clone()),
            &groups,
        );
        let what: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
        let [required, unlimited] = what[..] else { panic!("{what:?}") };
        assert!(required.starts_with("/etc/onetime/onetime.toml, a, b: require_groups: typo"));
        assert!(unlimited.starts_with("c: failures = 0"), "{unlimited}");
    }
}
