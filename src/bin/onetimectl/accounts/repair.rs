//! `onetimectl repair`: rebuilds the state of accounts that lost it.

use std::process::ExitCode;

use pam_onetime::account::Timestamp;
use pam_onetime::login::{TimeAhead, time_ahead};
use pam_onetime::store::{Batch, RepairOutcome, Scope, StoreError};
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::{Context, Run};
use crate::people::{Everybody, User, select};
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
    let batch = store.into_batch()?;
    let size = if run == Run::Dry { 1 } else { batch.size() };
    let job = Job { context, batch, scope, ahead, run };
    let repair = |users: &[User]| {
        report::at_present(users, |now| {
            let rows = users.iter().zip(job.outcomes(users, now));
            rows.map(|(user, outcome)| {
                let outcome = outcome?;
                if outcome == RepairOutcome::NoRecord {
                    return people.without_record(user, RepairRow::NotEnabled);
                }
                job.row(user, outcome, now)
            })
            .collect()
        })
    };
    report::each_together(context.form, &people, size, repair, |row| row.text())
}

/// What is the same for all users of a run.
struct Job<'a> {
    context: &'a Context,
    batch: Batch,
    scope: Scope,
    /// Steps that are spent after the present one.
    ahead: u64,
    run: Run,
}

impl Job<'_> {
    fn outcomes(&self, users: &[User], now: Timestamp) -> Vec<Result<RepairOutcome, StoreError>> {
        let Self { batch, scope, ahead, run, .. } = self;
        let names = users.iter().map(|user| user.name.clone());
        match run {
            Run::Real => batch.repair(&names.collect::<Vec<_>>(), now, *ahead, *scope),
            Run::Dry => {
                names.map(|name| batch.store().foresee_repair(&name, now, *ahead, *scope)).collect()
            }
        }
    }

    /// What is told of who has a record, and logged if it was changed.
    fn row(
        &self,
        user: &User,
        outcome: RepairOutcome,
        now: Timestamp,
    ) -> anyhow::Result<RepairRow> {
        let (logged, row, foreseen) = match outcome {
            RepairOutcome::NoRecord => return Ok(RepairRow::NotEnabled),
            RepairOutcome::Sound => return self.sound(user, now),
            RepairOutcome::StateRebuilt { until } => {
                let wait = until.since(now);
                (REBUILT, RepairRow::Rebuilt { wait }, RepairRow::WouldBeRebuilt { wait })
            }
            RepairOutcome::Spent { until } => {
                let wait = until.since(now);
                (RESTORED, RepairRow::Spent { wait }, RepairRow::WouldBeSpent { wait })
            }
            RepairOutcome::SpentButCounters { until } => {
                let wait = until.since(now);
                (RESTORED, RepairRow::SpentButCounters { wait }, RepairRow::WouldBeSpent { wait })
            }
        };
        if self.run == Run::Dry {
            return Ok(foreseen);
        }
        report::log(&user.name, logged);
        Ok(row)
    }

    fn sound(&self, user: &User, now: Timestamp) -> anyhow::Result<RepairRow> {
        let account = self.batch.store().inspect(&user.name)?;
        let ahead = account.and_then(|it| time_ahead(&it, now, &self.context.config));
        Ok(match ahead {
            Some(TimeAhead::Codes { .. }) => RepairRow::CodesAhead,
            Some(TimeAhead::Deadline | TimeAhead::Lock | TimeAhead::Other) | None => {
                RepairRow::Sound
            }
        })
    }
}

/// What is logged of an account whose state was lost.
const REBUILT: &str = "repaired: a lost state was rebuilt as active";
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
