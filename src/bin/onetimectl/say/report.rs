//! How results are told: text or JSON on stdout, `onetimectl: what: why` on
//! stderr, and the exit code. The one place that prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the place for it")]

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use pam_onetime::account::UserName;
use pam_onetime::audit::{self, Outcome, Subject};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer as _};
use zeroize::Zeroizing;

use crate::say::progress::{Beside, Progress};

use crate::doctor::{Finding, Level};

const FAILED: u8 = 1;
const SOME_FAILED: u8 = 3;
const NOT_PERMITTED: u8 = 4;

/// Where writing failed.
const STDOUT: &str = "cannot write to standard output";

/// How results are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Json,
}

/// What came of one user.
pub(crate) struct Row<T> {
    pub(crate) user: String,
    pub(crate) result: anyhow::Result<T>,
}

/// A row as JSON: what there is to say of the user, and an error or null.
#[derive(Serialize)]
struct JsonRow<'a, T> {
    user: &'a str,
    #[serde(flatten)]
    told: Option<&'a T>,
    error: Option<String>,
}

impl<'a, T> JsonRow<'a, T> {
    fn of(row: &'a Row<T>) -> Self {
        let (told, error) = match &row.result {
            Ok(told) => (Some(told), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self { user: &row.user, told, error }
    }
}

/// Does `work` for each user; one that fails does not keep the next from
/// being done. Tells each result with `text` or as JSON, as it comes.
pub(crate) fn each<T: Serialize>(
    form: Form,
    users: &[String],
    work: impl Fn(&str) -> anyhow::Result<T>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::of(users.len());
    let rows = users.iter().map(|user| {
        let result = work(user);
        progress.step();
        Row { user: user.clone(), result }
    });
    // A line at a time: what was done is told when it is done.
    let out = Beside { progress: &progress, out: std::io::stdout().lock() };
    tell(form, out, &progress, rows, |out, row, told| writeln!(out, "{}: {}", row, text(told)))
}

/// Tells each row as it comes, with `text` or as an element of a JSON array,
/// and errors on stderr; and what all that makes of the exit code.
pub(crate) fn tell<T: Serialize, W: Write>(
    form: Form,
    mut out: W,
    progress: &Progress,
    rows: impl Iterator<Item = Row<T>>,
    mut text: impl FnMut(&mut W, &str, &T) -> std::io::Result<()>,
) -> anyhow::Result<ExitCode> {
    let (mut told, mut failed) = (0_usize, 0_usize);
    let mut count = |row: &Row<T>| match &row.result {
        Ok(_) => told = told.saturating_add(1),
        Err(error) => {
            failed = failed.saturating_add(1);
            progress.beside(|| complain(&format!("{}: {error:#}", row.user)));
        }
    };
    match form {
        Form::Text => {
            for row in rows {
                count(&row);
                if let Ok(told) = &row.result {
                    text(&mut out, &row.user, told).context(STDOUT)?;
                }
            }
        }
        Form::Json => {
            let unwritten = |error| std::io::Error::from(error);
            let mut serializer = serde_json::Serializer::pretty(&mut out);
            let mut array = serializer.serialize_seq(None).map_err(unwritten).context(STDOUT)?;
            for row in rows {
                count(&row);
                array.serialize_element(&JsonRow::of(&row)).map_err(unwritten).context(STDOUT)?;
            }
            SerializeSeq::end(array).map_err(unwritten).context(STDOUT)?;
            writeln!(out).context(STDOUT)?;
        }
    }
    out.flush().context(STDOUT)?;
    Ok(match (told, failed) {
        (_, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(FAILED),
        (_, _) => ExitCode::from(SOME_FAILED),
    })
}

/// Tells rows whose text has been written already: errors, JSON, exit code.
pub(crate) fn finish<T: Serialize>(form: Form, rows: Vec<Row<T>>) -> anyhow::Result<ExitCode> {
    let progress = Progress::of(rows.len());
    tell(form, std::io::stdout().lock(), &progress, rows.into_iter(), |_, _, _| Ok(()))
}

/// For `serialize_with`: a text that is overwritten when dropped.
pub(crate) fn plain<S: serde::Serializer>(
    text: &Zeroizing<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// In one piece: other processes may write to the same terminal.
fn complain(what: &str) {
    let line = format!("onetimectl: {what}\n");
    eprint!("{line}");
}

/// Prints what a look at the machine has found, each with its remedy below.
pub(crate) fn findings(form: Form, findings: &[Finding]) -> anyhow::Result<()> {
    match form {
        Form::Json => println!("{}", serde_json::to_string_pretty(findings)?),
        Form::Text => {
            let colour = has_colour();
            let checks = findings.iter().map(|finding| finding.check.len());
            let width = checks.max().unwrap_or(0).max("CHECK".len());
            println!("{:width$}  RESULT  WHAT", "CHECK");
            for Finding { check, level, what, remedy } in findings {
                let (word, (on, off)) =
                    (level.word(), if colour { paint(*level) } else { ("", "") });
                println!("{check:width$}  {on}{word:6}{off}  {what}");
                if let Some(remedy) = remedy {
                    println!("{:width$}          -> {remedy}", "");
                }
            }
        }
    }
    Ok(())
}

const fn paint(level: Level) -> (&'static str, &'static str) {
    let on = match level {
        Level::Ok => "\x1b[32m",
        Level::Warn => "\x1b[33m",
        Level::Fail => "\x1b[1;31m",
    };
    (on, "\x1b[0m")
}

/// Colour is for terminals of people who have not declined it
/// (<https://no-color.org>).
fn has_colour() -> bool {
    #[allow(clippy::disallowed_methods, reason = "the admin's own terminal, not a login")]
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !declined && std::io::stdout().is_terminal()
}

/// Prints what is not about single users.
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Says on standard error what does not fail the run.
pub(crate) fn warn(what: &str) {
    complain(what);
}

/// Writes what another program is to read.
pub(crate) fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let broken = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    // `onetimectl list | head` has seen enough: that is no news.
    if !error.root_cause().downcast_ref().is_some_and(broken) {
        complain(&format!("{error:#}"));
    }
    ExitCode::from(FAILED)
}

/// The caller is not root.
pub(crate) fn not_permitted() -> ExitCode {
    complain("not permitted: secrets belong to root; run it as root (sudo onetimectl ...)");
    ExitCode::from(NOT_PERMITTED)
}

/// Logs what was changed by the admin's hand.
pub(crate) fn log(user: &UserName, what: &str) {
    let subject = Subject {
        user: user.as_str().to_owned(),
        service: "onetimectl".to_owned(),
        ..Subject::default()
    };
    audit::send(Outcome::Changed, &subject, what);
}
