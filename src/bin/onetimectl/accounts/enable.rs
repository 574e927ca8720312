//! `onetimectl enable`: issues secrets.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use clap::CommandFactory;
use clap::error::ErrorKind;
use pam_onetime::account::{Account, Uid};
use pam_onetime::config::is_issuer;
use pam_onetime::enrollment::new_record;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::messages;
use pam_onetime::store::{Issued, Replace, Store};
use pam_onetime::system::{host_name, now};
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{Cli, EnableOptions};
use crate::context::Context;
use crate::paper::qr::{self, Shown};
use crate::say::Form;
use crate::say::report;
use crate::select::{All, Origin, Selected, select};
use crate::{recovery, token};

#[derive(Serialize)]
struct Told {
    result: &'static str,
    #[serde(flatten)]
    shown: Option<Shown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    recovery_codes: Vec<recovery::Plain>,
    #[serde(skip)]
    text: Zeroizing<String>,
}

pub(crate) fn run(context: &Context, options: &EnableOptions) -> anyhow::Result<ExitCode> {
    let selected = select(&options.whom, All::Ordinary)?;
    if options.qr.is_some() && selected.names.len() != 1 {
        Cli::command().error(ErrorKind::ArgumentConflict, "--qr takes one USER").exit();
    }
    let store = context.open_or_make()?;
    report::each(
        context.form,
        &selected.names,
        |user| enable(context, options, &store, &selected, user),
        |told| told.text.to_string(),
    )
}

fn enable(
    context: &Context,
    options: &EnableOptions,
    store: &Store,
    selected: &Selected,
    user: &str,
) -> anyhow::Result<Told> {
    let known = selected.find(user)?;
    let uid = match &known.person {
        Some(person) => person.uid(),
        None if options.force => Uid::Any,
        None => bail!("this system knows no such user (--force issues a secret all the same)"),
    };
    let mut config = token::configured(&context.config, &options.token)?;
    config.enrollment.deadline = options.deadline.unwrap_or(config.enrollment.deadline);
    let issuer = issuer(context, options)?;
    let mut record = new_record(&mut SysRng, &config, known.name, uid, issuer, now()?)?;
    let codes = match options.recovery {
        true => recovery::issue(&mut record)?,
        false => Vec::new(),
    };
    let account = Account::fresh(record);
    let record = &account.record;
    let invitation = Invitation::new(record, &PasswordProof::by_administrator());
    // Written first: where it cannot be, no secret is issued that nobody has seen.
    let file = options.qr.as_deref().map(|path| qr::write(&invitation, path)).transpose()?;
    let replace = if options.new_secret { Replace::Yes } else { Replace::No };
    match store.issue(&account, replace) {
        Ok(Issued::New) => {
            if let Some(file) = file {
                file.keep();
            }
        }
        Ok(Issued::AlreadyThere) => {
            let text = "already enabled, nothing changed (--new-secret issues a different secret)";
            let text = Zeroizing::new(text.to_owned());
            return Ok(Told {
                result: "already_enabled",
                shown: None,
                recovery_codes: Vec::new(),
                text,
            });
        }
        Err(error) => return Err(error.into()),
    }
    report::log(&record.user, "enabled: a new secret was issued");
    let on_screen = !options.no_qr
        && match context.form {
            // Nobody looks at the secrets of a whole group as they scroll by.
            Form::Text => selected.origin == Origin::Named && std::io::stdout().is_terminal(),
            Form::Json => true,
        };
    let mut text = Zeroizing::new("enabled; the QR code is shown at the next login".to_owned());
    if on_screen && context.form == Form::Text {
        text.push_str(&qr::text(&invitation, &context.config));
    }
    if !codes.is_empty() && context.form == Form::Text {
        text.push('\n');
        text.push_str(&messages::recovery_codes(&codes, context.config.login.language));
    }
    Ok(Told {
        result: "enabled",
        shown: on_screen.then(|| Shown::of(&invitation)),
        recovery_codes: recovery::plain(&codes),
        text,
    })
}

fn issuer(context: &Context, options: &EnableOptions) -> anyhow::Result<String> {
    let chosen = options.issuer.clone().or_else(|| context.config.issuer.clone());
    let issuer = chosen.map_or_else(host_name, Ok)?;
    ensure!(
        is_issuer(&issuer),
        "the issuer must be 1 to 64 characters without ':' and control characters"
    );
    Ok(issuer)
}
