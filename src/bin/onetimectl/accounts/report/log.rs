//! Logins as the system's log has them: the audit lines of the module, from the files of a
//! syslog daemon or else from the journal. Only what is there can be counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, Stdio};

/// Where syslog daemons write what is sent to authpriv, the older file first.
const FILES: [&str; 4] =
    ["/var/log/auth.log.1", "/var/log/auth.log", "/var/log/secure.1", "/var/log/secure"];
/// So much of the end of each is read.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;
/// So many lines of the journal are read.
const JOURNAL_LINES: &str = "100000";

/// Logins of a day.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) with_code: u64,
    pub(super) without_code: u64,
    pub(super) refused: u64,
    pub(super) locked: u64,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Logins {
    /// By the day, as the log writes it.
    pub(super) days: BTreeMap<String, Day>,
    /// What was read.
    pub(super) sources: Vec<String>,
}

pub(super) fn read() -> Logins {
    let mut logins = Logins::default();
    for file in FILES {
        if let Some(text) = tail(file) {
            logins.add(&text);
            logins.sources.push(file.to_owned());
        }
    }
    if logins.sources.is_empty()
        && let Some(text) = journal()
    {
        logins.add(&text);
        logins.sources.push("the journal".to_owned());
    }
    logins
}

fn tail(path: &str) -> Option<String> {
    // Opening a FIFO would wait for its other end.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn journal() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the admin's tool, not a login")]
    let mut command = Command::new("journalctl");
    command.args(["-q", "--no-pager", "-t", "pam_onetime", "-o", "short-iso"]);
    command.args(["-n", JOURNAL_LINES]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Logins {
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((day, count)) = day_of(line).zip(counter(line)) {
                let day = self.days.entry(day).or_default();
                let count = count(day);
                *count = count.saturating_add(1);
            }
        }
    }
}

/// The day of a line: of RFC 3339, or without a year (`Nov 28`).
fn day_of(line: &str) -> Option<String> {
    let iso = line.get(..10).filter(|_| line.get(10..11) == Some("T"));
    let is_date = |date: &&str| date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if let Some(day) = iso.filter(is_date) {
        return Some(day.to_owned());
    }
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (month, day) = (line.get(..3)?, line.get(4..6)?.trim().parse::<u8>().ok()?);
    let at = months.find(month).filter(|at| at % 3 == 0)?;
    Some(format!("{:02}-{day:02}", at.checked_div(3)?.saturating_add(1)))
}

/// What a line of ours counts as. Its fields are the module's: what users gave is in quotes,
/// in which a quote is escaped.
fn counter(line: &str) -> Option<fn(&mut Day) -> &mut u64> {
    let (_, line) = line.split_once(" pam_onetime[")?;
    let (_, line) = line.split_once("]: outcome=")?;
    let outcome = line.split(' ').next()?;
    let (_, reason) = line.rsplit_once(" reason=")?;
    let reason = reason.trim_matches('"');
    let has_code = ["code right", "first code right", "recovery code right"];
    match outcome {
        "admitted" if has_code.iter().any(|start| reason.starts_with(start)) => {
            Some(|day| &mut day.with_code)
        }
        "admitted" | "ignored" => Some(|day| &mut day.without_code),
        "refused" if reason.starts_with("locked") => Some(|day| &mut day.locked),
        "refused" | "failed" => Some(|day| &mut day.refused),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pam_onetime::audit::{Outcome, Subject, explain, line};
    use pam_onetime::login::{Grant, Refusal, Verdict};

    use super::*;

    #[test]
    fn lines_are_counted_as_the_module_writes_them_and_no_name_makes_one() {
        let of = |verdict: Verdict| {
            let user = "x\" outcome=admitted reason=\"code right".to_owned();
            let subject = Subject { user, service: "sshd".to_owned(), ..Subject::default() };
            let (outcome, reason) = explain(verdict);
            format!(
                "2026-11-28T04:31:00.1+00:00 h pam_onetime[1]: {}\n",
                line(outcome, &subject, &reason)
            )
        };
        let mut logins = Logins::default();
        for verdict in [
            Verdict::Admitted(Grant::Code),
            Verdict::Admitted(Grant::Activated),
            Verdict::Admitted(Grant::RecoveryCode { left: 2 }),
            Verdict::Admitted(Grant::PasswordAlone),
            Verdict::Admitted(Grant::Skipped),
            Verdict::Refused(Refusal::WrongCode),
        ] {
            logins.add(&of(verdict));
        }
        let changed = line(Outcome::Changed, &Subject::default(), "enabled");
        logins.add(&format!("Nov  3 04:31:00 h pam_onetime[1]: {changed}\n"));
        logins.add("Nov  3 04:31:00 h sshd[1]: outcome=admitted reason=\"code right\"\n");
        logins.add(
            "Nov  3 04:31:00 h pam_onetime[1]: outcome=admitted user=a reason=\"code right\"\n",
        );
        let day = Day { with_code: 3, without_code: 2, refused: 1, locked: 0 };
        let other = Day { with_code: 1, ..Day::default() };
        let days = [("11-03".to_owned(), other), ("2026-11-28".to_owned(), day)];
        assert_eq!(logins.days, BTreeMap::from(days));
    }
}
