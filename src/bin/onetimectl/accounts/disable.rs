//! `onetimectl disable`: destroys secrets.

use std::process::ExitCode;

use pam_onetime::account::UserName;
use pam_onetime::store::{Batch, Removal, RemoveOutcome, Store, StoreError};
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
    // Also for a user whom the system no longer knows.
    let row = |user: &User, outcome: DisableRow| match outcome {
        DisableRow::NotEnabled => people.without_record(user, outcome),
        DisableRow::Disabled | DisableRow::WouldBeDisabled => Ok(outcome),
    };
    if run == Run::Dry {
        let foresee = |user: &User| row(user, foresee(&store, user)?);
        return report::each(context.form, &people, foresee, |row| row.text().to_owned());
    }
    let batch = store.into_batch()?;
    report::each_together(
        context.form,
        &people,
        batch.size(),
        |users| {
            let disabled = disable(&batch, users).into_iter().zip(users);
            disabled.map(|(outcome, user)| row(user, outcome?)).collect()
        },
        |row| row.text().to_owned(),
    )
}

fn disable(batch: &Batch, users: &[User]) -> Vec<anyhow::Result<DisableRow>> {
    let names: Vec<_> = users.iter().map(|user| user.name.clone()).collect();
    report::at_present(users, |now| {
        let removed = batch.remove(&names, now);
        removed.into_iter().zip(&names).map(|(removed, name)| told(removed, name)).collect()
    })
}

/// What is logged and told of a removal.
fn told(removed: Result<RemoveOutcome, StoreError>, user: &UserName) -> anyhow::Result<DisableRow> {
    if let Ok(RemoveOutcome::Record)
    | Err(
        StoreError::StillIndexed(_) | StoreError::NotRemembered { removal: Removal::Complete, .. },
    ) = removed
    {
        report::log(user, "disabled: the secret was destroyed");
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
