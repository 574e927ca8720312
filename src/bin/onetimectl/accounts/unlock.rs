//! `onetimectl unlock`: ends a lock, and forgets the failures that led to it.

use std::process::ExitCode;

use pam_onetime::account::Failures;
use pam_onetime::store::StoreError;
use serde::Serialize;

use crate::cli::Whom;
use crate::context::Context;
use crate::say::report;
use crate::select::{All, select};

#[derive(Serialize)]
struct Told {
    result: &'static str,
}

pub(crate) fn run(context: &Context, whom: &Whom) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let selected = select(whom, All::Enabled(&store))?;
    report::each(
        context.form,
        &selected.names,
        |user| {
            let person = selected.find(user)?;
            let amended = store.amend(&person.name, |account| {
                Ok::<_, StoreError>(account.state.with_failures(Failures::default()))
            });
            match amended {
                // Not every member of a group need be enabled.
                Err(StoreError::NotEnabled(_)) if !whom.groups.is_empty() => {
                    return Ok(Told { result: "not_enabled" });
                }
                amended => amended?,
            }
            report::log(&person.name, "unlocked");
            Ok(Told { result: "unlocked" })
        },
        |told| match told.result {
            "unlocked" => "unlocked; failures are forgotten".to_owned(),
            _ => "not enabled".to_owned(),
        },
    )
}
