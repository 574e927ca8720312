//! `onetimectl import`: takes over the tokens that users have already. `formats`
//! knows what files say, `source` opens them, `picture` reads QR codes, `key` has the keys of
//! encrypted ones, `candidates` packs what they say (`packed`), `findings` has it by user, `importer`
//! makes an account of that, whole or not at all, and `report` reports to the admin.

mod candidates;
mod findings;
mod importer;
mod key;
mod map;
mod packed;
mod picture;
mod report;
mod source;

use std::cell::Cell;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use pam_onetime::account::UserName;
use unicode_width::UnicodeWidthStr as _;

use crate::cli::ImportOptions;
use crate::context::Context;
use crate::people::People;
use crate::say::progress::{Progress, ProgressOutput};
use crate::say::report::Row;
use crate::say::{self, Answer, Form, Input};
use candidates::Candidates;
use findings::Findings;
use importer::{Importer, Issued};
use key::KeyInput;
use map::UserMap;
use report::{ImportReport, Table};

pub(crate) fn run(context: &Context, options: &ImportOptions) -> anyhow::Result<ExitCode> {
    let map = options.map.as_deref().map(UserMap::open).transpose()?;
    let keys = KeyInput::open(options.key_file.as_deref())?;
    let mut candidates = Candidates::by(map);
    for path in &options.files {
        candidates.read(path, options, &keys).with_context(|| candidates::nothing_from(path))?;
    }
    candidates.read_parts(options)?;
    keys.warn_if_unused();
    let findings = candidates.finish()?;
    ensure!(!findings.is_empty(), "there are no users to import in these files");
    let users = findings.users().count();
    let people = People::known(users, |name| findings.number(name).is_some())?;
    let asks = options.replace && !options.yes && !options.dry_run;
    if asks && may_replace(context, options, &findings, &people)? == Answer::No {
        return Answer::nothing_changed();
    }
    let importer = Importer::new(context, options, people)?;
    carry_out(context, options, &findings, &importer, &Progress::of(users))
}

/// Imports user by user, and reports each when it is done: nothing is kept of it.
fn carry_out(
    context: &Context,
    options: &ImportOptions,
    findings: &Findings,
    importer: &Importer<'_>,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let mut issued = Issued::none(findings);
    let (mut unready, last) = (None, Cell::new(None));
    // Nothing is changed that could not be reported.
    let mut users = findings.users();
    let imported = std::iter::from_fn(|| {
        let some: Vec<&str> = users.by_ref().take(importer.size()).collect();
        let final_user = *some.last()?;
        unready = say::ready().err();
        if unready.is_some() {
            return None;
        }
        let results = importer.import(&some, &mut issued);
        last.set(Some(final_user));
        let row = |(user, result)| Row { user: printable(user), result };
        Some(some.into_iter().zip(results).map(row).collect::<Vec<_>>())
    });
    let imported = imported.flatten().inspect(|_| progress.step());
    let ownerless = findings.ownerless();
    let ownerless =
        ownerless.map(|(name, error)| Row { user: printable(name), result: Err(error) });
    let spare = findings.spare();
    let spare =
        spare.map(|name| Row { user: printable(name), result: Ok(ImportReport::unmapped()) });
    let mut failed = 0_usize;
    let rows = imported.chain(ownerless).chain(spare).inspect(|row| {
        failed = failed.saturating_add(usize::from(row.result.is_err()));
    });
    let width = findings.users().map(|user| printable(user).width()).max().unwrap_or(0);
    let mut table = Table::of(width);
    let out = ProgressOutput { progress, out: std::io::stdout().lock() };
    let ended = say::report::print(context.form, out, progress, rows, |out, user, report| {
        table.row(user, report).map_or(Ok(()), |line| out.write_all(line.as_bytes()))
    });
    let ended = unready.map_or(ended, |error| Err(error.into()));
    let code = ended.with_context(|| match last.get() {
        None => "nothing was imported".to_owned(),
        Some(user) => format!("stopped after {}", printable(user)),
    })?;
    if context.form == Form::Text {
        let spare = findings.spare().map(printable);
        let named = if options.dry_run { usize::MAX } else { report::NAMED };
        table.end(failed, spare.take(named), findings.spares())?;
    }
    Ok(code)
}

/// Asks, if any of these users is enabled.
///
/// # Errors
/// The store cannot be opened, or the answer not read.
fn may_replace(
    context: &Context,
    options: &ImportOptions,
    findings: &Findings,
    people: &People,
) -> anyhow::Result<Answer> {
    if !context.dir_exists()? {
        return Ok(Answer::Yes);
    }
    let store = context.open_or_make()?;
    let replaced = findings.users().filter(|user| findings.candidate(user).problem.is_none());
    let question = match replaced.filter(|user| people.is_enabled(&store, user)).count() {
        0 => return Ok(Answer::Yes),
        1 => "Replace what 1 user has by what these files say? The old secret is destroyed.".into(),
        count => format!(
            "Replace what {count} users have by what these files say of them? Their old secrets \
             are destroyed."
        ),
    };
    let reads_stdin = options.files.iter().any(|path| path == Path::new("-"));
    say::confirm(&question, Input::of(reads_stdin))
}

/// A name as the report has it: what cannot be a user's name anyway must not
/// write over the admin's terminal.
fn printable(user: &str) -> String {
    if UserName::new(user).is_ok() {
        return user.to_owned();
    }
    user.chars().flat_map(char::escape_default).take(64).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap_complete::Shell;

    use crate::cli::Cli;
    use crate::formats::{FORMATS, Format};

    #[test]
    fn command_line_help_and_completions_offer_each_format() {
        let mut command = Cli::command();
        let import = command.find_subcommand_mut("import").expect("the verb");
        let help = import.render_long_help().to_string();
        for format in FORMATS {
            let parsed = import.clone().try_get_matches_from(["import", "--from", format.name()]);
            let parsed = parsed.expect("a format");
            let from = parsed.get_one::<&'static dyn Format>("from").expect("a format");
            assert_eq!(from.name(), format.name());
            let line = format!("{}: ", format.name());
            assert!(help.contains(&line) && help.contains(format.summary()), "{help}");
        }
        assert!(import.clone().try_get_matches_from(["import", "--from", "csv"]).is_err());
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "onetimectl", &mut script);
            let script = String::from_utf8(script).unwrap();
            for format in FORMATS {
                assert!(script.contains(format.name()), "{shell}: {format:?}");
            }
        }
    }
}
