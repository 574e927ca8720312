//! `onetimectl token`: several tokens of one user, a phone and a hardware key
//! for instance. A code of any works; only that token moves on.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use pam_onetime::account::{Account, MAX_TOKENS, State, TokenId, TokenState};
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::code::{MovingFactor, Secret, Token};
use pam_onetime::config::{Config, TokenKind};
use pam_onetime::enrollment::new_token;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::store::Store;
use pam_onetime::system::now;
use rand::rngs::SysRng;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::accounts::verify;
use crate::cli::{TokenOptions, TokenVerb};
use crate::context::Context;
use crate::error::ToolError;
use crate::paper::qr::{self, AppKey};
use crate::people::User;
use crate::say::{self, Answer, Form, Input, report};

const ONLY_TOKEN: ToolError =
    ToolError::new("it is the only token", "to lift the requirement: onetimectl disable");

pub(crate) fn run(context: &Context, verb: &TokenVerb) -> anyhow::Result<ExitCode> {
    match verb {
        TokenVerb::Add { user, token, stdin } => add(context, user, token, *stdin),
        TokenVerb::List { user } => list(context, user),
        TokenVerb::Remove { user, id, yes } => remove(context, user, *id, *yes),
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
    if code.kind == TokenKind::Hotp && options.period.is_some() {
        let what = "--period is for totp: a hotp token has none";
        return Err(say::usage(ErrorKind::ArgumentConflict, what));
    }
    Ok(config)
}

#[derive(Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
enum TokenRow {
    Added {
        id: u8,
        /// Whether codes of this key were used here before, and stay spent.
        remembered: bool,
        /// `None`: the secret is not to be shown.
        #[serde(flatten)]
        shown: Option<AppKey>,
        /// What a terminal shows of the secret.
        #[serde(skip)]
        text: Zeroizing<String>,
    },
    Removed {
        #[serde(skip)]
        id: u8,
    },
}

impl TokenRow {
    fn text(&self) -> String {
        match self {
            Self::Added { id, remembered: false, text, .. } => {
                format!("token {id} added{}", **text)
            }
            Self::Added { id, remembered: true, text, .. } => format!(
                "token {id} added; its key was in use here before, and codes that were used \
                 stay spent{}",
                **text
            ),
            Self::Removed { id } => format!("token {id} removed; its codes no longer work"),
        }
    }
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
        let line = verify::read_line("the secret")?;
        token.secret = Secret::from_base32(line.trim())?;
    }
    report::one(
        context.form,
        user,
        |user| {
            let (id, Account { record, state }) = store_token(&store, user, &token)?;
            report::log(&user.name, "a token was added");
            let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
            let on_screen = !stdin
                && match context.form {
                    Form::Text => std::io::stdout().is_terminal(),
                    Form::Json => true,
                };
            let text = match context.form {
                Form::Text if on_screen => qr::text_of(&invitation, &context.config, Some(id)),
                Form::Text | Form::Json => Zeroizing::default(),
            };
            let shown = on_screen.then(|| AppKey::of_token(&invitation, id));
            let remembered = state.token(id) != TokenState::default();
            Ok(TokenRow::Added { id: id.get(), remembered, shown, text })
        },
        TokenRow::text,
    )
}

/// Puts the token into the record, under the first number that is free.
/// Returns the number and the new account.
fn store_token(store: &Store, user: &User, token: &Token) -> anyhow::Result<(TokenId, Account)> {
    let mut added = None;
    store.amend_record(&user.name, now()?, |account| {
        let mut account = account.clone();
        let taken = |id: &TokenId| account.record.tokens.iter().any(|(t, _)| t == id);
        let id = TokenId::all().find(|id| !taken(id));
        let id = id.with_context(|| format!("has {MAX_TOKENS} tokens already"))?;
        account.record.tokens.push((id, token.clone()));
        account.record.tokens.sort_by_key(|(id, _)| *id);
        // A removed token may have left its state in this place.
        account.state = account.state.with_token(id, TokenState::default());
        added = Some(id);
        Ok::<_, anyhow::Error>(account)
    })?;
    let account = store.inspect(&user.name)?;
    added.zip(account).context("nothing was added")
}

#[derive(Serialize)]
struct TokensRow {
    tokens: Vec<TokenInfo>,
}

/// A token without its secret.
#[derive(Serialize)]
struct TokenInfo {
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

impl TokenInfo {
    fn of(id: TokenId, token: &Token, state: TokenState) -> Self {
        Self {
            id: id.get(),
            kind: token.kind.name(),
            algorithm: token.algorithm.name(),
            digits: token.digits.get(),
            period: match token.kind {
                MovingFactor::Totp { period } => Some(period.get()),
                MovingFactor::Hotp => None,
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
            let account = store.inspect(&user.name)?.ok_or(ToolError::NOT_ENABLED)?;
            let tokens = account.record.tokens.iter();
            let one = |(id, token): &(TokenId, Token)| {
                TokenInfo::of(*id, token, account.state.token(*id))
            };
            Ok(TokensRow { tokens: tokens.map(one).collect() })
        },
        |row| row.tokens.iter().map(TokenInfo::text).collect(),
    )
}

fn remove(context: &Context, user: &str, id: TokenId, yes: bool) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let question =
        format!("Remove token {} of {}? Its key is destroyed.", id.get(), Readable(user));
    if !yes && say::confirm(&question, Input::Answers)? == Answer::No {
        return Answer::nothing_changed();
    }
    report::one(
        context.form,
        user,
        |user| {
            store.amend_record(&user.name, now()?, |account| {
                let mut account = account.clone();
                // Which of them were remembered by a code of this token is not known.
                account.state.hosts = State::fresh(account.state.generation).hosts;
                let before = account.record.tokens.len();
                account.record.tokens.retain(|(token, _)| *token != id);
                match account.record.tokens.len() {
                    after if after == before => bail!("has no token {}", id.get()),
                    0 => Err(ONLY_TOKEN.into()),
                    _ => Ok(account),
                }
            })?;
            report::log(&user.name, "a token was removed");
            Ok(TokenRow::Removed { id: id.get() })
        },
        TokenRow::text,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_results_as_json_are_the_words_of_the_manual_page() {
        let added =
            TokenRow::Added { id: 2, remembered: false, shown: None, text: Zeroizing::default() };
        for (row, expected) in [
            (added, json!({ "result": "added", "id": 2, "remembered": false })),
            (TokenRow::Removed { id: 2 }, json!({ "result": "removed" })),
        ] {
            assert_eq!(serde_json::to_value(row).unwrap(), expected);
        }
    }
}
