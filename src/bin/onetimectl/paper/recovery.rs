//! `onetimectl recovery`: codes for the day the phone is lost.

use std::process::ExitCode;

use pam_onetime::account::{Record, Recovery};
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::code::RecoveryCode;
use pam_onetime::messages;
use pam_onetime::system::now;
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::ToolError;
use crate::say::{self, Answer, Input, report};

/// How many are issued at once.
const COUNT: usize = 8;

/// What is printed once they are in force.
const VALID: &str = "the recovery codes above are valid now; older ones no longer work";

/// A code as JSON.
#[derive(Serialize)]
pub(crate) struct PlainCode(#[serde(serialize_with = "report::plain")] Zeroizing<String>);

#[derive(Serialize)]
struct RecoveryRow {
    recovery_codes: Vec<PlainCode>,
    #[serde(skip)]
    recovery: Recovery,
    #[serde(skip)]
    text: Zeroizing<String>,
}

pub(crate) fn run(context: &Context, user: &str, yes: bool) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let question =
        format!("Issue new recovery codes for {}? The old ones no longer work.", Readable(user));
    if !yes && say::confirm(&question, Input::Answers)? == Answer::No {
        return Answer::nothing_changed();
    }
    report::shown_first(
        context.form,
        user,
        |user| {
            store.inspect(&user.name)?.ok_or(ToolError::NOT_ENABLED)?;
            let (recovery, codes) = Recovery::generate(&mut SysRng, COUNT)?;
            let text = messages::recovery_codes(&codes, context.config.login.language);
            Ok(RecoveryRow { recovery_codes: plain(&codes), recovery, text })
        },
        |row| row.text.clone(),
        |user, row| {
            store.amend_record(&user.name, now()?, |account| {
                let mut account = account.clone();
                account.record.recovery = Some(row.recovery.clone());
                Ok::<_, anyhow::Error>(account)
            })?;
            report::log(&user.name, "new recovery codes were issued");
            Ok(())
        },
        VALID,
    )
}

/// Puts a new set into the record; returns its codes.
pub(crate) fn issue(record: &mut Record) -> anyhow::Result<Vec<RecoveryCode>> {
    let (recovery, codes) = Recovery::generate(&mut SysRng, COUNT)?;
    record.recovery = Some(recovery);
    Ok(codes)
}

/// The codes as JSON.
pub(crate) fn plain(codes: &[RecoveryCode]) -> Vec<PlainCode> {
    codes.iter().map(|code| PlainCode(code.text())).collect()
}
