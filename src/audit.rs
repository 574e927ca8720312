//! The audit line: one for each login, to syslog (facility authpriv), as
//! `key=value` pairs. Never a password, a code or a secret.
//!
//! It opens its own socket and closes it (`audit/transport.rs`): no openlog(3), no global
//! logger, no descriptor is left in the host process.

mod transport;

use std::fmt::{self, Display, Write as _};

use syslog::{Facility, LogFormat, Severity};

use crate::bytes_as_text::{Readable, byte_of};
use crate::login::{Exemption, Grant, NotNeeded, Refusal, Verdict};

/// Characters of a value that are logged: a datagram is bounded.
const MAX_VALUE: usize = 512;

/// Who logs in, where and from where, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The user's name as given.
    pub user: String,
    /// The PAM service.
    pub service: String,
    /// PAM_RUSER: on whose behalf, as the program says.
    pub ruser: Option<String>,
    /// PAM_RHOST.
    pub rhost: Option<String>,
    /// PAM_RHOST as a program has it that need not be believed.
    pub claimed_rhost: Option<String>,
    /// PAM_TTY.
    pub tty: Option<String>,
    /// Who changes an account; nobody at a login.
    pub admin: Admin,
}

/// Who runs the tool as root, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Admin {
    /// The name of the login uid.
    pub name: Option<String>,
    /// The uid with which they logged in (/proc/self/loginuid), which sudo and su do not
    /// change.
    pub login_uid: Option<u32>,
    /// SUDO_USER: what the environment says, and so what root may have set to anything.
    pub sudo_user: Option<String>,
}

/// How a login ended, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The login succeeds as far as this module decides (severity info).
    Admitted,
    /// Nothing to say; the rest of the stack decides.
    Ignored,
    /// Refused by a rule.
    Refused,
    /// Refused because something is broken.
    Failed,
    /// Changed by an admin's hand.
    Changed,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Changed => "changed",
        }
    }

    const fn severity(self) -> Severity {
        match self {
            Self::Admitted | Self::Ignored => Severity::LOG_INFO,
            Self::Refused | Self::Changed => Severity::LOG_NOTICE,
            Self::Failed => Severity::LOG_ERR,
        }
    }
}

/// Outcome and reason of a verdict, and the remedy in parentheses where there is one.
#[must_use]
pub fn explain(verdict: Verdict) -> (Outcome, String) {
    let (outcome, reason, remedy) = explain_apart(verdict);
    match remedy {
        Some(remedy) => (outcome, format!("{reason} ({remedy})")),
        None => (outcome, reason),
    }
}

/// Outcome, reason and remedy of a verdict.
#[must_use]
pub fn explain_apart(verdict: Verdict) -> (Outcome, String, Option<&'static str>) {
    match verdict {
        Verdict::Admitted(grant) => {
            let reason = match grant {
                Grant::PasswordAlone => "password right, no code needed (not enabled)".to_owned(),
                Grant::Skipped => "password right, code skipped (pending)".to_owned(),
                Grant::Activated => "first code right: activated".to_owned(),
                Grant::Code => "code right".to_owned(),
                Grant::RecoveryCode { left } => format!("recovery code right, {left} left"),
                Grant::Exempt(why) => format!("password right, no code needed ({})", exempt(why)),
            };
            (Outcome::Admitted, reason, None)
        }
        Verdict::NotNeeded(why) => {
            let reason = match why {
                NotNeeded::NotEnabled => "no code needed (not enabled)".to_owned(),
                NotNeeded::Skipped => "code skipped (pending)".to_owned(),
                NotNeeded::Exempt(why) => format!("no code needed ({})", exempt(why)),
            };
            (Outcome::Ignored, reason, None)
        }
        Verdict::Again(refusal) | Verdict::Refused(refusal) => {
            let is_broken =
                matches!(refusal, Refusal::PasswordService { .. } | Refusal::GroupUnknown);
            let (reason, remedy) = explain_refusal(refusal);
            (if is_broken { Outcome::Failed } else { Outcome::Refused }, reason, remedy)
        }
    }
}

