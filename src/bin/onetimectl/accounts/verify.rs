//! `onetimectl verify`: judges a code as a login would. A right one is spent,
//! and activates a pending account.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use pam_onetime::audit;
use pam_onetime::login::{Answer, Attempt, Circumstances, Grant, PasswordCheck, Verdict, judge};
use pam_onetime::system::now;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::{Context, User};
use crate::say::report;

#[derive(Serialize)]
struct Told {
    result: &'static str,
}

pub(crate) fn run(context: &Context, user: &str, code: Option<&str>) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let person = User::find(user)?;
    let uid = person.known_uid().with_context(|| user.to_owned())?;
    if store.load(&person.name, uid)?.is_none() {
        bail!("{user}: not enabled (onetimectl enable issues a secret)");
    }
    let typed = match code {
        Some(code) => Zeroizing::new(code.to_owned()),
        None => ask("One-time code: ")?,
    };
    report::one(
        context.form,
        user,
        |_| {
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
            let verdict = store.update(&person.name, uid, None, |account| {
                judge(account, &attempt, &context.config)
            })?;
            match verdict {
                Verdict::Admitted(Grant::Activated) => {
                    report::log(&person.name, "activated by onetimectl verify");
                    Ok(Told { result: "activated" })
                }
                Verdict::Admitted(_) => Ok(Told { result: "right" }),
                Verdict::NotNeeded(_) | Verdict::Again(_) | Verdict::Refused(_) => {
                    bail!(audit::explain(verdict).1)
                }
            }
        },
        |told| match told.result {
            "activated" => "right code; activated, a code is needed from now on".to_owned(),
            _ => "right code".to_owned(),
        },
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
