//! `onetimectl recovery`: codes for the day the phone is lost.

use std::process::ExitCode;

use anyhow::bail;
use pam_onetime::account::{Record, Recovery};
use pam_onetime::code::RecoveryCode;
use pam_onetime::messages;
use pam_onetime::system::now;
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::say::report;

/// How many are issued at once.
const COUNT: usize = 8;

/// A code as JSON.
#[derive(Serialize)]
pub(crate) struct PlainCode(#[serde(serialize_with = "report::plain")] Zeroizing<String>);

#[derive(Serialize)]
struct RecoveryRow {
    recovery_codes: Vec<PlainCode>,
    #[serde(skip)]
    text: Zeroizing<String>,
}

pub(crate) fn run(context: &Context, user: &str) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::one(
        context.form,
        user,
        |user| {
            let mut codes = Vec::new();
            store.amend_record(&user.name, now()?, |account| {
                let mut account = account.clone();
                codes = issue(&mut account.record)?;
                Ok::<_, anyhow::Error>(account)
            })?;
            if codes.is_empty() {
                bail!("no codes were made");
            }
            report::log(&user.name, "new recovery codes were issued");
            let text = messages::recovery_codes(&codes, context.config.login.language);
            Ok(RecoveryRow { recovery_codes: plain(&codes), text })
        },
        |row| row.text.to_string(),
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
