//! `onetimectl unlock`: ends a lock, and forgets the failures that led to it.

use std::process::ExitCode;

use pam_onetime::account::Failures;
use pam_onetime::store::StoreError;
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::Context;
use crate::people::{Everybody, select};
use crate::say::report;

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum UnlockRow {
    Unlocked,
    NotEnabled,
}

impl UnlockRow {
    const fn text(self) -> &'static str {
        match self {
            Self::Unlocked => "unlocked; failures are forgotten",
            Self::NotEnabled => "not enabled",
        }
    }
}

pub(crate) fn run(context: &Context, whom: &SelectionOptions) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::each(
        context.form,
        &select(whom, Everybody::Enabled(&store))?,
        |user| {
            let amended = store.amend(&user.name, |account| {
                Ok::<_, StoreError>(account.state.with_failures(Failures::default()))
            });
            match amended {
                // Not every member of a group need be enabled.
                Err(StoreError::NotEnabled(_)) if !whom.groups.is_empty() => {
                    return Ok(UnlockRow::NotEnabled);
                }
                amended => amended?,
            }
            report::log(&user.name, "unlocked");
            Ok(UnlockRow::Unlocked)
        },
        |row| row.text().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        for (row, word) in
            [(UnlockRow::Unlocked, "unlocked"), (UnlockRow::NotEnabled, "not_enabled")]
        {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
