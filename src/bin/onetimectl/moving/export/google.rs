//! A token as the `.google_authenticator` file of pam_google_authenticator, as its
//! FILEFORMAT and its source have it. Such a file has one token, of six digits and SHA-1.

use std::fmt::Write;

use pam_onetime::account::{Account, TokenState};
use pam_onetime::code::{Digits, MovingFactor, Token};
use pam_onetime::config::CodePolicy;
use zeroize::Zeroizing;

use super::{Foreign, LeftOut, must_be_sha1};

/// Seconds; that module takes no longer period.
const MAX_PERIOD: u16 = 60;
/// The largest WINDOW_SIZE that it takes.
const MAX_WINDOW: u64 = 100;
/// Attempts and seconds: as many a minute as google-authenticator(1) suggests. Without
/// that line whoever knows a password may guess codes without end.
const RATE_LIMIT: &str = "6 60";
/// Bytes; enough for the used steps of the largest window.
const ENOUGH: usize = 4096;

/// The file with the first token that has a place there.
pub(super) fn file(account: &Account, policy: &CodePolicy) -> Result<Foreign, LeftOut> {
    let mut found = Foreign::default();
    for (id, token) in &account.record.tokens {
        let at = account.state.token(*id);
        if !found.text.is_empty() {
            found.left_out(*id, &LeftOut("the file has one token".into()));
            continue;
        }
        match one(token, at, policy) {
            Ok(text) => {
                found.text.push(text);
                if token.kind == MovingFactor::Hotp && at.next.0 == 0 {
                    let id = id.get();
                    found.notes.push(format!(
                        "token {id}: its first code does not work there, where counters begin \
                         at 1; the second does"
                    ));
                }
            }
            Err(why) => found.left_out(*id, &why),
        }
    }
    found.of(account)
}

fn one(token: &Token, at: TokenState, policy: &CodePolicy) -> Result<Zeroizing<String>, LeftOut> {
    must_be_sha1(token, "that module")?;
    let digits = token.digits;
    if digits != Digits::default() {
        return Err(LeftOut(format!("its codes of {digits} digits: that module has 6")));
    }
    // Reserved at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(ENOUGH));
    let secret = token.secret.to_base32();
    let written = writeln!(text, "{}\n\" RATE_LIMIT {RATE_LIMIT}", *secret);
    let written = written.and_then(|()| match token.kind {
        MovingFactor::Hotp => {
            let window = policy.look_ahead.get().saturating_add(1).min(MAX_WINDOW);
            writeln!(text, "\" WINDOW_SIZE {window}\n\" HOTP_COUNTER {}", at.next.0.max(1))
        }
        MovingFactor::Totp { period } => {
            let window = policy.window.get().saturating_mul(2).saturating_add(1);
            writeln!(text, "\" WINDOW_SIZE {window}\n\" STEP_SIZE {period}")?;
            if at.drift != 0 {
                writeln!(text, "\" TIME_SKEW {}", at.drift)?;
            }
            write!(text, "\" DISALLOW_REUSE")?;
            // All that the window may reach: there a step that is not listed is unused.
            for step in at.next.0.saturating_sub(window)..at.next.0 {
                write!(text, " {step}")?;
            }
            writeln!(text, "\n\" TOTP_AUTH")
        }
    });
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    match token.kind {
        MovingFactor::Totp { period } if period.get() > MAX_PERIOD => Err(LeftOut(format!(
            "its period of {period} s: that module has {MAX_PERIOD} s at most"
        ))),
        MovingFactor::Totp { .. } | MovingFactor::Hotp => Ok(text),
    }
}
