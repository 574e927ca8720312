//! `onetimectl disable`: destroys secrets.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use pam_onetime::store::{Removal, RemoveOutcome, StoreError};
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::SelectionOptions;
use crate::context::Context;
use crate::people::{Everybody, Origin, People, select};
use crate::say::{self, report};

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum DisableRow {
    Disabled,
    NotEnabled,
}

impl DisableRow {
    const fn text(self) -> &'static str {
        match self {
            Self::Disabled => "disabled; the secret is destroyed",
            Self::NotEnabled => "was not enabled",
        }
    }
}

pub(crate) fn run(
    context: &Context,
    whom: &SelectionOptions,
    yes: bool,
) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let people = select(whom, Everybody::Enabled(&store))?;
    if !yes && std::io::stdin().is_terminal() && !confirmed(&people)? {
        say::line("Nothing changed.");
        return Ok(ExitCode::FAILURE);
    }
    report::each(
        context.form,
        &people,
        // Also for a user whom the system no longer knows.
        |user| {
            let removed = store.remove(&user.name, now()?);
            if let Ok(RemoveOutcome::Record)
            | Err(
                StoreError::StillIndexed(_)
                | StoreError::NotRemembered { removal: Removal::Complete, .. },
            ) = removed
            {
                report::log(&user.name, "disabled: the secret was destroyed");
            }
            match removed? {
                RemoveOutcome::Record => Ok(DisableRow::Disabled),
                RemoveOutcome::Nothing => Ok(DisableRow::NotEnabled),
            }
        },
        |row| row.text().to_owned(),
    )
}

fn confirmed(people: &People) -> anyhow::Result<bool> {
    let whom = match (people.origin, people.names()) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        for (row, word) in
            [(DisableRow::Disabled, "disabled"), (DisableRow::NotEnabled, "not_enabled")]
        {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