/// Every bypass that the admin configured is logged as one.
const fn exempt(why: Exemption) -> &'static str {
    match why {
        Exemption::Group => "exempt_groups",
        Exemption::Network => "exempt_networks",
        Exemption::RememberedHost => "remembered host",
    }
}

fn explain_refusal(refusal: Refusal) -> (String, Option<&'static str>) {
    const NEW_SECRET: &str = "onetimectl enable --new-secret";
    let (reason, remedy) = match refusal {
        Refusal::PasswordService { result } => {
            let reason =
                format!("the password service could not verify the password (PAM result {result})");
            return (reason, None);
        }
        Refusal::LockedOut { until } => {
            let reason = format!("locked after too many wrong codes, until {until}");
            return (reason, Some("onetimectl unlock"));
        }
        Refusal::LockedAtService { until } => {
            let reason = format!(
                "locked after too many wrong codes by the account that asks (ruser) and by it \
                 alone, until {until}"
            );
            return (reason, Some("onetimectl unlock"));
        }
        Refusal::ClockWentBack { until } => {
            let reason = format!(
                "code of a time already used: the clock went back; codes are accepted again \
                 from {until} on, earlier only with a new secret"
            );
            return (reason, Some(NEW_SECRET));
        }
        Refusal::GroupUnknown => (
            "not enabled, and whether a code is required cannot be found out",
            Some("correct require_groups, or onetimectl enable"),
        ),
        Refusal::WrongPassword => ("wrong password", None),
        Refusal::WrongCode => ("wrong code", None),
        Refusal::SpentCode => ("code already used", None),
        Refusal::NotACode => ("the answer was not a code", None),
        Refusal::PasswordAgain => (
            "the password was given in place of a code",
            Some("a program that gives it to every prompt needs prompt=combined"),
        ),
        Refusal::NoCode => ("no code given", None),
        Refusal::RefusedBySshd => {
            ("sshd had refused this user before (it sent INCORRECT for the user's answer)", None)
        }
        Refusal::OutOfStep => ("code of a counter far ahead", Some("onetimectl resync")),
        Refusal::NotActivated => (
            "not activated, but a code is required, and this service activates none",
            Some("log in once by another one"),
        ),
        Refusal::NotEnrolled => ("not enabled, but a code is required", Some("onetimectl enable")),
        Refusal::DeadlinePassed => ("not activated before the deadline", Some(NEW_SECRET)),
        Refusal::DeadlineUnknown => (
            "issued at a time that has not come, so its deadline cannot be judged: set the \
             clock, or issue a new secret",
            Some(NEW_SECRET),
        ),
        Refusal::Disabled => ("the account was changed during the login", None),
    };
    (reason.to_owned(), remedy)
}

/// The text of a line, without time and tag.
#[must_use]
pub fn line(outcome: Outcome, subject: &Subject, reason: &str) -> String {
    let mut line = format!("outcome={}", outcome.word());
    let login_uid = subject.admin.login_uid.map(|uid| uid.to_string());
    let fields = [
        ("user", Some(subject.user.as_str())),
        ("service", Some(subject.service.as_str())),
        ("admin", subject.admin.name.as_deref()),
        ("login_uid", login_uid.as_deref()),
        ("sudo_user", subject.admin.sudo_user.as_deref()),
        ("ruser", subject.ruser.as_deref()),
        ("rhost", subject.rhost.as_deref()),
        ("claimed_rhost", subject.claimed_rhost.as_deref()),
        ("tty", subject.tty.as_deref()),
        ("reason", Some(reason)),
    ];
    for (key, value) in fields {
        if let Some(value) = value {
            let written = write!(line, " {key}={}", Quoted(value));
            debug_assert!(written.is_ok(), "writing to a string does not fail");
        }
    }
    line
}

/// A value that cannot be taken for another field or another line.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '/' | '@');
        if (1..=MAX_VALUE).contains(&self.0.len()) && self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars().take(MAX_VALUE) {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                ' '..='~' => f.write_char(c)?,
                _ if byte_of(c).is_some() => write!(f, "{}", Readable(c.encode_utf8(&mut [0; 4])))?,
                _ => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        f.write_char('"')
    }
}

