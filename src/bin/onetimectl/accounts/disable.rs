//! `onetimectl disable`: destroys secrets.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use pam_onetime::store::Removed;
use serde::Serialize;

use crate::cli::Whom;
use crate::context::Context;
use crate::say::{self, report};
use crate::select::{All, Origin, Selected, select};

#[derive(Serialize)]
struct Told {
    result: &'static str,
}

pub(crate) fn run(context: &Context, whom: &Whom, yes: bool) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let selected = select(whom, All::Enabled(&store))?;
    if !yes && std::io::stdin().is_terminal() && !confirmed(&selected)? {
        say::line("Nothing changed.");
        return Ok(ExitCode::FAILURE);
    }
    report::each(
        context.form,
        &selected.names,
        |user| {
            // Also for a user whom the system does not know any more.
            let person = selected.find(user)?;
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

fn confirmed(selected: &Selected) -> anyhow::Result<bool> {
    let whom = match (selected.origin, selected.names.as_slice()) {
        (Origin::Named, names) => names.join(", "),
        (Origin::Elsewhere, [only]) => format!("1 user ({only})"),
        (Origin::Elsewhere, names) => format!("{} users", names.len()),
    };
    let mut stderr = std::io::stderr();
    write!(stderr, "Disable one-time codes for {whom}? The secret is destroyed. [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
