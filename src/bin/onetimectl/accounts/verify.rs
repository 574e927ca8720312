//! `onetimectl verify`: checks a code as a login would. A right one is spent,
//! and activates a pending account.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use pam_onetime::audit;
use pam_onetime::login::{Answer, Attempt, Circumstances, Grant, PasswordCheck, Verdict, judge};
use pam_onetime::system::now;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::ToolError;
use crate::people::User;
use crate::say::report;

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum VerifyRow {
    Right,
    Activated,
}

impl VerifyRow {
    const fn text(self) -> &'static str {
        match self {
            Self::Right => "right code",
            Self::Activated => "right code; activated, a code is needed from now on",
        }
    }
}

pub(crate) fn run(context: &Context, name: &str, code: Option<&str>) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    // Nobody is asked for a code that cannot be checked.
    let user = User::find(name)?;
    let uid = user.uid().with_context(|| format!("{name}: this system knows no such user"))?;
    if store.load(&user.name, uid)?.is_none() {
        return Err(ToolError::NOT_ENABLED).with_context(|| name.to_owned());
    }
    let typed = match code {
        Some(code) => Zeroizing::new(code.to_owned()),
        None => ask("One-time code: ")?,
    };
    report::one(
        context.form,
        name,
        |user| {
            let answer = match Answer::read(typed.trim().as_bytes()) {
                code @ Answer::Code(_) => code,
                Answer::Empty | Answer::Recovery(_) | Answer::NotACode | Answer::RefusedBySshd => {
                    bail!("a code has 6 to 8 digits")
                }
            };
            let circumstances = Circumstances {
                password: &PasswordCheck::Without,
                rhost: None,
                service: "onetimectl",
                groups: &[],
                now: now()?,
            };
            let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
            let verdict = store.update(&user.name, uid, None, |account| {
                judge(account, &attempt, &context.config)
            })?;
            match verdict {
                Verdict::Admitted(Grant::Activated) => {
                    report::log(&user.name, "activated by onetimectl verify");
                    Ok(VerifyRow::Activated)
                }
                Verdict::Admitted(
                    Grant::Code
                    | Grant::RecoveryCode { .. }
                    | Grant::PasswordAlone
                    | Grant::Skipped
                    | Grant::Exempt(_),
                ) => Ok(VerifyRow::Right),
                Verdict::NotNeeded(_) | Verdict::Again(_) | Verdict::Refused(_) => {
                    bail!(audit::explain(verdict).1)
                }
            }
        },
        |row| row.text().to_owned(),
    )
}

/// A code, from the terminal without echo or from standard input.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(prompt)?));
    }
    let mut line = Zeroizing::new(String::with_capacity(64));
    std::io::stdin().read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        for (row, word) in [(VerifyRow::Right, "right"), (VerifyRow::Activated, "activated")] {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
