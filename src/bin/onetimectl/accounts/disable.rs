//! `onetimectl disable`: destroys secrets.

use std::process::ExitCode;

use pam_onetime::store::{Removal, RemoveOutcome, Store, StoreError};
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::{Context, Run};
use crate::people::{Everybody, User, select};
use crate::say::{self, Answer, Input, report};

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum DisableRow {
    Disabled,
    /// By a dry run.
    WouldBeDisabled,
    NotEnabled,
}

impl DisableRow {
    const fn text(self) -> &'static str {
        match self {
            Self::Disabled => "disabled; the secret is destroyed",
            Self::WouldBeDisabled => "would be disabled",
            Self::NotEnabled => "not enabled",
        }
    }
}

pub(crate) fn run(
    context: &Context,
    whom: &SelectionOptions,
    yes: bool,
    run: Run,
) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let people = select(whom, Everybody::Enabled(&store))?;
    let input = Input::of(whom.reads_stdin());
    let question =
        format!("Disable one-time codes for {}? The secret is destroyed.", people.described());
    if !yes && run == Run::Real && say::confirm(&question, input)? == Answer::No {
        return Answer::nothing_changed();
    }
    report::each(
        context.form,
        &people,
        // Also for a user whom the system no longer knows.
        |user| {
            let outcome = match run {
                Run::Real => disable(&store, user),
                Run::Dry => foresee(&store, user),
            }?;
            match outcome {
                DisableRow::NotEnabled => people.without_record(user, outcome),
                DisableRow::Disabled | DisableRow::WouldBeDisabled => Ok(outcome),
            }
        },
        |row| row.text().to_owned(),
    )
}

fn disable(store: &Store, user: &User) -> anyhow::Result<DisableRow> {
    let removed = store.remove(&user.name, now()?);
    if let Ok(RemoveOutcome::Record)
    | Err(
        StoreError::StillIndexed(_) | StoreError::NotRemembered { removal: Removal::Complete, .. },
    ) = removed
    {
        report::log(&user.name, "disabled: the secret was destroyed");
    }
    match removed? {
        RemoveOutcome::Record => Ok(DisableRow::Disabled),
        RemoveOutcome::Nothing => Ok(DisableRow::NotEnabled),
    }
}

fn foresee(store: &Store, user: &User) -> anyhow::Result<DisableRow> {
    match store.is_there(&user.name)? {
        true => Ok(DisableRow::WouldBeDisabled),
        false => Ok(DisableRow::NotEnabled),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        for (row, word) in [
            (DisableRow::Disabled, "disabled"),
            (DisableRow::WouldBeDisabled, "would_be_disabled"),
            (DisableRow::NotEnabled, "not_enabled"),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
