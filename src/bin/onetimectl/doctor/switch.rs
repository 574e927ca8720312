//! `onetimectl profile`: enables and disables the profile of pam-auth-update(8), says whom
//! that is about, and looks at what has come of it: pam-auth-update itself reports success
//! where it changes nothing.

use std::io::IsTerminal;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use super::finding::{Finding, FindingId};
use super::looking::{self, service_text};
use super::profile::Covered;
use super::{exit_code, profile, service_names, table};
use crate::cli::{Cli, ProfileVerb};
use crate::error::ToolError;
use crate::say::{self, Answer, Form, Input};

const PAM_AUTH_UPDATE: &str = "/usr/sbin/pam-auth-update";

const NO_PROFILE: ToolError = ToolError::new(
    "no profile of pam-auth-update lists pam_onetime.so",
    "install the package, or on other systems list the module in /etc/pam.d (README.md, \"Set up\")",
);
const CANNOT_ASK: &str = "give each a file in /etc/pam.d without common-auth (see onetimectl profile show); \
                          to enable it all the same: onetimectl profile enable --yes";
const NOT_CHANGED: ToolError = ToolError::new(
    "pam-auth-update has not done it, whatever it says",
    "see the rows above: onetimectl doctor has them too",
);

pub(crate) fn run(cli: &Cli, verb: &ProfileVerb) -> anyhow::Result<ExitCode> {
    let form = if cli.json { Form::Json } else { Form::Text };
    let profiles = looking::profile_names();
    let name = profile::find(&profiles, &service_text).ok_or(NO_PROFILE)?.to_owned();
    let socket = looking::socket();
    let judge = || profile::judge(&service_names(), &profiles, &service_text, socket);
    let (option, wanted) = match verb {
        ProfileVerb::Show => {
            let found = judge();
            table::print(form, &found)?;
            return Ok(exit_code(&found));
        }
        ProfileVerb::Enable { yes } => {
            let services = service_names();
            let unable = Covered::find(&services, &service_text, socket).unable;
            // Who cannot be asked has not decided to have users refused.
            if !yes && !unable.is_empty() && !may_ask(form) {
                let what = format!("not enabled: {} cannot ask for a code", unable.join(", "));
                return Err(ToolError::of(what, CANNOT_ASK).into());
            }
            if form == Form::Text && !yes {
                table::print(form, &judge())?;
                let question = match unable.is_empty() {
                    true => "Ask for codes in all of these services?",
                    false => {
                        "Ask for codes in all of these services, and have users refused in those that cannot ask?"
                    }
                };
                match say::confirm(question, Input::Answers)? {
                    Answer::Yes => {}
                    Answer::No => return Answer::nothing_changed(),
                }
            }
            ("--enable", InForce::Yes)
        }
        ProfileVerb::Disable => ("--disable", InForce::No),
    };
    #[expect(clippy::disallowed_methods, reason = "the admin's tool, not a login")]
    let mut update = Command::new(PAM_AUTH_UPDATE);
    // Its messages are for the admin, and no part of what is printed here.
    update.args([option, &name]).stdout(std::io::stderr());
    let status = update.status().with_context(|| format!("cannot run {PAM_AUTH_UPDATE}"))?;
    let found = judge();
    table::print(form, &found)?;
    if !status.success() || InForce::of(&found) != wanted {
        return Err(NOT_CHANGED.into());
    }
    Ok(exit_code(&found))
}

/// Whether there is anybody to ask.
fn may_ask(form: Form) -> bool {
    form == Form::Text && std::io::stdin().is_terminal()
}

/// Whether the shared files list the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InForce {
    Yes,
    No,
}

impl InForce {
    fn of(found: &[Finding]) -> Self {
        let is_in_force = found.iter().any(|finding| finding.id == FindingId::ProfileInForce);
        if is_in_force { Self::Yes } else { Self::No }
    }
}