/// Sends a line. If it cannot be sent, that cannot be reported: a login does
/// not depend on syslog.
pub fn send(outcome: Outcome, subject: &Subject, reason: &str) {
    send_line(outcome.severity(), &line(outcome, subject, reason));
}

/// Sends a line for whoever looks for a fault (argument `debug`).
pub fn debug(subject: &Subject, what: &str) {
    let Subject { user, service, .. } = subject;
    send_line(
        Severity::LOG_DEBUG,
        &format!("debug user={} service={} {what}", Quoted(user), Quoted(service)),
    );
}

fn send_line(severity: Severity, line: &str) {
    let mut message = Vec::with_capacity(line.len().saturating_add(40));
    if LineFormat.format(&mut message, severity, line).is_ok() {
        let _unheard = transport::deliver(&message).is_err();
    }
}

/// Whether a syslog daemon listens at /dev/log, in the way in which logins reach it.
///
/// # Errors
/// What socket(2) or connect(2) say.
#[cfg(feature = "tool")]
pub fn syslog_listens() -> std::io::Result<()> {
    Ok(transport::probe()?)
}

/// RFC 3164 without the time: the daemon has a clock, and ours would have to
/// read the environment (TZ) to speak of local time.
struct LineFormat;

impl LogFormat<&str> for LineFormat {
    fn format<W: std::io::Write>(
        &self,
        w: &mut W,
        severity: Severity,
        line: &str,
    ) -> syslog::Result<()> {
        let priority = Facility::LOG_AUTHPRIV as u8 | severity as u8;
        write!(w, "<{priority}>pam_onetime[{}]: {line}", std::process::id())
            .map_err(syslog::Error::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_field_for_each_thing_known() {
        let subject = Subject {
            user: "alice".into(),
            service: "sshd".into(),
            ruser: None,
            rhost: Some("10.0.0.1".into()),
            claimed_rhost: None,
            tty: None,
            admin: Admin::default(),
        };
        assert_eq!(
            line(Outcome::Refused, &subject, "wrong code"),
            "outcome=refused user=alice service=sshd rhost=10.0.0.1 reason=\"wrong code\""
        );
    }

    #[test]
    fn the_fields_are_those_of_the_manual_page_in_its_order() {
        let known = || Some("x".to_owned());
        let admin = Admin { name: known(), login_uid: Some(0), sudo_user: known() };
        let (user, service) = ("x".into(), "x".into());
        let (ruser, rhost, claimed_rhost, tty) = (known(), known(), known(), known());
        let subject = Subject { user, service, ruser, rhost, claimed_rhost, tty, admin };
        let line = line(Outcome::Changed, &subject, "x");
        let written: Vec<_> =
            line.split(' ').filter_map(|field| Some(field.split_once('=')?.0)).collect();
        let page = include_str!("../docs/pam_onetime.8");
        let (_, section) = page.split_once("\n.Sh DIAGNOSTICS\n").unwrap();
        let (list, _) = section.split_once("\n.El\n").unwrap();
        let explained = list.lines().filter_map(|line| line.strip_prefix(".It Va "));
        assert_eq!(explained.collect::<Vec<_>>(), written);
    }

    #[test]
    fn a_hostile_name_stays_within_its_field_and_its_line() {
        let subject = Subject {
            user: "x\" outcome=admitted\nuser=root\u{202e}\\".into(),
            ..Subject::default()
        };
        let line = line(Outcome::Refused, &subject, "r");
        assert_eq!(
            line,
            "outcome=refused user=\"x\\\" outcome=admitted\\u{a}user=root\\u{202e}\\\\\" service=\"\" reason=r"
        );
    }

    #[test]
    fn the_priority_is_that_of_authpriv() {
        let mut datagram = Vec::new();
        LineFormat.format(&mut datagram, Severity::LOG_NOTICE, "x").unwrap();
        let expected = format!("<85>pam_onetime[{}]: x", std::process::id());
        assert_eq!(String::from_utf8(datagram).unwrap(), expected);
    }
}
