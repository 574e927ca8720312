//! `onetimectl repair`: rebuilds the state of accounts that lost it.

use std::process::ExitCode;

use pam_onetime::login::{TimeAhead, time_ahead};
use pam_onetime::store::{RepairOutcome, Scope};
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::{Context, Run};
use crate::people::{Everybody, select};
use crate::say::report;

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum RepairRow {
    Sound,
    /// Sound, but the clock was wrong when a code was used, or is now.
    CodesAhead,
    Rebuilt {
        /// Seconds until the first code that works is shown.
        wait: u64,
    },
    Spent {
        /// As above.
        wait: u64,
    },
    /// The same, but what was used of a hotp token is not known.
    SpentButCounters {
        /// As above.
        wait: u64,
    },
    /// By a dry run.
    WouldBeRebuilt {
        /// As above.
        wait: u64,
    },
    /// By a dry run.
    WouldBeSpent {
        /// As above.
        wait: u64,
    },
    NotEnabled,
}

impl RepairRow {
    fn text(self) -> String {
        let spent = |wait| {
            format!(
                "codes shown so far and in the next {wait} s no longer work, nor do recovery \
                 codes (new ones: onetimectl recovery; if the user never enrolled: \
                 onetimectl enable --new-secret)"
            )
        };
        match self {
            Self::Sound => "nothing to repair".to_owned(),
            Self::CodesAhead => "nothing to repair, but a code of a later time has been used, and \
                 right codes are refused until then: set the clock; if it was wrong when the code \
                 was used: onetimectl enable --new-secret"
                .to_owned(),
            Self::Rebuilt { wait } => format!("repaired: it is active; {}", spent(wait)),
            Self::Spent { wait } => format!("it is active; {}", spent(wait)),
            Self::SpentButCounters { wait } => format!(
                "it is active; {}; codes of a hotp token that were used since the backup work \
                 again until: onetimectl resync",
                spent(wait)
            ),
            Self::WouldBeRebuilt { wait } => format!(
                "would be rebuilt as active; codes of the next {wait} s and recovery codes would \
                 no longer work"
            ),
            Self::WouldBeSpent { wait } => format!(
                "codes shown so far and in the next {wait} s, and recovery codes, would no longer \
                 work"
            ),
            Self::NotEnabled => "not enabled".to_owned(),
        }
    }
}

pub(crate) fn run(
    context: &Context,
    whom: &SelectionOptions,
    restored: bool,
    run: Run,
) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let scope = if restored { Scope::Restored } else { Scope::Lost };
    // Drift is lost with the state: a token may have been as fast as is followed.
    let code = &context.config.code;
    let ahead = code.window.get().saturating_add(code.max_drift.get());
    let people = select(whom, Everybody::Enabled(&store))?;
    report::each(
        context.form,
        &people,
        |user| {
            let now = now()?;
            let outcome = match run {
                Run::Real => store.repair(&user.name, now, ahead, scope),
                Run::Dry => store.foresee_repair(&user.name, now, ahead, scope),
            };
            match outcome? {
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
                RepairOutcome::NoRecord => people.without_record(user, RepairRow::NotEnabled),
                RepairOutcome::StateRebuilt { until } if run == Run::Dry => {
                    Ok(RepairRow::WouldBeRebuilt { wait: until.since(now) })
                }
                RepairOutcome::Spent { until } | RepairOutcome::SpentButCounters { until }
                    if run == Run::Dry =>
                {
                    Ok(RepairRow::WouldBeSpent { wait: until.since(now) })
                }
                RepairOutcome::StateRebuilt { until } => {
                    report::log(&user.name, "repaired: a lost state was rebuilt as active");
                    Ok(RepairRow::Rebuilt { wait: until.since(now) })
                }
                RepairOutcome::Spent { until } => {
                    report::log(&user.name, RESTORED);
                    Ok(RepairRow::Spent { wait: until.since(now) })
                }
                RepairOutcome::SpentButCounters { until } => {
                    report::log(&user.name, RESTORED);
                    Ok(RepairRow::SpentButCounters { wait: until.since(now) })
                }
            }
        },
        |row| row.text(),
    )
}

/// What is logged of a sound account.
const RESTORED: &str = "repaired: restored from a backup, all codes up to now are spent";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        for (row, expected) in [
            (RepairRow::Sound, json!({ "result": "sound" })),
            (RepairRow::CodesAhead, json!({ "result": "codes_ahead" })),
            (RepairRow::Rebuilt { wait: 330 }, json!({ "result": "rebuilt", "wait": 330 })),
            (RepairRow::Spent { wait: 330 }, json!({ "result": "spent", "wait": 330 })),
            (
                RepairRow::SpentButCounters { wait: 0 },
                json!({ "result": "spent_but_counters", "wait": 0 }),
            ),
            (
                RepairRow::WouldBeRebuilt { wait: 9 },
                json!({ "result": "would_be_rebuilt", "wait": 9 }),
            ),
            (RepairRow::WouldBeSpent { wait: 9 }, json!({ "result": "would_be_spent", "wait": 9 })),
            (RepairRow::NotEnabled, json!({ "result": "not_enabled" })),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), expected);
        }
    }
}
