//! Logins as the system's log has them: the audit lines of the module, from the files of a
//! syslog daemon or else from the journal. Only what is there can be counted.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Where syslog daemons write what is sent to authpriv, the older file first.
const FILES: [&str; 4] =
    ["/var/log/auth.log.1", "/var/log/auth.log", "/var/log/secure.1", "/var/log/secure"];
/// So much of the end of each is read.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;
/// So many lines of the journal are read, the newest, and no more than [`TAIL_BYTES`] of them.
const JOURNAL_LINES: &str = "100000";
/// A journal that is slow, or damaged, does not keep the report back for longer.
const JOURNAL_TIME: Duration = Duration::from_secs(20);

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
    /// By the day, as `2026-11-28`.
    pub(super) days: BTreeMap<String, Day>,
    /// What was read.
    pub(super) sources: Vec<String>,
}

pub(super) fn read() -> Logins {
    let mut logins = Logins::default();
    for file in FILES {
        if let Some((text, changed)) = tail(file) {
            logins.add(&text, changed);
            logins.sources.push(file.to_owned());
        }
    }
    if logins.sources.is_empty()
        && let Some((text, part)) = journal()
    {
        logins.add(&text, Date::MAX);
        logins.sources.push(part.words().to_owned());
    }
    logins
}

/// The end of a file, and the day on which it was changed last.
fn tail(path: &str) -> Option<(String, Date)> {
    // Opening a FIFO would wait for its other end.
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    let length = metadata.len();
    let changed = jiff::Timestamp::try_from(metadata.modified().ok()?).ok()?;
    let changed = changed.to_zoned_datetime(TimeZone::system()).date();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some((String::from_utf8_lossy(&bytes).into_owned(), changed))
}

/// How much of the journal was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Newest,
}

impl Part {
    fn words(self) -> &'static str {
        match self {
            Self::Whole => "the journal",
            Self::Newest => "the newest part of the journal",
        }
    }
}

fn journal() -> Option<(String, Part)> {
    #[expect(clippy::disallowed_methods, reason = "the admin's tool, not a login")]
    let mut command = Command::new("journalctl");
    command.args(["-q", "--no-pager", "-t", "pam_onetime", "-o", "short-iso", "--reverse"]);
    command.args(["-n", JOURNAL_LINES]).stdin(Stdio::null()).stderr(Stdio::null());
    newest(command.stdout(Stdio::piped()).spawn().ok()?, JOURNAL_TIME, TAIL_BYTES)
}

/// What a program writes until it ends, or until its time or the room is over: whole lines.
fn newest(mut program: Child, time: Duration, most: u64) -> Option<(String, Part)> {
    let mut bytes = Vec::new();
    let read = read_until(&mut program, Instant::now().checked_add(time)?, most, &mut bytes);
    if read != Some(Part::Whole) {
        program.kill().ok();
    }
    let ended = program.wait().ok()?;
    let part = read?;
    if part == Part::Newest {
        let whole_lines = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        bytes.truncate(whole_lines);
    }
    (part == Part::Newest || ended.success())
        .then(|| (String::from_utf8_lossy(&bytes).into_owned(), part))
}

fn read_until(program: &mut Child, end: Instant, most: u64, bytes: &mut Vec<u8>) -> Option<Part> {
    let mut output = program.stdout.take()?;
    let mut piece = vec![0; 64 * 1024];
    while u64::try_from(bytes.len()).ok()? < most {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok()?;
        let mut ready = [PollFd::new(&output, PollFlags::IN)];
        match poll(&mut ready, Some(&left)) {
            Ok(0) => return Some(Part::Newest),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return None,
        }
        match output.read(&mut piece).ok()? {
            0 => return Some(Part::Whole),
            length => bytes.extend_from_slice(piece.get(..length)?),
        }
    }
    Some(Part::Newest)
}

impl Logins {
    /// Counts lines, the last of which is not after the day of `changed`.
    fn add(&mut self, text: &str, changed: Date) {
        for line in text.lines() {
            if let Some((day, count)) = day_of(line, changed).zip(counter(line)) {
                let day = self.days.entry(day).or_default();
                let count = count(day);
                *count = count.saturating_add(1);
            }
        }
    }
}

