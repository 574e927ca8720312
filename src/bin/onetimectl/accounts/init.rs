//! `onetimectl init`: makes the store.

use std::process::ExitCode;

use pam_onetime::bytes_as_text::Readable;
use pam_onetime::config::is_common_issuer;
use pam_onetime::system::{host_name, now};

use crate::context::Context;
use crate::say::{self, Form, report};

/// `existing`: a store that is not there is not made. A package is upgraded also while the
/// file system that holds the store is not mounted, and a new store in its place would let
/// everybody in without a code.
pub(crate) fn run(context: &Context, existing: bool) -> anyhow::Result<ExitCode> {
    if existing {
        context.store()?;
    }
    let store = context.init()?;
    store.forget_expired(now()?)?;
    let dir = store.path().display().to_string();
    match context.form {
        Form::Text => say::line(&format!("The store is in {}.", Readable(&dir)))?,
        Form::Json => say::json(&serde_json::json!({ "version": report::VERSION, "store": dir }))?,
    }
    let issuer = context.config.issuer.clone().or_else(|| host_name().ok());
    if let Some(issuer) = issuer.filter(|issuer| is_common_issuer(issuer)) {
        say::warn(&format!(
            "apps will show `{issuer}` as the issuer, and other machines are called so too: set \
             issuer in onetime.toml before users enroll"
        ));
    }
    Ok(ExitCode::SUCCESS)
}
