//! How results are told: text or JSON on stdout, `onetimectl: what: why` on
//! stderr, and the exit code. The one place that prints.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the place for it")]

use std::cell::{Cell, OnceCell};
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pam_onetime::account::UserName;
use pam_onetime::audit::{self, Outcome, Subject};
use serde::Serialize;
use zeroize::Zeroizing;

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
            complain(&format!("{}: {error:#}", row.user));
        }
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ if failed == rows.len() => ExitCode::from(FAILED),
        _ => ExitCode::from(SOME_FAILED),
    })
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

/// How far a long run has come: on standard error, if it is a terminal, and
/// not before it has taken a second.
pub(crate) struct Progress {
    begun: Instant,
    total: usize,
    what: &'static str,
    done: Cell<usize>,
    bar: OnceCell<ProgressBar>,
}

impl Progress {
    const SILENCE: Duration = Duration::from_secs(1);

    pub(crate) fn new(total: usize, what: &'static str) -> Self {
        let (begun, bar) = (Instant::now(), OnceCell::new());
        Self { begun, total, what, done: Cell::new(0), bar }
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        self.done.set(self.done.get().saturating_add(1));
        if self.bar.get().is_none() && self.begun.elapsed() < Self::SILENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let length = u64::try_from(self.total).unwrap_or(u64::MAX);
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr())
                .with_elapsed(self.begun.elapsed())
                .with_position(u64::try_from(self.done.get()).unwrap_or(u64::MAX));
            let form = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {eta} left");
            bar.set_style(form.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.what);
            bar
        });
        bar.set_position(u64::try_from(self.done.get()).unwrap_or(u64::MAX));
    }

    /// All are.
    pub(crate) fn end(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

/// The whole run failed.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    complain(&format!("{error:#}"));
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
