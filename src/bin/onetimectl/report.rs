//! How results are told: text or JSON on stdout, `onetimectl: what: why` on
//! stderr, and the exit code. The one place that prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the place for it")]

use std::io::IsTerminal;
use std::process::ExitCode;

use pam_onetime::account::UserName;
use pam_onetime::audit::{self, Outcome, Subject};
use serde::Serialize;

use crate::doctor::{Finding, Level};

const FAILED: u8 = 1;
const SOME_FAILED: u8 = 3;
const NOT_PERMITTED: u8 = 4;

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

/// Does `work` for each user; one that fails does not keep the next from
/// being done. Tells each result with `text` or as JSON.
pub(crate) fn each<T: Serialize>(
    form: Form,
    users: &[String],
    work: impl Fn(&str) -> anyhow::Result<T>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let rows: Vec<_> =
        users.iter().map(|user| Row { user: user.clone(), result: work(user) }).collect();
    if form == Form::Text {
        for row in &rows {
            if let Ok(told) = &row.result {
                println!("{}: {}", row.user, text(told));
            }
        }
    }
    finish(form, &rows)
}

/// Tells the errors (or, as JSON, everything), and what that makes of the
/// exit code.
pub(crate) fn finish<T: Serialize>(form: Form, rows: &[Row<T>]) -> anyhow::Result<ExitCode> {
    if form == Form::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| JsonRow {
                user: &row.user,
                told: row.result.as_ref().ok(),
                error: row.result.as_ref().err().map(|error| format!("{error:#}")),
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    let mut failed = 0_usize;
    for row in rows {
        if let Err(error) = &row.result {
            failed = failed.saturating_add(1);
            eprintln!("onetimectl: {}: {error:#}", row.user);
        }
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ if failed == rows.len() => ExitCode::from(FAILED),
        _ => ExitCode::from(SOME_FAILED),
    })
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

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("onetimectl: {error:#}");
    ExitCode::from(FAILED)
}

/// The caller is not root.
pub(crate) fn not_permitted() -> ExitCode {
    eprintln!(
        "onetimectl: not permitted: secrets belong to root; run it as root (sudo onetimectl ...)"
    );
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
