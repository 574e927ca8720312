//! A row for each user: as text or JSON on standard output, its error on
//! standard error; and the exit code that all of them make.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::Context as _;
use pam_onetime::account::{Timestamp, UserName};
use pam_onetime::audit::{self, Admin, Outcome, Subject};
use pam_onetime::bytes_as_text::{Readable, to_text};
use pam_onetime::system::{SystemError, name_of, now};
use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer as _};
use zeroize::Zeroizing;

use crate::error::{self, OutputError, ToolError};
use crate::people::{People, User};
use crate::say::failure::failure;
use crate::say::progress::{Progress, ProgressOutput};
use crate::say::{self, Form, escaping};

/// Exit codes, as onetimectl(8) lists them.
pub(super) const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
const SOME_FAILED: u8 = 3;
pub(super) const NOT_PERMITTED: u8 = 4;

/// Of the keys in what `--json` prints, as onetimectl(8) lists them: a new number where
/// a key goes or gets another meaning. A new key is none.
pub(crate) const VERSION: u8 = 1;

/// An object of JSON output that has nothing but what `of` has, and the version.
#[derive(Serialize)]
pub(crate) struct Versioned<'a, T> {
    version: u8,
    #[serde(flatten)]
    of: &'a T,
}

impl<'a, T> Versioned<'a, T> {
    pub(crate) const fn of(of: &'a T) -> Self {
        Self { version: VERSION, of }
    }
}

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
        let of = |user: User| {
            work(&user).map_err(|error| error::of_user(error, &user.name, user.person.as_ref()))
        };
        Self { user: name.to_owned(), result: people.find(name).and_then(of) }
    }
}

/// A row as JSON: what there is to say of the user; an error or null, and what
/// to do about it or null.
#[derive(Serialize)]
struct JsonRow<'a, T> {
    version: u8,
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
            version: VERSION,
            user,
            result: result.ok(),
            error: error.map(error::text),
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

/// For what is shown once only: shows what was prepared for a user, and only then, when
/// all of it is out, makes it valid. So what is valid now is not replaced by what nobody
/// has seen.
///
/// Last comes `valid`, which says that it is. As JSON, that is the object's `error`: with
/// one, or where it is cut off before, what it shows is not valid.
pub(crate) fn shown_first<T: Serialize>(
    form: Form,
    name: &str,
    prepare: impl Fn(&User) -> anyhow::Result<T>,
    text: impl Fn(&T) -> Zeroizing<String>,
    commit: impl Fn(&User, &T) -> anyhow::Result<()>,
    valid: &str,
) -> anyhow::Result<ExitCode> {
    ensure_seen()?;
    let row = Row::of(&People::one(name), name, |user| Ok((user.clone(), prepare(user)?)));
    let (user, prepared) = match row.result {
        Ok(prepared) => prepared,
        Err(error) => {
            return finish(form, vec![Row::<T> { user: row.user, result: Err(error) }]);
        }
    };
    let whole = |error: Option<&anyhow::Error>| -> anyhow::Result<Zeroizing<String>> {
        let end = (error.map(error::text), error.and_then(error::remedy));
        let (error, remedy) = end;
        let row = JsonRow { version: VERSION, user: name, result: Some(&prepared), error, remedy };
        Ok(Zeroizing::new(escaping::text(&[row])? + "\n"))
    };
    let head = match form {
        Form::Text => Zeroizing::new(format!("{}: {}\n", Readable(name), *text(&prepared))),
        Form::Json => {
            let whole = whole(None)?;
            let (head, _) = whole.rsplit_once("\"error\": ").context("no JSON")?;
            Zeroizing::new(head.to_owned())
        }
    };
    say::write(&head).context("nothing was changed")?;
    let done = commit(&user, &prepared).context("what was shown is not valid");
    let error = done.err();
    match form {
        Form::Json => {
            let whole = whole(error.as_ref())?;
            say::write(whole.strip_prefix(&**head).unwrap_or_default())?;
        }
        Form::Text if error.is_none() => {
            let line = format!("{}: {valid}\n", Readable(name));
            say::write(&line).context("what was shown is valid")?;
        }
        Form::Text => {}
    }
    let Some(error) = error else { return Ok(ExitCode::SUCCESS) };
    failure(Some(name), &error);
    Ok(ExitCode::from(FAILED))
}

/// What is shown once must not go where nobody sees it.
///
/// # Errors
/// Standard output is closed, or /dev/null.
pub(crate) fn ensure_seen() -> anyhow::Result<()> {
    anyhow::ensure!(
        !say::is_unseen(),
        ToolError::new(
            "standard output is closed or /dev/null, and the codes are shown only once: nothing \
             was changed",
            "run it on a terminal, or write to a file that only root can read",
        )
    );
    Ok(())
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
    each_together(form, people, 1, |users| users.iter().map(&work).collect(), text)
}

