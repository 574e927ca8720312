//! `onetimectl qr`, and how `enable` shows a secret: on the terminal, in a
//! file, as JSON.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use pam_onetime::account::{Account, MAX_TOKENS, Phase, TokenId};
use pam_onetime::config::Config;
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::messages;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::ToolError;
use crate::paper::file::NewFile;
use crate::say::report;

/// What an app needs, for a program that hands it out.
#[derive(Serialize)]
pub(crate) struct AppKey {
    #[serde(serialize_with = "report::plain")]
    uri: Zeroizing<String>,
    #[serde(serialize_with = "report::plain")]
    secret: Zeroizing<String>,
}

impl AppKey {
    /// The first token's: `enable` issues one.
    pub(crate) fn of(invitation: &Invitation<'_>) -> Self {
        Self::in_full(Enrollment::of(invitation).next())
    }

    /// That of one token.
    pub(crate) fn of_token(invitation: &Invitation<'_>, id: TokenId) -> Self {
        Self::in_full(Enrollment::of(invitation).find(|enrollment| enrollment.id == id))
    }

    fn in_full(first: Option<Enrollment<'_>>) -> Self {
        Self {
            uri: first.as_ref().map(Enrollment::uri).unwrap_or_default(),
            secret: first
                .map(|first| Zeroizing::new(first.key().replace(' ', "")))
                .unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
struct QrReport {
    #[serde(flatten)]
    key: AppKey,
    #[serde(skip)]
    text: Zeroizing<String>,
}

/// A secret is shown to a user who has not shown yet that they have it.
pub(crate) fn must_be_pending(account: &Account) -> anyhow::Result<()> {
    match account.phase() {
        Phase::Pending => Ok(()),
        Phase::Active { .. } => Err(ToolError::new(
            "already activated: its secret is no longer shown",
            "issue a different secret: onetimectl enable --new-secret",
        )
        .into()),
    }
}

pub(crate) fn run(context: &Context, user: &str, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::one(
        context.form,
        user,
        |user| {
            let account = store.inspect(&user.name)?.ok_or(ToolError::NOT_ENABLED)?;
            must_be_pending(&account)?;
            let invitation = Invitation::new(&account.record, &PasswordProof::by_administrator());
            let file = file.map(|path| write(&invitation, path)).transpose()?;
            let text = match file {
                Some(file) => Zeroizing::new(format!("written to {}", file.keep().display())),
                None => text(&invitation, &context.config),
            };
            Ok(QrReport { key: AppKey::of(&invitation), text })
        },
        |report| report.text.to_string(),
    )
}

/// For a terminal: all tokens.
pub(crate) fn text(invitation: &Invitation<'_>, config: &Config) -> Zeroizing<String> {
    text_of(invitation, config, None)
}

/// For a terminal: one token, or all.
pub(crate) fn text_of(
    invitation: &Invitation<'_>,
    config: &Config,
    which: Option<TokenId>,
) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MAX_TOKENS * 32 * 1024));
    for enrollment in Enrollment::of(invitation) {
        if which.is_none_or(|which| which == enrollment.id) {
            text.push_str(&messages::invitation(&enrollment, config));
        }
    }
    text
}

/// Writes the first token's QR code to a new file: PNG or SVG, by the ending of
/// its name.
pub(crate) fn write(invitation: &Invitation<'_>, path: &Path) -> anyhow::Result<NewFile> {
    let first = Enrollment::of(invitation).next().context("there is no token")?;
    let picture = match path.extension().and_then(|ending| ending.to_str()) {
        Some("png") => first.qr_png(),
        Some("svg") => first.qr_svg().map(|svg| Zeroizing::new(svg.as_bytes().to_vec())),
        Some(_) | None => bail!("{}: must end in .png or .svg", path.display()),
    };
    let picture = picture.context("the issuer or the user's name is too long for a QR code")?;
    NewFile::write(path, &picture)
}
