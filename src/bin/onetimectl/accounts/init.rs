//! `onetimectl init`: makes the store.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
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
    let unmounted = may_be_a_mount_point(context.dir());
    let store = context.init()?;
    store.forget_expired(now()?)?;
    let dir = store.path().display().to_string();
    match context.form {
        Form::Text => say::line(&format!("The store is in {}.", Readable(&dir)))?,
        Form::Json => say::json(&serde_json::json!({ "version": report::VERSION, "store": dir }))?,
    }
    if unmounted {
        say::warn_with(
            &format!(
                "{dir} was an empty directory on which no file system is mounted: if one belongs \
                 there, logins take this store for one in which nobody is enabled, and let in \
                 without a code, whenever it is not mounted"
            ),
            &format!(
                "if one belongs there: rm {dir}/store.toml, mount it, and run onetimectl init again"
            ),
        );
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

/// Whether a file system may have to be mounted here first: a directory that somebody has
/// made, in which nothing is, on the file system of the one above. Where that cannot be
/// found out, making the store fails, and says more.
fn may_be_a_mount_point(dir: &Path) -> bool {
    let device = |dir: &Path| fs::metadata(dir).map(|metadata| metadata.dev()).ok();
    let empty = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    empty && device(dir) == device(&dir.join(".."))
}
