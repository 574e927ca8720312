//! `onetimectl qr`, and how `enable` shows a secret: on the terminal, in a
//! file, as JSON.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use pam_onetime::account::{Account, MAX_TOKENS, Phase, TokenId};
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::config::Config;
use pam_onetime::enrollment::{Enrollment, QrText};
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::messages;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::ToolError;
use crate::paper::file::NewFile;
use crate::paper::screen::Screen;
use crate::say::{self, Form, report};

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

/// One of several, with its number.
#[derive(Serialize)]
struct NumberedKey {
    id: u8,
    #[serde(flatten)]
    key: AppKey,
}

#[derive(Serialize)]
struct QrReport {
    /// The first of them.
    #[serde(flatten)]
    key: AppKey,
    tokens: Vec<NumberedKey>,
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

pub(crate) fn run(
    context: &Context,
    user: &str,
    which: Option<TokenId>,
    file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    if file.is_some_and(|path| !is_picture(path)) {
        let what = "the file of --qr must end in .png or .svg";
        return Err(say::usage(ErrorKind::ValueValidation, what));
    }
    let store = context.store()?;
    report::one(
        context.form,
        user,
        |user| {
            let account = store.inspect(&user.name)?.ok_or(ToolError::NOT_ENABLED)?;
            must_be_pending(&account)?;
            let invitation = Invitation::new(&account.record, &PasswordProof::by_administrator());
            let ids = chosen(&account, which)?;
            let file = file.map(|path| write(&invitation, which, path)).transpose()?;
            let text = match (file, context.form) {
                (Some(file), _) => {
                    let path = file.keep().display().to_string();
                    Zeroizing::new(format!("written to {}", Readable(&path)))
                }
                (None, Form::Text) => text_of(&invitation, &context.config, which),
                (None, Form::Json) => Zeroizing::default(),
            };
            let numbered = |id: &TokenId| NumberedKey {
                id: id.get(),
                key: AppKey::of_token(&invitation, *id),
            };
            let tokens = ids.iter().map(numbered).collect();
            let first = ids.first().context("there is no token")?;
            Ok(QrReport { key: AppKey::of_token(&invitation, *first), tokens, text })
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
    let screen = Screen::of_stdout();
    let (canvas, language) = (screen.canvas(config), config.login.language);
    for enrollment in Enrollment::of(invitation) {
        if which.is_none_or(|which| which == enrollment.id) {
            for (number, part) in
                messages::invitation(&enrollment, language, canvas).iter().enumerate()
            {
                if number > 0 {
                    text.push('\n');
                }
                text.push_str(part);
            }
            if let Some(QrText::TooLarge) = canvas.map(|canvas| enrollment.qr_text(canvas)) {
                let user = enrollment.user;
                let obstacle = screen.obstacle();
                say::warn(&format!(
                    "{user}: {obstacle}, or write the code to a file (onetimectl qr {user} --qr \
                     FILE.png)"
                ));
            }
        }
    }
    text
}

/// The tokens that are meant: the one that was named, or all.
fn chosen(account: &Account, which: Option<TokenId>) -> anyhow::Result<Vec<TokenId>> {
    let ids = account.record.tokens.iter().map(|(id, _)| *id);
    let ids: Vec<_> = ids.filter(|id| which.is_none_or(|which| which == *id)).collect();
    match (ids.is_empty(), which) {
        (true, Some(which)) => bail!("has no token {}", which.get()),
        (_, _) => Ok(ids),
    }
}

/// Whether a file's name ends as that of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    matches!(path.extension().and_then(|ending| ending.to_str()), Some("png" | "svg"))
}

/// Writes a QR code to a new file: PNG or SVG, by the ending of its name. That of the only
/// token, or of the one that was named.
pub(crate) fn write(
    invitation: &Invitation<'_>,
    which: Option<TokenId>,
    path: &Path,
) -> anyhow::Result<NewFile> {
    let mut all: Vec<_> = Enrollment::of(invitation).collect();
    all.retain(|enrollment| which.is_none_or(|which| which == enrollment.id));
    let first = match all.as_slice() {
        [only] => only,
        [] => bail!("has no such token"),
        [_, _, ..] => {
            return Err(ToolError::new(
                "has several tokens, and a picture has the QR code of one",
                "name it: --token ID (onetimectl token list has the numbers), or make a sheet \
                 with all: onetimectl handout -o FILE.html",
            )
            .into());
        }
    };
    let picture = match path.extension().and_then(|ending| ending.to_str()) {
        Some("png") => first.qr_png(),
        Some("svg") => first.qr_svg().map(|svg| Zeroizing::new(svg.as_bytes().to_vec())),
        Some(_) | None => bail!("{}: must end in .png or .svg", path.display()),
    };
    let picture = picture.context("the issuer or the user's name is too long for a QR code")?;
    NewFile::write(path, &picture)
}
