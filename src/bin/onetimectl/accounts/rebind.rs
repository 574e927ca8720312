//! `onetimectl rebind`: the user has another uid now, and keeps the account.

use std::process::ExitCode;

use pam_onetime::account::Uid;
use serde::Serialize;

use crate::context::Context;
use crate::error::ToolError;
use crate::say::report;

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum RebindRow {
    Rebound { uid: u32 },
    Unchanged,
}

impl RebindRow {
    fn text(self) -> String {
        match self {
            Self::Rebound { uid } => format!("the record is for uid {uid} now"),
            Self::Unchanged => "nothing to change: the record is for that uid".to_owned(),
        }
    }
}

pub(crate) fn run(context: &Context, name: &str) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::one(
        context.form,
        name,
        |user| {
            let uid = user.uid().ok_or(ToolError::unknown(
                "check the name; if the user is gone: onetimectl disable",
            ))?;
            if store.recorded_uid(&user.name)? == Uid::Is(uid) {
                return Ok(RebindRow::Unchanged);
            }
            store.rebind(&user.name, uid)?;
            report::log(&user.name, &format!("rebound: the record is for uid {uid} now"));
            Ok(RebindRow::Rebound { uid })
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
        for (row, json) in [
            (RebindRow::Rebound { uid: 7 }, json!({ "result": "rebound", "uid": 7 })),
            (RebindRow::Unchanged, json!({ "result": "unchanged" })),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), json);
        }
    }
}
