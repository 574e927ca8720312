//! `onetimectl enable`: issues secrets.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use pam_onetime::account::{Account, Uid};
use pam_onetime::code::RecoveryCode;
use pam_onetime::config::Config;
use pam_onetime::enrollment::new_record;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::messages;
use pam_onetime::store::{Batch, IssueOutcome, Replace, Store};
use pam_onetime::system::{host_name, now};
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::accounts::token;
use crate::cli::EnableOptions;
use crate::context::Context;
use crate::error::ToolError;
use crate::paper::file::NewFile;
use crate::paper::qr::{self, AppKey};
use crate::paper::recovery;
use crate::people::{Everybody, Origin, User, select};
use crate::say::{self, Answer, Form, Input, report};

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
    /// By a dry run.
    WouldBeEnabled {
        /// Whether a secret would go by it.
        replaced: bool,
    },
    AlreadyEnabled,
}

impl EnableRow {
    fn text(&self) -> String {
        match self {
            Self::Enabled { text, .. } => {
                format!("enabled; the QR code is shown at the next login{}", **text)
            }
            Self::WouldBeEnabled { replaced: false } => "would be enabled".to_owned(),
            Self::WouldBeEnabled { replaced: true } => {
                "would be enabled with a different secret; the old one would be destroyed"
                    .to_owned()
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
        return Err(say::usage(ErrorKind::ArgumentConflict, "--qr takes one USER"));
    }
    if options.qr.as_deref().is_some_and(|path| !qr::is_picture(path)) {
        let what = "the file of --qr must end in .png or .svg";
        return Err(say::usage(ErrorKind::ValueValidation, what));
    }
    let mut config = token::configured(&context.config, &options.token)?;
    config.enrollment.deadline = options.deadline.unwrap_or(config.enrollment.deadline);
    let issuer = options.issuer.clone().or_else(|| config.issuer.clone());
    let issuer = issuer.map_or_else(host_name, Ok)?;
    let on_screen = options.show_secret
        || !options.no_qr
            && match context.form {
                // Nobody looks at the secrets of a whole group as they scroll by.
                Form::Text => people.origin == Origin::Named && std::io::stdout().is_terminal(),
                Form::Json => false,
            };
    if options.dry_run {
        // A store that is not there is not made.
        let store = if context.dir_exists()? { Some(context.store()?) } else { None };
        let foresee = |user: &User| foresee(store.as_ref(), options, user);
        return report::each(context.form, &people, foresee, EnableRow::text);
    }
    if options.recovery {
        report::ensure_seen()?;
    }
    let store = context.open_or_make()?;
    if options.new_secret && !options.yes {
        let enabled = people.names().iter().filter(|name| people.is_enabled(&store, name));
        let whom = enabled.count();
        let question = format!(
            "Issue different secrets for {}? The old secret of {whom} of them is destroyed.",
            people.described()
        );
        let input = Input::of(options.whom.reads_stdin());
        if whom > 0 && say::confirm(&question, input)? == Answer::No {
            return Answer::nothing_changed();
        }
    }
    let batch = store.into_batch()?;
    // What is shown once is shown before the next is issued: no secret is lost by a pipe that
    // ends.
    let is_shown = on_screen || options.recovery || options.qr.is_some();
    let size = if is_shown { 1 } else { batch.size() };
    let job = Job { form: context.form, options, config, issuer, batch, on_screen };
    report::each_together(context.form, &people, size, |users| job.enable(users), EnableRow::text)
}

/// Whose record an account would be.
fn uid_of(options: &EnableOptions, user: &User) -> anyhow::Result<Uid> {
    match &user.person {
        Some(person) => Ok(person.uid()),
        None if options.force => Ok(Uid::Any),
        None => {
            let remedy = "check the name; to issue a secret all the same: --force";
            Err(ToolError::unknown(remedy).into())
        }
    }
}

/// The admin is shown what they issue.
fn invitation(account: &Account) -> Invitation<'_> {
    Invitation::new(&account.record, &PasswordProof::by_administrator())
}

/// What a run would do for a user.
fn foresee(
    store: Option<&Store>,
    options: &EnableOptions,
    user: &User,
) -> anyhow::Result<EnableRow> {
    uid_of(options, user)?;
    let Some(store) = store else { return Ok(EnableRow::WouldBeEnabled { replaced: false }) };
    Ok(match (store.is_there(&user.name)?, options.new_secret) {
        (true, false) => EnableRow::AlreadyEnabled,
        (replaced, _) => {
            if !replaced && let Some(uid) = user.uid() {
                // Whoever has a record by another name gets no second one.
                store.load(&user.name, uid)?;
            }
            EnableRow::WouldBeEnabled { replaced }
        }
    })
}

/// What is shown of an account when it is issued, and never again.
struct Showing {
    codes: Vec<RecoveryCode>,
    file: Option<NewFile>,
}

/// What is the same for all users of a run.
struct Job<'a> {
    form: Form,
    options: &'a EnableOptions,
    /// With the options of the command line in it.
    config: Config,
    issuer: String,
    batch: Batch,
    /// Whether the secret is shown as text or JSON.
    on_screen: bool,
}

impl Job<'_> {
    fn enable(&self, users: &[User]) -> Vec<anyhow::Result<EnableRow>> {
        let replace = if self.options.new_secret { Replace::Yes } else { Replace::No };
        let prepared = users.iter().map(|user| self.prepare(user)).collect();
        report::of_those(prepared, |prepared| {
            let (accounts, rest): (Vec<Account>, Vec<_>) = prepared.into_iter().unzip();
            let issued = self.batch.issue(&accounts, replace);
            let issued = accounts.iter().zip(rest).zip(issued);
            issued.map(|((account, rest), issued)| self.row(account, rest, issued?)).collect()
        })
    }

    /// What is to be issued to a user, and what is told of it.
    fn prepare(&self, user: &User) -> anyhow::Result<(Account, Showing)> {
        let (account, codes) = self.account(user)?;
        let invitation = invitation(&account);
        // Written first: where it cannot be, no secret is issued that nobody has seen.
        let file = self.options.qr.as_deref();
        let file = file.map(|path| qr::write(&invitation, None, path)).transpose()?;
        Ok((account, Showing { codes, file }))
    }

    fn row(
        &self,
        account: &Account,
        Showing { codes, file }: Showing,
        issued: IssueOutcome,
    ) -> anyhow::Result<EnableRow> {
        // Without the secret the file goes.
        match issued {
            IssueOutcome::New | IssueOutcome::NewMovedOn => {
                let _path = file.map(NewFile::keep);
            }
            IssueOutcome::AlreadyThere => return Ok(EnableRow::AlreadyEnabled),
        }
        report::log(&account.record.user, "enabled: a new secret was issued");
        let invitation = invitation(account);
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
        let uid = uid_of(self.options, user)?;
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
        let row = EnableRow::WouldBeEnabled { replaced: true };
        let expected = json!({ "result": "would_be_enabled", "replaced": true });
        assert_eq!(serde_json::to_value(row).unwrap(), expected);
    }
}
