//! `onetimectl verify`: checks a code as a login would. A right one is spent,
//! and activates a pending account.

use std::io::{BufRead, IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use pam_onetime::audit;
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::callers::Asker;
use pam_onetime::login::{
    Answer, Attempt, Circumstances, Grant, PasswordCheck, Verdict, View, judge,
};
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
    RightRecoveryCode {
        /// How many are left.
        recovery_codes_left: usize,
    },
    Activated,
}

impl VerifyRow {
    fn text(self) -> String {
        match self {
            Self::Right => "right code".to_owned(),
            Self::RightRecoveryCode { recovery_codes_left: left } => {
                format!("right recovery code; it is spent, and {left} are left")
            }
            Self::Activated => "right code; activated, a code is needed from now on".to_owned(),
        }
    }
}

pub(crate) fn run(context: &Context, name: &str, code: Option<&str>) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    // Nobody is asked for a code that cannot be checked.
    let user = User::find(name)?;
    let shown = || Readable(name).to_string();
    let uid = user.uid().ok_or(ToolError::UNKNOWN).with_context(shown)?;
    if store.load(&user.name, uid).with_context(shown)?.is_none() {
        return Err(ToolError::NOT_ENABLED).with_context(shown);
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
                code @ (Answer::Code(_) | Answer::Recovery(_)) => code,
                Answer::Empty
                | Answer::NotACode
                | Answer::PasswordAgain
                | Answer::RefusedBySshd => {
                    bail!("a code has 6 to 8 digits, and a recovery code 12 letters and digits")
                }
            };
            let circumstances = Circumstances {
                password: &PasswordCheck::Without,
                rhost: None,
                service: "onetimectl",
                asker: Asker::Root,
                view: View::Prompts,
                groups: &[],
                now: now()?,
            };
            let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
            let verdict = store.update(&user.name, uid, None, |account| {
                judge(account, &attempt, &context.config).without_login(account)
            })?;
            match verdict {
                Verdict::Admitted(Grant::Activated) => {
                    report::log(&user.name, "activated by onetimectl verify");
                    Ok(VerifyRow::Activated)
                }
                Verdict::Admitted(Grant::RecoveryCode { left }) => {
                    Ok(VerifyRow::RightRecoveryCode { recovery_codes_left: left })
                }
                Verdict::Admitted(
                    Grant::Code | Grant::PasswordAlone | Grant::Skipped | Grant::Exempt(_),
                ) => Ok(VerifyRow::Right),
                Verdict::NotNeeded(_) | Verdict::Again(_) | Verdict::Refused(_) => {
                    let (_, what, remedy) = audit::explain_apart(verdict);
                    match remedy {
                        Some(remedy) => Err(ToolError::of(what, remedy).into()),
                        None => bail!(what),
                    }
                }
            }
        },
        |row| row.text(),
    )
}

/// A code, from the terminal without echo or from standard input.
pub(crate) fn ask(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if std::io::stdin().is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(prompt)?));
    }
    read_line("a code")
}

/// Bytes; no code and no secret has as many.
const LONGEST_LINE: usize = 1024;

/// A line of standard input with something secret, of which nothing is left behind.
pub(crate) fn read_line(what: &str) -> anyhow::Result<Zeroizing<String>> {
    // Reserved at once: a string that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(LONGEST_LINE));
    let bound = u64::try_from(LONGEST_LINE)?;
    let read = std::io::stdin().lock().take(bound).read_line(&mut line);
    let read = read.with_context(|| format!("cannot read {what} from standard input"))?;
    ensure!(read < LONGEST_LINE, "{what} on standard input has more than {LONGEST_LINE} bytes");
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
        let row = VerifyRow::RightRecoveryCode { recovery_codes_left: 7 };
        let expected = json!({ "result": "right_recovery_code", "recovery_codes_left": 7 });
        assert_eq!(serde_json::to_value(row).unwrap(), expected);
    }
}
