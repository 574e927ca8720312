//! `onetimectl report`: one page about all accounts for an auditor, with tables and plots,
//! without secrets. It needs no network and no script.

mod log;
mod page;
mod plot;

use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use pam_onetime::account::Timestamp;
use pam_onetime::system::{host_name, now};
use serde::Serialize;

use crate::accounts::status::{StatusRow, Summary, each_account};
use crate::context::Context;
use crate::error;
use crate::paper::file::NewFile;
use crate::people::People;
use crate::say;
use crate::say::Form;
use crate::say::report::VERSION;

/// What the page is about.
struct Facts {
    host: String,
    now: Timestamp,
    rows: Vec<(String, StatusRow)>,
    /// Whose account could not be read, and why.
    unread: Vec<(String, String)>,
    summary: Summary,
    logins: log::Logins,
}

#[derive(Serialize)]
struct Written {
    version: u8,
    file: String,
    users: usize,
    unread: usize,
}

/// Writes the page to a new file.
pub(crate) fn run(context: &Context, output: &Path) -> anyhow::Result<ExitCode> {
    if output.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("html")) {
        let what = "the file of a report must end in .html";
        return Err(say::usage(ErrorKind::ValueValidation, what));
    }
    let facts = gather(context)?;
    NewFile::write(output, page::html(&facts)?.as_bytes())?.keep();
    let file = output.display().to_string();
    let written =
        Written { version: VERSION, file, users: facts.rows.len(), unread: facts.unread.len() };
    match context.form {
        Form::Json => say::json(&written)?,
        Form::Text => say::line(&format!("{}: {}", written.file, facts.summary))?,
    }
    Ok(if facts.unread.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everybody who has a record, and every ordinary user who has none.
fn gather(context: &Context) -> anyhow::Result<Facts> {
    let (store, now) = (context.store()?, now()?);
    let people = People::enabled_or_ordinary(&store)?;
    let (mut rows, mut unread, mut summary) = (Vec::new(), Vec::new(), Summary::default());
    each_account(context, &store, &people, now, |accounts| {
        for account in accounts {
            match account.result {
                Ok(row) => {
                    summary.count(&row);
                    rows.push((account.user, row));
                }
                Err(error) => unread.push((account.user, error::text(&error))),
            }
        }
    });
    let host = host_name().unwrap_or_default();
    Ok(Facts { host, now, rows, unread, summary, logins: log::read() })
}
