//! `onetimectl resync`: finds a token again whose clock or counter has run off.

use std::process::ExitCode;

use anyhow::Context as _;
use pam_onetime::account::TokenId;
use pam_onetime::code::Code;
use pam_onetime::login::resync;
use pam_onetime::system::now;
use serde::Serialize;

use crate::accounts::verify;
use crate::context::{Context, User};
use crate::say::report;

#[derive(Serialize)]
struct Told {
    result: &'static str,
    /// Steps that each totp token's clock is ahead, by id.
    drift: Vec<(u8, i32)>,
}

pub(crate) fn run(context: &Context, user: &str, codes: &[String]) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let known = User::find(user)?;
    let typed = match codes {
        [] => [verify::ask("First code: ")?, verify::ask("Next code: ")?],
        [one, two] => [one, two].map(|code| code.clone().into()),
        _ => anyhow::bail!("two codes in a row are needed"),
    };
    let [one, two] = typed.map(|code| Code::parse(code.trim().as_bytes()));
    report::one(
        context.form,
        user,
        |_| {
            let both = one.as_ref().zip(two.as_ref()).context("a code has 6 to 8 digits")?;
            let mut drift = Vec::new();
            let now = now()?;
            store.amend(&known.name, |account| {
                let state = resync(account, [both.0, both.1], now, &context.config.code)?;
                drift = TokenId::all().map(|id| (id.get(), state.token(id).drift)).collect();
                drift.retain(|(_, drift)| *drift != 0);
                Ok::<_, anyhow::Error>(state)
            })?;
            report::log(&known.name, "resynchronized");
            Ok(Told { result: "resynchronized", drift })
        },
        |told| match told.drift.as_slice() {
            [] => "found; both codes are spent".to_owned(),
            drift => format!("found; both codes are spent (drift, by token: {drift:?})"),
        },
    )
}
