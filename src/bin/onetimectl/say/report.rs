//! A row for each user: as text or JSON on standard output, its error on
//! standard error; and the exit code that all of them make.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use pam_onetime::account::UserName;
use pam_onetime::audit::{self, Outcome, Subject};
use pam_onetime::bytes_as_text::Readable;
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer as _};
use zeroize::Zeroizing;

use crate::error;
use crate::people::{People, User};
use crate::say::Form;
use crate::say::failure::failure;
use crate::say::progress::{Progress, ProgressOutput};

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

impl<T> Row<T> {
    /// Looks the user up and does `work` for them.
    pub(crate) fn of(
        people: &People,
        name: &str,
        work: impl FnOnce(&User) -> anyhow::Result<T>,
    ) -> Self {
        Self { user: name.to_owned(), result: people.find(name).and_then(|user| work(&user)) }
    }
}

/// A row as JSON: what there is to say of the user; an error or null, and what
/// to do about it or null.
#[derive(Serialize)]
struct JsonRow<'a, T> {
    user: &'a str,
    #[serde(flatten)]
    result: Option<&'a T>,
    error: Option<String>,
    remedy: Option<&'static str>,
}

impl<'a, T> JsonRow<'a, T> {
    fn of(row: &'a Row<T>) -> Self {
        let (user, result) = (row.user.as_str(), row.result.as_ref());
        let error = result.err();
        Self {
            user,
            result: result.ok(),
            error: error.map(|error| format!("{error:#}")),
            remedy: error.and_then(error::remedy),
        }
    }
}

/// [`each`], for one user.
pub(crate) fn one<T: Serialize>(
    form: Form,
    name: &str,
    work: impl Fn(&User) -> anyhow::Result<T>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    each(form, &People::one(name), work, text)
}

/// Looks each user up and does `work` for them; one that fails does not keep
/// the next from being done. Prints each result with `text` or as JSON, as it
/// comes.
pub(crate) fn each<T: Serialize>(
    form: Form,
    people: &People,
    work: impl Fn(&User) -> anyhow::Result<T>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::of(people.names().len());
    let rows = people.names().iter().map(|name| {
        let row = Row::of(people, name, &work);
        progress.step();
        row
    });
    // A line at a time: what was done is reported when it is done.
    let out = ProgressOutput { progress: &progress, out: std::io::stdout().lock() };
    print(form, out, &progress, rows, |out, user, result| writeln!(out, "{user}: {}", text(result)))
}

/// Prints each row as it comes, with `text` or as an element of a JSON array,
/// and errors on standard error. Returns the exit code that they make.
pub(crate) fn print<T: Serialize, W: Write>(
    form: Form,
    mut out: W,
    progress: &Progress,
    rows: impl Iterator<Item = Row<T>>,
    mut text: impl FnMut(&mut W, &str, &T) -> std::io::Result<()>,
) -> anyhow::Result<ExitCode> {
    let (mut done, mut failed) = (0_usize, 0_usize);
    let mut count = |row: &Row<T>| match &row.result {
        Ok(_) => done = done.saturating_add(1),
        Err(error) => {
            failed = failed.saturating_add(1);
            progress.beside(|| failure(Some(&row.user), error));
        }
    };
    match form {
        Form::Text => {
            for row in rows {
                count(&row);
                if let Ok(result) = &row.result {
                    text(&mut out, &Readable(&row.user).to_string(), result).context(STDOUT)?;
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
    Ok(match (done, failed) {
        (_, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(FAILED),
        (_, _) => ExitCode::from(SOME_FAILED),
    })
}

/// Prints the rest of rows whose text has been written already: errors, JSON.
/// Returns the exit code.
pub(crate) fn finish<T: Serialize>(form: Form, rows: Vec<Row<T>>) -> anyhow::Result<ExitCode> {
    let progress = Progress::of(rows.len());
    print(form, std::io::stdout().lock(), &progress, rows.into_iter(), |_, _, _| Ok(()))
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

#[cfg(test)]
mod tests {
    use pam_onetime::store::StoreError;
    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    #[serde(tag = "result", rename_all = "snake_case")]
    enum Example {
        AllWell { count: u8 },
    }

    #[test]
    fn a_row_as_json_has_the_result_or_else_why_not_and_what_to_do() {
        let json = |result| {
            let row = Row { user: "alice".to_owned(), result };
            serde_json::to_value(JsonRow::of(&row)).unwrap()
        };
        assert_eq!(
            json(Ok(Example::AllWell { count: 2 })),
            json!({ "user": "alice", "result": "all_well", "count": 2, "error": null, "remedy": null })
        );
        // However deep in the chain the error is that knows what to do.
        let error = Err(StoreError::Busy(UserName::new("alice").unwrap())).context("cannot");
        let row = json(error);
        let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["error", "remedy", "user"]);
        assert_eq!(row["error"], "cannot: alice: the account is being changed all the time");
        assert_eq!(row["remedy"], "try again");
        assert_eq!(json(Err(anyhow::anyhow!("no")))["remedy"], serde_json::Value::Null);
    }
}
