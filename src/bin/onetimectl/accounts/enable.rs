//! `onetimectl enable`: issues secrets.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use pam_onetime::account::{Account, Uid};
use pam_onetime::code::RecoveryCode;
use pam_onetime::config::Config;
use pam_onetime::enrollment::new_record;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::messages;
use pam_onetime::store::{IssueOutcome, Replace, Store};
use pam_onetime::system::{host_name, now};
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::accounts::token;
use crate::cli::{Cli, EnableOptions};
use crate::context::Context;
use crate::error::ToolError;
use crate::paper::file::NewFile;
use crate::paper::qr::{self, AppKey};
use crate::paper::recovery;
use crate::people::{Everybody, Origin, User, select};
use crate::say::Form;
use crate::say::report;

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum EnableRow {
    Enabled {
        /// `None`: the secret is not to be shown.
        #[serde(flatten)]
        shown: Option<AppKey>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        recovery_codes: Vec<recovery::PlainCode>,
        /// What a terminal shows of the secret and the recovery codes.
        #[serde(skip)]
        text: Zeroizing<String>,
    },
    AlreadyEnabled,
}

impl EnableRow {
    fn text(&self) -> String {
        match self {
            Self::Enabled { text, .. } => {
                format!("enabled; the QR code is shown at the next login{}", **text)
            }
            Self::AlreadyEnabled => "already enabled, nothing changed \
                                     (--new-secret issues a different secret)"
                .to_owned(),
        }
    }
}

pub(crate) fn run(context: &Context, options: &EnableOptions) -> anyhow::Result<ExitCode> {
    let people = select(&options.whom, Everybody::Ordinary)?;
    if options.qr.is_some() && people.names().len() != 1 {
        Cli::command().error(ErrorKind::ArgumentConflict, "--qr takes one USER").exit();
    }
    let mut config = token::configured(&context.config, &options.token)?;
    config.enrollment.deadline = options.deadline.unwrap_or(config.enrollment.deadline);
    let issuer = options.issuer.clone().or_else(|| config.issuer.clone());
    let issuer = issuer.map_or_else(host_name, Ok)?;
    let on_screen = !options.no_qr
        && match context.form {
            // Nobody looks at the secrets of a whole group as they scroll by.
            Form::Text => people.origin == Origin::Named && std::io::stdout().is_terminal(),
            Form::Json => true,
        };
    let store = context.open_or_make()?;
    let job = Job { form: context.form, options, config, issuer, store, on_screen };
    report::each(context.form, &people, |user| job.enable(user), EnableRow::text)
}

/// What is the same for all users of a run.
struct Job<'a> {
    form: Form,
    options: &'a EnableOptions,
    /// With the options of the command line in it.
    config: Config,
    issuer: String,
    store: Store,
    /// Whether the secret is shown as text or JSON.
    on_screen: bool,
}

impl Job<'_> {
    fn enable(&self, user: &User) -> anyhow::Result<EnableRow> {
        let (account, codes) = self.account(user)?;
        let invitation = Invitation::new(&account.record, &PasswordProof::by_administrator());
        // Written first: where it cannot be, no secret is issued that nobody has seen.
        let file = self.options.qr.as_deref();
        let file = file.map(|path| qr::write(&invitation, None, path)).transpose()?;
        let replace = if self.options.new_secret { Replace::Yes } else { Replace::No };
        // Without the secret the file goes.
        match self.store.issue(&account, replace)? {
            IssueOutcome::New => {
                let _path = file.map(NewFile::keep);
            }
            IssueOutcome::AlreadyThere => return Ok(EnableRow::AlreadyEnabled),
        }
        report::log(&account.record.user, "enabled: a new secret was issued");
        Ok(EnableRow::Enabled {
            shown: self.on_screen.then(|| AppKey::of(&invitation)),
            recovery_codes: recovery::plain(&codes),
            text: match self.form {
                Form::Text => self.text(&invitation, &codes),
                Form::Json => Zeroizing::default(),
            },
        })
    }

    /// A new account, and the recovery codes in its record, if there are any.
    fn account(&self, user: &User) -> anyhow::Result<(Account, Vec<RecoveryCode>)> {
        let uid = match &user.person {
            Some(person) => person.uid(),
            None if self.options.force => Uid::Any,
            None => {
                return Err(ToolError::new(
                    "this system knows no such user",
                    "check the name; to issue a secret all the same: --force",
                )
                .into());
            }
        };
        let (name, issuer) = (user.name.clone(), self.issuer.clone());
        let mut record = new_record(&mut SysRng, &self.config, name, uid, issuer, now()?)?;
        let codes = match self.options.recovery {
            true => recovery::issue(&mut record)?,
            false => Vec::new(),
        };
        Ok((Account::fresh(record), codes))
    }

    /// What a terminal shows besides the result.
    fn text(&self, invitation: &Invitation<'_>, codes: &[RecoveryCode]) -> Zeroizing<String> {
        let mut text = Zeroizing::default();
        if self.on_screen {
            text = qr::text(invitation, &self.config);
        }
        if !codes.is_empty() {
            text.push('\n');
            text.push_str(&messages::recovery_codes(codes, self.config.login.language));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        let enabled = EnableRow::Enabled {
            shown: None,
            recovery_codes: Vec::new(),
            text: Zeroizing::default(),
        };
        for (row, word) in [(enabled, "enabled"), (EnableRow::AlreadyEnabled, "already_enabled")] {
            assert_eq!(serde_json::to_value(row).unwrap(), json!({ "result": word }));
        }
    }
}
