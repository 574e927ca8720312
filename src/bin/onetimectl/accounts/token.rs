//! `onetimectl token`: several tokens of one user, a phone and a hardware key
//! for instance. A code of any works; only that token moves.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use pam_onetime::account::{MAX_TOKENS, TokenId, TokenState};
use pam_onetime::code::{Kind, Secret, Token};
use pam_onetime::config::{Config, TokenKind};
use pam_onetime::enrollment::new_token;
use pam_onetime::login::{Invitation, PasswordProof};
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{TokenOptions, TokenVerb};
use crate::context::{Context, User};
use crate::paper::qr::{self, Shown};
use crate::say::Form;
use crate::say::report;

pub(crate) fn run(context: &Context, verb: &TokenVerb) -> anyhow::Result<ExitCode> {
    match verb {
        TokenVerb::Add { user, token, stdin } => add(context, user, token, *stdin),
        TokenVerb::List { user } => list(context, user),
        TokenVerb::Remove { user, id } => remove(context, user, *id),
    }
}

/// The configuration, with what was said of a token on the command line.
pub(crate) fn configured(config: &Config, options: &TokenOptions) -> anyhow::Result<Config> {
    let mut config = config.clone();
    let code = &mut config.code;
    code.kind = options.kind.unwrap_or(code.kind);
    code.algorithm = options.algorithm.unwrap_or(code.algorithm);
    code.digits = options.digits.unwrap_or(code.digits);
    code.period = options.period.unwrap_or(code.period);
    ensure!(
        code.kind == TokenKind::Totp || options.period.is_none(),
        "--period is for totp: a hotp token has none"
    );
    Ok(config)
}

#[derive(Serialize)]
struct Added {
    result: &'static str,
    id: u8,
    #[serde(flatten)]
    shown: Option<Shown>,
    #[serde(skip)]
    text: Zeroizing<String>,
}

fn add(
    context: &Context,
    user: &str,
    options: &TokenOptions,
    stdin: bool,
) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let mut token = new_token(&mut SysRng, &configured(&context.config, options)?)?;
    if stdin {
        let mut line = Zeroizing::new(String::with_capacity(256));
        std::io::stdin().read_line(&mut line)?;
        token.secret = Secret::from_base32(line.trim())?;
    }
    report::one(
        context.form,
        user,
        |user| {
            let known = User::find(user)?;
            let mut added = None;
            store.amend_record(&known.name, |account| {
                let mut account = account.clone();
                let taken = |id: &TokenId| account.record.tokens.iter().any(|(t, _)| t == id);
                let id = TokenId::all().find(|id| !taken(id));
                let id = id.with_context(|| format!("has {MAX_TOKENS} tokens already"))?;
                account.record.tokens.push((id, token.clone()));
                account.record.tokens.sort_by_key(|(id, _)| *id);
                // A removed token may have left its state in this place.
                account.state = account.state.with_token(id, TokenState::default());
                added = Some((id, account.record.clone()));
                Ok::<_, anyhow::Error>(account)
            })?;
            let (id, record) = added.context("nothing was added")?;
            report::log(&known.name, "a token was added");
            let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
            let on_screen = !stdin
                && match context.form {
                    Form::Text => std::io::stdout().is_terminal(),
                    Form::Json => true,
                };
            let mut text = Zeroizing::new(format!("token {} added", id.get()));
            if on_screen && context.form == Form::Text {
                text.push_str(&qr::text_of(&invitation, &context.config, Some(id)));
            }
            let shown = on_screen.then(|| Shown::of_token(&invitation, id));
            Ok(Added { result: "added", id: id.get(), shown, text })
        },
        |told| told.text.to_string(),
    )
}

#[derive(Serialize)]
struct Listed {
    tokens: Vec<One>,
}

#[derive(Serialize)]
struct One {
    id: u8,
    kind: &'static str,
    algorithm: &'static str,
    digits: u8,
    /// Seconds; totp only.
    period: Option<u16>,
    /// Bits of the secret.
    bits: usize,
    /// Steps; totp only.
    drift: i32,
}

impl One {
    fn of(id: TokenId, token: &Token, state: TokenState) -> Self {
        Self {
            id: id.get(),
            kind: token.kind.name(),
            algorithm: token.algorithm.name(),
            digits: token.digits.get(),
            period: match token.kind {
                Kind::Totp { period } => Some(period.get()),
                Kind::Hotp => None,
            },
            bits: token.secret.bits(),
            drift: state.drift,
        }
    }

    fn text(&self) -> String {
        let Self { id, kind, algorithm, digits, bits, drift, .. } = self;
        let period = self.period.map(|period| format!(", every {period} s, drift {drift:+}"));
        let period = period.unwrap_or_default();
        format!("\n  {id}  {kind}, {algorithm}, {digits} digits{period}, {bits} bits")
    }
}

fn list(context: &Context, user: &str) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::one(
        context.form,
        user,
        |user| {
            let known = User::find(user)?;
            let account = store.inspect(&known.name)?.context("not enabled")?;
            let tokens = account.record.tokens.iter();
            let one =
                |(id, token): &(TokenId, Token)| One::of(*id, token, account.state.token(*id));
            Ok(Listed { tokens: tokens.map(one).collect() })
        },
        |told| told.tokens.iter().map(One::text).collect(),
    )
}

#[derive(Serialize)]
struct Removed {
    result: &'static str,
}

fn remove(context: &Context, user: &str, id: u8) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::one(
        context.form,
        user,
        |user| {
            let known = User::find(user)?;
            store.amend_record(&known.name, |account| {
                let mut account = account.clone();
                let before = account.record.tokens.len();
                account.record.tokens.retain(|(token, _)| token.get() != id);
                match account.record.tokens.len() {
                    after if after == before => bail!("has no token {id}"),
                    0 => bail!("it is the only token (onetimectl disable lifts the requirement)"),
                    _ => Ok(account),
                }
            })?;
            report::log(&known.name, "a token was removed");
            Ok(Removed { result: "removed" })
        },
        |_| format!("token {id} removed; its codes work no more"),
    )
}
