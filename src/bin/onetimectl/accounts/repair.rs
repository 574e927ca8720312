//! `onetimectl repair`: mends accounts whose state was lost.

use std::process::ExitCode;

use pam_onetime::store::Repaired;
use pam_onetime::system::now;
use serde::Serialize;

use crate::cli::Whom;
use crate::context::Context;
use crate::say::report;
use crate::select::{All, select};

#[derive(Serialize)]
struct Told {
    result: &'static str,
}

pub(crate) fn run(context: &Context, whom: &Whom) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let selected = select(whom, All::Enabled(&store))?;
    report::each(
        context.form,
        &selected.names,
        |user| {
            let person = selected.find(user)?;
            let window = context.config.code.window.get();
            let result = match store.repair(&person.name, now()?, window)? {
                Repaired::Sound => "sound",
                Repaired::NoRecord => "not_enabled",
                Repaired::StateRebuilt => {
                    report::log(&person.name, "repaired: a lost state was rebuilt as active");
                    "rebuilt"
                }
            };
            Ok(Told { result })
        },
        |told| {
            match told.result {
                "rebuilt" => {
                    "repaired: it is active, and the codes shown up to now are spent \
                     (if the user never enrolled: onetimectl enable --new-secret)"
                }
                "sound" => "nothing to repair",
                _ => "not enabled",
            }
            .to_owned()
        },
    )
}