/// The day of a line: of RFC 3339, or without a year (`Nov 28`). Then it is the last such day
/// before the file was changed, or the day after: the zones of both may differ.
fn day_of(line: &str, changed: Date) -> Option<String> {
    let iso = line.get(..10).filter(|_| line.get(10..11) == Some("T"));
    let is_date = |date: &&str| date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if let Some(day) = iso.filter(is_date) {
        return Some(day.to_owned());
    }
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let (month, day) = (line.get(..3)?, line.get(4..6)?.trim().parse::<i8>().ok()?);
    let at = months.find(month).filter(|at| at % 3 == 0)?;
    let month = i8::try_from(at.checked_div(3)?.saturating_add(1)).ok()?;
    let latest = changed.tomorrow().unwrap_or(changed);
    // 29 February comes once in four years, or in eight.
    let years = (0..=8).map(|back| latest.year().saturating_sub(back));
    let days = years.filter_map(|year| Date::new(year, month, day).ok());
    days.filter(|date| *date <= latest).max().map(|date| date.to_string())
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

    use jiff::civil::date;

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
        let today = date(2026, 11, 28);
        let mut logins = Logins::default();
        for verdict in [
            Verdict::Admitted(Grant::Code),
            Verdict::Admitted(Grant::Activated),
            Verdict::Admitted(Grant::RecoveryCode { left: 2 }),
            Verdict::Admitted(Grant::PasswordAlone),
            Verdict::Admitted(Grant::Skipped),
            Verdict::Refused(Refusal::WrongCode),
        ] {
            logins.add(&of(verdict), today);
        }
        let changed = line(Outcome::Changed, &Subject::default(), "enabled");
        logins.add(&format!("Nov  3 04:31:00 h pam_onetime[1]: {changed}\n"), today);
        logins.add("Nov  3 04:31:00 h sshd[1]: outcome=admitted reason=\"code right\"\n", today);
        logins.add(
            "Nov  3 04:31:00 h pam_onetime[1]: outcome=admitted user=a reason=\"code right\"\n",
            today,
        );
        let day = Day { with_code: 3, without_code: 2, refused: 1, locked: 0 };
        let other = Day { with_code: 1, ..Day::default() };
        let days = [("2026-11-03".to_owned(), other), ("2026-11-28".to_owned(), day)];
        assert_eq!(logins.days, BTreeMap::from(days));
    }

    #[test]
    fn a_day_without_a_year_is_the_last_one_before_the_file_was_changed() {
        for (line, changed, day) in [
            ("Nov 28 04:31:00 h", date(2026, 11, 28), Some("2026-11-28")),
            ("Nov 29 04:31:00 h", date(2026, 11, 28), Some("2026-11-29")),
            ("Nov 30 04:31:00 h", date(2026, 11, 28), Some("2025-11-30")),
            ("Dec 31 23:59:59 h", date(2027, 1, 1), Some("2026-12-31")),
            ("Jan  1 00:00:00 h", date(2026, 12, 31), Some("2027-01-01")),
            ("Feb 29 04:31:00 h", date(2026, 11, 28), Some("2024-02-29")),
            ("Feb 29 04:31:00 h", date(2103, 3, 1), Some("2096-02-29")),
            ("Feb 30 04:31:00 h", date(2026, 11, 28), None),
            ("Nov  0 04:31:00 h", date(2026, 11, 28), None),
            ("ovD  3 04:31:00 h", date(2026, 11, 28), None),
        ] {
            assert_eq!(day_of(line, changed).as_deref(), day, "{line}");
        }
    }

    #[test]
    fn a_program_that_does_not_end_or_writes_without_end_is_cut_off_at_a_whole_line() {
        let of = |script: &str, time: Duration, most: u64| {
            let mut shell = Command::new("sh");
            shell.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
            newest(shell.spawn().unwrap(), time, most)
        };
        let hour = Duration::from_secs(3600);
        assert_eq!(of("echo a; echo b", hour, 99), Some(("a\nb\n".to_owned(), Part::Whole)));
        assert_eq!(of("echo a; exit 1", hour, 99), None);
        let cut = of("printf 'a\\nb'; exec sleep 3600", Duration::from_secs(1), 99);
        assert_eq!(cut, Some(("a".to_owned(), Part::Newest)));
        let (text, part) = of("exec yes", hour, 100_000).unwrap();
        assert!(part == Part::Newest && (99_000..200_000).contains(&text.len()), "{}", text.len());
    }
}
