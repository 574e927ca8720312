//! `onetimectl init`: makes the store.

use std::process::ExitCode;

use pam_onetime::system::now;

use crate::context::Context;
use crate::say::{self, Form};

pub(crate) fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.init()?;
    store.forget_expired(now()?)?;
    let dir = store.path().display().to_string();
    match context.form {
        Form::Text => say::line(&format!("The store is in {dir}.")),
        Form::Json => say::line(&serde_json::json!({ "store": dir }).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}
