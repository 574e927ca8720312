//! A row for each user: as text or JSON on standard output, its error on
//! standard error; and the exit code that all of them make.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use pam_onetime::account::UserName;
use pam_onetime::audit::{self, Outcome, Subject};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer as _};
use zeroize::Zeroizing;

use crate::say::Form;
use crate::say::failure::with_remedy;
use crate::say::print::complain;
use crate::say::progress::{Beside, Progress};

/// Exit codes, as onetimectl(8) lists them.
pub(super) const FAILED: u8 = 1;
const SOME_FAILED: u8 = 3;
pub(super) const NOT_PERMITTED: u8 = 4;

/// Where writing failed.
const STDOUT: &str = "cannot write to standard output";

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
            Err(error) => (None, Some(with_remedy(error))),
        };
        Self { user: &row.user, told, error }
    }
}

/// [`each`], for one user.
pub(crate) fn one<T: Serialize>(
    form: Form,
    user: &str,
    work: impl Fn(&str) -> anyhow::Result<T>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    each(form, &[user.to_owned()], work, text)
}

/// Does `work` for each user; one that fails does not keep the next from
/// being done. Prints each result with `text` or as JSON, as it comes.
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
            progress.beside(|| complain(&format!("{}: {}", row.user, with_remedy(error))));
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

/// Logs what was changed by the admin's hand.
pub(crate) fn log(user: &UserName, what: &str) {
    let subject = Subject {
        user: user.as_str().to_owned(),
        service: "onetimectl".to_owned(),
        ..Subject::default()
    };
    audit::send(Outcome::Changed, &subject, what);
}
