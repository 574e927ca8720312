//! `onetimectl disable`: destroys secrets.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use pam_onetime::store::Removed;
use serde::Serialize;

use crate::context::{Context, User};
use crate::report;

#[derive(Serialize)]
struct Told {
    result: &'static str,
}

pub(crate) fn run(context: &Context, users: &[String], yes: bool) -> anyhow::Result<ExitCode> {
    if !yes && std::io::stdin().is_terminal() && !confirmed(users)? {
        report::say("Nothing changed.");
        return Ok(ExitCode::FAILURE);
    }
    let store = context.store()?;
    report::each(
        context.form,
        users,
        |user| {
            // Also for a user whom the system does not know any more.
            let person = User::find(user)?;
            let result = match store.remove(&person.name)? {
                Removed::Record => {
                    report::log(&person.name, "disabled: the secret was destroyed");
                    "disabled"
                }
                Removed::Nothing => "not_enabled",
            };
            Ok(Told { result })
        },
        |told| match told.result {
            "disabled" => "disabled; the secret is destroyed".to_owned(),
            _ => "was not enabled".to_owned(),
        },
    )
}

fn confirmed(users: &[String]) -> anyhow::Result<bool> {
    let mut stderr = std::io::stderr();
    write!(
        stderr,
        "Disable one-time codes for {}? The secret is destroyed. [y/N] ",
        users.join(", ")
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
