//! `onetimectl init`: makes the store.

use std::process::ExitCode;

use pam_onetime::store::Store;

use crate::context::Context;
use crate::say::report::{self, Form};

pub(crate) fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let store = Store::init(context.dir(), Store::ROOT)?;
    let dir = store.path().display().to_string();
    match context.form {
        Form::Text => report::say(&format!("The store is in {dir}.")),
        Form::Json => report::say(&serde_json::json!({ "store": dir }).to_string()),
    }
    Ok(ExitCode::SUCCESS)
}
