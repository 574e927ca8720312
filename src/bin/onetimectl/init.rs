//! `onetimectl init`: makes the store.

use std::process::ExitCode;

use pam_onetime::store::Store;

use crate::context::Context;
use crate::report;

pub(crate) fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let store = Store::init(context.dir(), Store::ROOT)?;
    report::say(&format!("The store is in {}.", store.path().display()));
    Ok(ExitCode::SUCCESS)
}