/// [`each`], where `work` is done for so many users at once, and gives a result for each.
pub(crate) fn each_together<T: Serialize>(
    form: Form,
    people: &People,
    size: usize,
    work: impl Fn(&[User]) -> Vec<anyhow::Result<T>>,
    text: impl Fn(&T) -> String,
) -> anyhow::Result<ExitCode> {
    let progress = Progress::of(people.names().len());
    let (mut unready, mut last) = (None, None);
    // Nothing is changed that could not be reported.
    let rows = people.names().chunks(size.max(1)).map_while(|names| {
        unready = say::ready().err();
        let rows = unready.is_none().then(|| rows_of(people, names, &work));
        last = if rows.is_some() { names.last() } else { last };
        rows
    });
    let rows = rows.flatten().inspect(|_| progress.step());
    // A line at a time: what was done is reported when it is done.
    let out = ProgressOutput { progress: &progress, out: std::io::stdout().lock() };
    let ended = print(form, out, &progress, rows, |out, user, result| {
        writeln!(out, "{user}: {}", text(result))
    });
    let ended = unready.map_or(ended, |error| Err(error.into()));
    ended.with_context(|| match last {
        None => "nothing was done".to_owned(),
        Some(name) => format!("stopped after {}", Readable(name)),
    })
}

/// The rows of these, of whom those are worked on whom the system could be asked for.
fn rows_of<T>(
    people: &People,
    names: &[String],
    work: impl Fn(&[User]) -> Vec<anyhow::Result<T>>,
) -> Vec<Row<T>> {
    let found = names.iter().map(|name| people.find(name)).collect();
    let with_user = |users: Vec<User>| {
        let results = work(&users);
        let of_user = |(result, user): (anyhow::Result<T>, User)| {
            result.map_err(|error| error::of_user(error, &user.name, user.person.as_ref()))
        };
        results.into_iter().zip(users).map(of_user).collect()
    };
    let results = of_those(found, with_user);
    names.iter().zip(results).map(|(name, result)| Row { user: name.clone(), result }).collect()
}

/// Does `work` for all who have come so far at once. Its results, and the errors of the
/// others, are in the order in which they were.
pub(crate) fn of_those<P, T>(
    so_far: Vec<anyhow::Result<P>>,
    work: impl FnOnce(Vec<P>) -> Vec<anyhow::Result<T>>,
) -> Vec<anyhow::Result<T>> {
    let (mut prepared, mut errors) = (Vec::new(), Vec::new());
    for result in so_far {
        match result {
            Ok(it) => {
                prepared.push(it);
                errors.push(None);
            }
            Err(error) => errors.push(Some(error)),
        }
    }
    let mut results = work(prepared).into_iter();
    let missing = || Err(anyhow::anyhow!("nothing came of it"));
    let result = |error: Option<anyhow::Error>| match error {
        Some(error) => Err(error),
        None => results.next().unwrap_or_else(missing),
    };
    errors.into_iter().map(result).collect()
}

/// Does `work` for these at the present time; where there is none, that is what came of each.
pub(crate) fn at_present<T>(
    users: &[User],
    work: impl FnOnce(Timestamp) -> Vec<anyhow::Result<T>>,
) -> Vec<anyhow::Result<T>> {
    match now() {
        Ok(now) => work(now),
        Err(_) => users.iter().map(|_| Err(SystemError::Clock.into())).collect(),
    }
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
                    let user = Readable(&row.user).to_string();
                    text(&mut out, &user, result).map_err(OutputError)?;
                }
            }
        }
        Form::Json => {
            let unwritten = |error| OutputError(io::Error::from(error));
            let mut serializer = escaping::serializer(&mut out);
            let mut array = serializer.serialize_seq(None).map_err(unwritten)?;
            for row in rows {
                count(&row);
                array.serialize_element(&JsonRow::of(&row)).map_err(unwritten)?;
            }
            SerializeSeq::end(array).map_err(unwritten)?;
            writeln!(out).map_err(OutputError)?;
        }
    }
    out.flush().map_err(OutputError)?;
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
        admin: ADMIN.clone(),
        ..Subject::default()
    };
    audit::send(Outcome::Changed, &subject, what);
}

/// Who runs the tool: looked up once, for however many users.
static ADMIN: LazyLock<Admin> = LazyLock::new(admin);

fn admin() -> Admin {
    let login_uid = std::fs::read_to_string("/proc/self/loginuid").ok();
    // All ones: not by a login.
    let login_uid =
        login_uid.and_then(|uid| uid.trim().parse().ok()).filter(|uid| *uid != u32::MAX);
    let name = login_uid.and_then(|uid| name_of(uid).ok().flatten());
    let sudo_user = std::env::var_os("SUDO_USER").filter(|user| !user.is_empty());
    Admin {
        name: name.map(|name| name.as_str().to_owned()),
        login_uid,
        sudo_user: sudo_user.map(|user| to_text(user.as_encoded_bytes())),
    }
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
            json!({ "version": VERSION, "user": "alice", "result": "all_well", "count": 2, "error": null, "remedy": null })
        );
        // However deep in the chain the error is that knows what to do.
        let error = Err(StoreError::Busy(UserName::new("alice").unwrap())).context("cannot");
        let row = json(error);
        let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["error", "remedy", "user", "version"]);
        assert_eq!(row["error"], "cannot: alice: the account is being changed all the time");
        assert_eq!(row["remedy"], "try again");
        assert_eq!(json(Err(anyhow::anyhow!("no")))["remedy"], serde_json::Value::Null);
    }
}
