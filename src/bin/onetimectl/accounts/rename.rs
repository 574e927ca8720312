//! `onetimectl rename`: the user has another name now, and keeps the account.

use std::process::ExitCode;

use pam_onetime::account::{Uid, UserName};
use pam_onetime::store::{RenameOutcome, Store};
use serde::Serialize;

use crate::context::Context;
use crate::error::ToolError;
use crate::people::User;
use crate::say::report;

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum RenameRow {
    Renamed {
        /// The name that the account had.
        old: String,
    },
}

impl RenameRow {
    fn text(&self) -> String {
        let Self::Renamed { old } = self;
        format!("renamed; it was {old}, and the user's app may still show that name")
    }
}

/// Whether the user database has to confirm that both names are one person's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    ByUid,
    Forced,
}

pub(crate) fn run(
    context: &Context,
    old: &str,
    new: &str,
    force: bool,
) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    // As it was recorded: the user database may not have it, or lead to the new one.
    let old = UserName::new(old)?;
    let check = if force { Check::Forced } else { Check::ByUid };
    report::one(context.form, new, |user| rename(&store, &old, user, check), RenameRow::text)
}

fn rename(store: &Store, old: &UserName, new: &User, check: Check) -> anyhow::Result<RenameRow> {
    if *old == new.name {
        return Err(ToolError::new(
            "is the name that the account has",
            "if the uid has changed: onetimectl rebind",
        )
        .into());
    }
    let recorded = store.recorded_uid(old)?;
    let uid = match (new.uid(), check) {
        (Some(uid), Check::ByUid) if !recorded.admits(uid) => {
            return Err(ToolError::new(
                "has another uid than the record of the old name",
                "if both are the same person: --force",
            )
            .into());
        }
        (Some(uid), Check::ByUid | Check::Forced) => Uid::Is(uid),
        (None, Check::Forced) => recorded,
        (None, Check::ByUid) => {
            let remedy = "check the name; to rename all the same: --force";
            return Err(ToolError::unknown(remedy).into());
        }
    };
    let (RenameOutcome::Renamed | RenameOutcome::Finished) = store.rename(old, &new.name, uid)?;
    report::log(&new.name, &format!("renamed: the account was that of {old}"));
    Ok(RenameRow::Renamed { old: old.to_string() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        let row = RenameRow::Renamed { old: "alice".to_owned() };
        let row = serde_json::to_value(row).unwrap();
        assert_eq!(row, json!({ "result": "renamed", "old": "alice" }));
    }
}
