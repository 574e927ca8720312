//! `onetimectl import`: takes over the tokens that users have already. `formats`
//! knows what files say, `source` opens them, `picture` reads QR codes, `key` has the keys of
//! encrypted ones, `candidates` has what they say by user, `importer` makes an account of that, whole or not at all, and `report`
//! reports to the admin.

mod candidates;
mod importer;
mod key;
mod map;
mod picture;
mod report;
mod source;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use pam_onetime::account::UserName;

use crate::cli::ImportOptions;
use crate::context::Context;
use crate::people::{Origin, People};
use crate::say::progress::Progress;
use crate::say::report::Row;
use crate::say::{self, Answer, Form, Input};
use candidates::{Candidate, Candidates, Findings};
use importer::Importer;
use key::KeyInput;
use map::UserMap;
use report::ImportReport;

pub(crate) fn run(context: &Context, options: &ImportOptions) -> anyhow::Result<ExitCode> {
    let map = options.map.as_deref().map(UserMap::open).transpose()?;
    let keys = KeyInput::open(options.key_file.as_deref())?;
    let mut candidates = Candidates::by(map);
    for path in &options.files {
        candidates.read(path, options, &keys).with_context(|| candidates::nothing_from(path))?;
    }
    candidates.read_parts(options)?;
    keys.warn_if_unused();
    let Findings { users: candidates, ownerless, spare } = candidates.finish();
    ensure!(
        !candidates.is_empty() || !ownerless.is_empty() || !spare.is_empty(),
        "there are no users to import in these files"
    );
    let names = candidates.iter().map(|(user, _)| user.clone()).collect();
    let people = People::of(names, Origin::Elsewhere)?;
    let asks = options.replace && !options.yes && !options.dry_run;
    if asks && may_replace(context, options, &candidates, &people)? == Answer::No {
        return Answer::nothing_changed();
    }
    let importer = Importer::new(context, options, people)?;
    let progress = Progress::of(candidates.len());
    let mut seen = BTreeSet::new();
    let ownerless = ownerless.into_iter().map(|(name, error)| (name, Err(error)));
    let spare = spare.into_iter().map(|name| (name, Ok(ImportReport::unmapped())));
    let rows: Vec<_> = candidates
        .into_iter()
        .map(|(user, candidate)| {
            let result = importer.import(&user, candidate, &mut seen);
            progress.step();
            (user, result)
        })
        .chain(ownerless)
        .chain(spare)
        .map(|(user, result)| Row { user: printable(user), result })
        .collect();
    drop(progress);
    if context.form == Form::Text {
        let named = if options.dry_run { usize::MAX } else { report::NAMED };
        say::line(&report::table(&rows, named))?;
    }
    say::report::finish(context.form, rows)
}

/// Asks, if any of these users is enabled.
///
/// # Errors
/// The store cannot be opened, or the answer not read.
fn may_replace(
    context: &Context,
    options: &ImportOptions,
    candidates: &[(String, Candidate)],
    people: &People,
) -> anyhow::Result<Answer> {
    if !context.dir_exists()? {
        return Ok(Answer::Yes);
    }
    let store = context.open_or_make()?;
    let replaced = candidates.iter().filter(|(_, candidate)| candidate.problem.is_none());
    let question = match replaced.filter(|(user, _)| people.is_enabled(&store, user)).count() {
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
fn printable(user: String) -> String {
    if UserName::new(user.as_str()).is_ok() {
        return user;
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
