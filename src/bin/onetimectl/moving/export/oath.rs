//! Tokens as lines of `users.oath`, the users file of pam_oath, as liboath's
//! usersfile.c reads it. A line has the last code that was used: that module refuses it
//! and, of a time token, every older one.

use std::fmt::Write;

use data_encoding::HEXLOWER;
use jiff::Timestamp as Moment;
use jiff::tz::TimeZone;
use pam_onetime::account::{Account, Timestamp, TokenId, TokenState};
use pam_onetime::code::{MovingFactor, Period, Token};
use zeroize::Zeroizing;

use super::{Foreign, LeftOut, must_be_sha1};

/// Bytes; liboath has no room for a longer secret.
const MAX_SECRET: usize = 32;
/// Bytes; enough for a line.
const ENOUGH: usize = 1024;
/// How liboath writes a time: local, with an L.
const TIME: &str = "%Y-%m-%dT%H:%M:%SL";

/// All tokens of a user that have a place there, a line each.
pub(super) fn lines(account: &Account, now: Timestamp) -> Result<Foreign, LeftOut> {
    let user = account.record.user.as_str();
    // An escaped name has a byte that is not UTF-8.
    let is_plain = account.record.user.to_string() == user;
    if !is_plain || user.starts_with('#') || user.contains(char::is_whitespace) {
        return Err(LeftOut("the name: users.oath has names without blanks, in UTF-8".into()));
    }
    let mut found = Foreign::default();
    for (id, token) in &account.record.tokens {
        match line(user, token, account.state.token(*id), now) {
            Ok(line) => {
                found.text.push(line);
                found.notes.extend(drift(*id, account.state.token(*id)));
            }
            Err(why) => found.left_out(*id, &why),
        }
    }
    found.of(account)
}

fn line(
    user: &str,
    token: &Token,
    at: TokenState,
    now: Timestamp,
) -> Result<Zeroizing<String>, LeftOut> {
    let mover = match token.kind {
        MovingFactor::Hotp => "E".to_owned(),
        MovingFactor::Totp { period } if matches!(period.get(), 30 | 60) => format!("T{period}"),
        MovingFactor::Totp { period } => {
            return Err(LeftOut(format!("its period of {period} s: pam_oath has 30 s and 60 s")));
        }
    };
    must_be_sha1(token, "users.oath")?;
    let secret = token.secret.as_bytes();
    if secret.len() > MAX_SECRET {
        let bits = token.secret.bits();
        return Err(LeftOut(format!("its secret of {bits} bits: pam_oath takes 256 at most")));
    }
    // Reserved at once: a string that grows leaves copies behind.
    let mut line = Zeroizing::new(String::with_capacity(ENOUGH));
    let secret = Zeroizing::new(HEXLOWER.encode(secret));
    let digits = token.digits;
    let written = write!(line, "HOTP/{mover}/{digits}\t{user}\t-\t{}", *secret);
    let written = written.and_then(|()| match (at.next.0, token.kind) {
        // No code was used: it begins with the first.
        (0, _) => Ok(()),
        (next, kind) => {
            let last = at.next.minus(1);
            // What a time token has there means nothing to a reader.
            let (position, time) = match kind {
                MovingFactor::Hotp => (next.saturating_sub(1), now),
                MovingFactor::Totp { period } => (0, shown(at, period)),
            };
            let (code, time) = (token.code_at(last), local(time));
            write!(line, "\t{position}\t{}\t{time}", *code)
        }
    });
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    Ok(line)
}

/// When the last code was typed: its own step, less how far the token's clock is ahead.
fn shown(at: TokenState, period: Period) -> Timestamp {
    let drift = i64::from(at.drift);
    let step =
        pam_onetime::code::Step(at.next.minus(1).0.saturating_add_signed(drift.saturating_neg()));
    Timestamp::of_step(step, period)
}

fn local(time: Timestamp) -> String {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let moment = Moment::from_second(seconds).unwrap_or(Moment::MAX);
    TimeZone::system().to_datetime(moment).strftime(TIME).to_string()
}

fn drift(id: TokenId, at: TokenState) -> Option<String> {
    let steps = at.drift.unsigned_abs();
    (steps > 0).then(|| {
        let id = id.get();
        format!("token {id}: its clock is {steps} steps off; pam_oath needs window={steps} or more")
    })
}
