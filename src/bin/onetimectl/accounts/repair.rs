//! `onetimectl repair`: rebuilds the state of accounts that lost it.

use std::process::ExitCode;

use pam_onetime::store::RepairOutcome;
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::Context;
use crate::people::{Everybody, select};
use crate::say::report;

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum RepairRow {
    Sound,
    Rebuilt,
    NotEnabled,
}

impl RepairRow {
    const fn text(self) -> &'static str {
        match self {
            Self::Sound => "nothing to repair",
            Self::Rebuilt => {
                "repaired: it is active, and the codes shown up to now are spent \
                 (if the user never enrolled: onetimectl enable --new-secret)"
            }
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
            let window = context.config.code.window.get();
            match store.repair(&user.name, now()?, window)? {
                RepairOutcome::Sound => Ok(RepairRow::Sound),
                RepairOutcome::NoRecord => Ok(RepairRow::NotEnabled),
                RepairOutcome::StateRebuilt => {
                    report::log(&user.name, "repaired: a lost state was rebuilt as active");
                    Ok(RepairRow::Rebuilt)
                }
            }
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
        for (row, word) in [
            (RepairRow::Sound, "sound"),
            (RepairRow::Rebuilt, "rebuilt"),
            (RepairRow::NotEnabled, "not_enabled"),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
