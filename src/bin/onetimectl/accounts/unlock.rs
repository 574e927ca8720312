//! `onetimectl unlock`: ends a lock, and forgets the failures that led to it.

use std::process::ExitCode;

use pam_onetime::account::{Account, Failures};
use pam_onetime::login::in_force;
use pam_onetime::store::StoreError;
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::{Context, Run};
use crate::people::{Everybody, select};
use crate::say::report;

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum UnlockRow {
    Unlocked(Forgotten),
    /// By a dry run.
    WouldBeUnlocked(Forgotten),
    NotEnabled,
}

/// What goes by it.
#[derive(Clone, Copy, Default, Serialize)]
struct Forgotten {
    /// Whether a lock was in force.
    was_locked: bool,
    /// Wrong codes that still counted, since the last lock.
    failures: u32,
    /// Locks in a row, each of which makes the next one longer.
    lockouts: u32,
    /// Accounts of services (`may_ask`) that have failed with the user.
    services: usize,
}

impl Forgotten {
    fn text(self) -> String {
        let was = if self.was_locked { "the lock is ended" } else { "it was not locked" };
        let failures = match self.failures {
            0 => "no failures were counted".to_owned(),
            1 => "1 failure is forgotten".to_owned(),
            more => format!("{more} failures are forgotten"),
        };
        let lockouts = match self.lockouts {
            0 => String::new(),
            1 => "; 1 lock is forgotten, so the next one is short again".to_owned(),
            more => format!("; {more} locks are forgotten, so the next one is short again"),
        };
        let services = match self.services {
            0 => String::new(),
            1 => "; what one service's account has failed is forgotten".to_owned(),
            more => format!("; what {more} services' accounts have failed is forgotten"),
        };
        format!("{was}, and {failures}{lockouts}{services}")
    }
}

impl UnlockRow {
    fn text(self) -> String {
        match self {
            Self::Unlocked(forgotten) => format!("unlocked; {}", forgotten.text()),
            Self::WouldBeUnlocked(forgotten) => {
                format!("would be unlocked; {}", forgotten.text())
            }
            Self::NotEnabled => "not enabled".to_owned(),
        }
    }
}

pub(crate) fn run(
    context: &Context,
    whom: &SelectionOptions,
    run: Run,
) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let people = select(whom, Everybody::Enabled(&store))?;
    report::each(
        context.form,
        &people,
        |user| {
            let now = now()?;
            let limits = &context.config.limits;
            let forgotten = |failures: Failures| {
                let failures = in_force(failures, now, limits);
                Forgotten {
                    was_locked: failures.locked_until > now,
                    failures: failures.recent(now, limits.period),
                    lockouts: failures.lockouts,
                    services: 0,
                }
            };
            // What cannot be understood is forgotten as well.
            let services =
                |account: &Account| store.service_failures(account).map_or(1, Iterator::count);
            let mut found = Forgotten::default();
            let done = match run {
                Run::Real => store
                    .amend(&user.name, |account| {
                        let services = services(account);
                        found = Forgotten { services, ..forgotten(account.state.failures) };
                        Ok::<_, StoreError>(account.state.with_failures(Failures::default()))
                    })
                    .and_then(|()| store.forget_at_services(&user.name)),
                Run::Dry => match store.inspect(&user.name)? {
                    Some(account) => {
                        let services = services(&account);
                        found = Forgotten { services, ..forgotten(account.state.failures) };
                        Ok(())
                    }
                    None => Err(StoreError::NotEnabled(user.name.clone())),
                },
            };
            match (done, run) {
                // Not every member of a group need be enabled.
                (Err(StoreError::NotEnabled(_)), _) if !whom.groups.is_empty() => {
                    people.without_record(user, UnlockRow::NotEnabled)
                }
                (done, Run::Real) => {
                    done?;
                    report::log(&user.name, "unlocked");
                    Ok(UnlockRow::Unlocked(found))
                }
                (done, Run::Dry) => {
                    done?;
                    Ok(UnlockRow::WouldBeUnlocked(found))
                }
            }
        },
        |row| row.text(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        let forgotten = Forgotten { was_locked: true, failures: 3, lockouts: 1, services: 2 };
        for (row, expected) in [
            (
                UnlockRow::Unlocked(forgotten),
                json!({ "result": "unlocked", "was_locked": true, "failures": 3, "lockouts": 1, "services": 2 }),
            ),
            (
                UnlockRow::WouldBeUnlocked(forgotten),
                json!({ "result": "would_be_unlocked", "was_locked": true, "failures": 3, "lockouts": 1, "services": 2 }),
            ),
            (UnlockRow::NotEnabled, json!({ "result": "not_enabled" })),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), expected);
        }
    }
}
