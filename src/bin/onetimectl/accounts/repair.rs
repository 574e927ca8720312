//! `onetimectl repair`: rebuilds the state of accounts that lost it.

use std::process::ExitCode;

use pam_onetime::login::{TimeAhead, time_ahead};
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
    /// Sound, but the clock was wrong when a code was used, or is now.
    CodesAhead,
    Rebuilt,
    NotEnabled,
}

impl RepairRow {
    const fn text(self) -> &'static str {
        match self {
            Self::Sound => "nothing to repair",
            Self::CodesAhead => {
                "nothing to repair, but a code of a later time has been used, and right codes \
                 are refused until then: set the clock; if it was wrong when the code was used: \
                 onetimectl enable --new-secret"
            }
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
            let now = now()?;
            match store.repair(&user.name, now, window)? {
                RepairOutcome::Sound => {
                    let account = store.inspect(&user.name)?;
                    let ahead = account.and_then(|it| time_ahead(&it, now, &context.config));
                    Ok(match ahead {
                        Some(TimeAhead::Codes { .. }) => RepairRow::CodesAhead,
                        Some(TimeAhead::Deadline | TimeAhead::Lock | TimeAhead::Other) | None => {
                            RepairRow::Sound
                        }
                    })
                }
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
            (RepairRow::CodesAhead, "codes_ahead"),
            (RepairRow::Rebuilt, "rebuilt"),
            (RepairRow::NotEnabled, "not_enabled"),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
