//! `onetimectl unlock`: ends a lock, and forgets the failures that led to it.

use std::process::ExitCode;

use pam_onetime::account::Failures;
use pam_onetime::store::StoreError;
use serde::Serialize;

use crate::context::{Context, User};
use crate::report;

#[derive(Serialize)]
struct Told {
    result: &'static str,
}

pub(crate) fn run(context: &Context, users: &[String]) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::each(
        context.form,
        users,
        |user| {
            let person = User::find(user)?;
            store.amend(&person.name, |account| {
                Ok::<_, StoreError>(account.state.with_failures(Failures::default()))
            })?;
            report::log(&person.name, "unlocked");
            Ok(Told { result: "unlocked" })
        },
        |_| "unlocked; failures are forgotten".to_owned(),
    )
}
