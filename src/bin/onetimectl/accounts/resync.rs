//! `onetimectl resync`: resynchronizes a token whose clock or counter has run
//! off (RFC 4226 section 7.4), by two codes in a row.

use std::process::ExitCode;

use anyhow::Context as _;
use pam_onetime::account::TokenId;
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::code::Code;
use pam_onetime::login::resync;
use pam_onetime::system::now;
use serde::Serialize;

use crate::accounts::verify;
use crate::context::Context;
use crate::error::ToolError;
use crate::people::User;
use crate::say::report;

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum ResyncRow {
    Resynchronized {
        /// Steps that the clock of a totp token is ahead, by the token's number;
        /// only those that are off.
        drift: Vec<(u8, i32)>,
    },
}

impl ResyncRow {
    fn text(&self) -> String {
        let Self::Resynchronized { drift } = self;
        match drift.as_slice() {
            [] => "found; both codes are spent".to_owned(),
            drift => {
                let one = |(id, drift): &(u8, i32)| match *drift {
                    1.. => format!("the clock of token {id} is {drift} codes ahead"),
                    _ => {
                        format!("the clock of token {id} is {} codes behind", drift.unsigned_abs())
                    }
                };
                let drift: Vec<_> = drift.iter().map(one).collect();
                format!("found; both codes are spent; {}", drift.join(", "))
            }
        }
    }
}

pub(crate) fn run(context: &Context, user: &str, codes: &[String]) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    // Codes are not asked for if nothing can be done with them.
    let found = User::find(user)?;
    let shown = || Readable(user).to_string();
    if store.inspect(&found.name).with_context(shown)?.is_none() {
        let unknown =
            if found.person.is_none() { ToolError::UNKNOWN } else { ToolError::NOT_ENABLED };
        return Err(unknown).with_context(shown);
    }
    let typed = match codes {
        [] => [verify::ask("First code: ")?, verify::ask("Next code: ")?],
        [one, two] => [one, two].map(|code| code.clone().into()),
        _ => anyhow::bail!("two codes in a row are needed"),
    };
    let [one, two] = typed.map(|code| Code::parse(code.trim().as_bytes()));
    report::one(
        context.form,
        user,
        |user| {
            let both = one.as_ref().zip(two.as_ref()).context("a code has 6 to 8 digits")?;
            let mut drift = Vec::new();
            let now = now()?;
            store.amend(&user.name, |account| {
                let state = resync(account, [both.0, both.1], now, &context.config.code)?;
                drift = TokenId::all().map(|id| (id.get(), state.token(id).drift)).collect();
                drift.retain(|(_, drift)| *drift != 0);
                Ok::<_, anyhow::Error>(state)
            })?;
            report::log(&user.name, "resynchronized");
            Ok(ResyncRow::Resynchronized { drift })
        },
        ResyncRow::text,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        let row = ResyncRow::Resynchronized { drift: vec![(1, -3)] };
        let expected = json!({ "result": "resynchronized", "drift": [[1, -3]] });
        assert_eq!(serde_json::to_value(row).unwrap(), expected);
    }
}
