//! Which token and step a code belongs to, and what the account becomes when
//! it is accepted: windows, drift, resynchronization, recovery codes,
//! remembered hosts.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::ahead::codes_ahead;
use super::{Answer, Circumstances, Refusal};
use crate::account::{
    Account, Generation, RememberedHost, SpentRecovery, State, Timestamp, TokenId, TokenState,
};
use crate::code::{Code, MovingFactor, Period, RecoveryCode, Step, Token};
use crate::config::{CodePolicy, LoginPolicy, host_address};

/// What a code turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeMatch {
    /// That of a step not yet spent.
    Accepted(TokenUpdate),
    /// That of a counter far ahead, which is to be noted.
    OutOfStep(TokenUpdate),
    /// Neither: a wrong code, or one that is spent.
    Refused(Refusal),
}

/// A token, and its state from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenUpdate {
    id: TokenId,
    token: TokenState,
}

/// The token and step whose code this is, among the steps not yet spent.
pub(super) fn find(
    account: &Account,
    code: &Code,
    now: Timestamp,
    policy: &CodePolicy,
) -> CodeMatch {
    // Every token is tried, whichever matches.
    let mut best = CodeMatch::Refused(Refusal::WrongCode);
    for (id, token) in &account.record.tokens {
        let found = match token.kind {
            MovingFactor::Totp { period } => {
                find_totp(account, *id, token, code, (now, period), policy)
            }
            MovingFactor::Hotp => find_hotp(account, *id, token, code, policy),
        };
        best = match (best, found) {
            (CodeMatch::Accepted(_), _) | (_, CodeMatch::Refused(Refusal::WrongCode)) => best,
            (CodeMatch::OutOfStep(_) | CodeMatch::Refused(_), found) => found,
        };
    }
    best
}

/// Whether the answer is a code of the account's, be it to be accepted or spent. Nothing
/// follows from that: the account is as it was.
pub(super) fn is_known(
    account: &Account,
    answer: &Answer,
    now: Timestamp,
    policy: &CodePolicy,
) -> bool {
    match answer {
        Answer::Code(code) => {
            find(account, code, now, policy) != CodeMatch::Refused(Refusal::WrongCode)
        }
        Answer::Recovery(code) => {
            accept_recovery(account, account.state, code, now) != Err(Refusal::WrongCode)
        }
        Answer::Empty | Answer::NotACode | Answer::PasswordAgain | Answer::RefusedBySshd => false,
    }
}

fn find_totp(
    account: &Account,
    id: TokenId,
    token: &Token,
    code: &Code,
    (now, period): (Timestamp, Period),
    policy: &CodePolicy,
) -> CodeMatch {
    let present = now.step(period);
    let TokenState { next, drift, .. } = account.state.token(id);
    let most = i32::try_from(policy.max_drift.get()).unwrap_or(i32::MAX);
    let drift = drift.clamp(most.saturating_neg(), most);
    let centre = Step(present.0.saturating_add_signed(i64::from(drift)));
    let window = policy.window.get();
    let (first, last) = (centre.minus(window), centre.plus(window));
    match token.newest_match(code, (first.0..=last.0).map(Step)) {
        Some(step) if step >= next => {
            let ahead = distance(present, step).clamp(most.saturating_neg(), most);
            let token = TokenState { next: step.plus(1), drift: ahead, resync: Step(0) };
            CodeMatch::Accepted(TokenUpdate { id, token })
        }
        // An accepted step was within the window of its time.
        Some(_) if next > last.plus(1) => {
            CodeMatch::Refused(Refusal::ClockWentBack { until: Timestamp::of_step(next, period) })
        }
        Some(_) => CodeMatch::Refused(Refusal::SpentCode),
        None => CodeMatch::Refused(Refusal::WrongCode),
    }
}

fn find_hotp(
    account: &Account,
    id: TokenId,
    token: &Token,
    code: &Code,
    policy: &CodePolicy,
) -> CodeMatch {
    let TokenState { next, resync, .. } = account.state.token(id);
    let accepted = |step: Step| {
        let token = TokenState { next: step.plus(1), ..TokenState::default() };
        CodeMatch::Accepted(TokenUpdate { id, token })
    };
    // The second of two codes in a row (RFC 4226 section 7.4).
    let awaited = (resync > next).then(|| resync.plus(1));
    if let Some(step) = token.newest_match(code, awaited.into_iter()) {
        return accepted(step);
    }
    let ahead = policy.look_ahead.get();
    // Those before `next` only to distinguish a spent code from a wrong one.
    let near = (next.minus(ahead).0..=next.plus(ahead).0).map(Step);
    match token.newest_match(code, near) {
        Some(step) if step >= next => return accepted(step),
        Some(_) => return CodeMatch::Refused(Refusal::SpentCode),
        None => {}
    }
    let far = (next.plus(ahead).plus(1).0..=next.plus(policy.resync.get()).0).map(Step);
    match token.newest_match(code, far) {
        Some(resync) => {
            let token = TokenState { resync, ..account.state.token(id) };
            CodeMatch::OutOfStep(TokenUpdate { id, token })
        }
        None => CodeMatch::Refused(Refusal::WrongCode),
    }
}

/// The state after a wrong code: two codes in a row means in a row.
pub(super) fn without_resync(state: State) -> State {
    TokenId::all().fold(state, |state, id| {
        state.with_token(id, TokenState { resync: Step(0), ..state.token(id) })
    })
}

/// Steps from `from` to `to`, negative if `to` is earlier.
fn distance(from: Step, to: Step) -> i32 {
    let ahead = i32::try_from(to.0.saturating_sub(from.0)).unwrap_or(i32::MAX);
    let behind = i32::try_from(from.0.saturating_sub(to.0)).unwrap_or(i32::MAX);
    ahead.saturating_sub(behind)
}

/// The state once a code far ahead has been noted.
pub(super) fn note(state: State, noted: TokenUpdate) -> State {
    without_resync(state).with_token(noted.id, noted.token)
}

/// The state once the code has been spent.
pub(super) fn accept(state: State, accepted: TokenUpdate, now: Timestamp) -> State {
    State { last_login: Some(now), ..state.with_token(accepted.id, accepted.token) }
}

/// The state once the recovery code has been spent, and how many are left.
pub(super) fn accept_recovery(
    account: &Account,
    state: State,
    code: &RecoveryCode,
    now: Timestamp,
) -> Result<(State, usize), Refusal> {
    let recovery = account.record.recovery.as_ref().ok_or(Refusal::WrongCode)?;
    let hash = code.hash(&recovery.salt.0);
    // All are compared, whichever matches.
    let (mut bit, mut matched) = (1_u16, 0_u16);
    for stored in &recovery.hashes {
        if bool::from(stored.0.ct_eq(&hash)) {
            matched |= bit;
        }
        bit = bit.wrapping_shl(1);
    }
    let spent = account.spent_recovery_codes();
    if matched == 0 {
        return Err(Refusal::WrongCode);
    }
    if matched & spent != 0 {
        return Err(Refusal::SpentCode);
    }
    let bits = spent | matched;
    let left = account.recovery_codes_left().unwrap_or(0).saturating_sub(1);
    let recovery = SpentRecovery { set: recovery.set, bits };
    Ok((State { last_login: Some(now), recovery, ..state }, left))
}

/// What the state keeps of a host and a service: nobody can read from it where a user
/// comes from. `seconds` is how long hosts are remembered: what was remembered for another
/// time is not known again, whether that time was longer or shorter.
pub(super) fn host_key(
    generation: Generation,
    rhost: &str,
    service: &str,
    seconds: u64,
) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::new()
        .chain_update(generation.0)
        .chain_update(rhost.as_bytes())
        .chain_update([0])
        .chain_update(service.as_bytes())
        .chain_update([0])
        .chain_update(seconds.to_le_bytes())
        .finalize()
        .into();
    let [key, _]: [[u8; 16]; 2] = zerocopy::transmute!(hash);
    key
}

/// The key of the host of this login and for how many seconds it is remembered, if it is:
/// only an address is, since several hosts can come under one name.
pub(super) fn rememberable(
    generation: Generation,
    Circumstances { rhost, service, .. }: &Circumstances<'_>,
    login: &LoginPolicy,
) -> Option<([u8; 16], u64)> {
    let seconds = login.remember.seconds()?;
    let rhost = rhost.filter(|rhost| host_address(rhost).is_some())?;
    Some((host_key(generation, rhost, service, seconds), seconds))
}

/// The state once a code of an account has proven that its token is there; `None` where it
/// is no right code.
#[cfg(any(test, feature = "daemon"))]
#[must_use]
pub fn proven_by(
    account: &Account,
    answer: &Answer,
    now: Timestamp,
    policy: &CodePolicy,
) -> Option<State> {
    match answer {
        Answer::Code(code) => match find(account, code, now, policy) {
            CodeMatch::Accepted(found) => Some(accept(account.state, found, now)),
            CodeMatch::OutOfStep(_) | CodeMatch::Refused(_) => None,
        },
        // That of paper proves no app.
        Answer::Recovery(_)
        | Answer::Empty
        | Answer::NotACode
        | Answer::PasswordAgain
        | Answer::RefusedBySshd => None,
    }
}

/// The state with the host of this login remembered, in the place of the one
/// that would be forgotten first.
pub(super) fn remember(
    mut state: State,
    circumstances: &Circumstances<'_>,
    login: &LoginPolicy,
) -> State {
    let Some((key, seconds)) = rememberable(state.generation, circumstances, login) else {
        return state;
    };
    let now = circumstances.now;
    let until = now.plus(seconds);
    // One that a wrong clock has left for later than that is remembered no longer. One of
    // another service, which may remember for longer, looks the same: a free place is first.
    let lasts = |host: &RememberedHost| if host.until > until { Timestamp(0) } else { host.until };
    let place =
        state.hosts.iter_mut().min_by_key(|host| (host.key != key, host.until > now, lasts(host)));
    if let Some(place) = place {
        *place = RememberedHost { key, until };
    }
    state
}

/// Why two codes do not resynchronize a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResyncError {
    /// No token shows them one after the other near here.
    #[error("these are not two codes in a row of any token of this account")]
    NotFound,
    /// Its clock is further off than `max_drift` permits.
    #[error("the token's clock is {0} codes off: more than code.max_drift permits to follow")]
    Drift(i32),
    /// One of them, or a later one, has been used.
    #[error("these codes, or later ones, have been used: wait for new ones")]
    Spent,
    /// A code of a later time has been used: the clock was wrong then, or is now.
    #[error(
        "a code of a later time has been used (the clock was wrong then, or is now): codes are \
         accepted again from {0} on; earlier only with a new secret (onetimectl enable --new-secret)"
    )]
    Ahead(Timestamp),
}

/// How far around a resynchronization by the admin looks: counters ahead, or
/// steps before and after.
const RESYNC_REACH: u64 = 3_000;

/// Finds the token that shows two codes in a row (RFC 4226 section 7.4, RFC
/// 6238 section 6), and stores its new position; both codes are spent.
///
/// # Errors
/// [`ResyncError`].
pub fn resync(
    account: &Account,
    codes: [&Code; 2],
    now: Timestamp,
    policy: &CodePolicy,
) -> Result<State, ResyncError> {
    let [one, two] = codes;
    for (id, token) in &account.record.tokens {
        let TokenState { next, .. } = account.state.token(*id);
        let (present, first, last) = match token.kind {
            MovingFactor::Totp { period } => {
                let present = now.step(period);
                (Some(present), present.minus(RESYNC_REACH), present.plus(RESYNC_REACH))
            }
            MovingFactor::Hotp => (None, next, next.plus(RESYNC_REACH)),
        };
        let in_a_row = |step: &Step| {
            token.newest_match(one, [*step].into_iter()).is_some()
                && token.newest_match(two, [step.plus(1)].into_iter()).is_some()
        };
        let Some(step) = (first.0..=last.0).map(Step).find(in_a_row) else { continue };
        if step < next {
            let ahead = codes_ahead(token, next, now, policy);
            return Err(ahead.map_or(ResyncError::Spent, ResyncError::Ahead));
        }
        let drift = present.map_or(0, |present| distance(present, step.plus(1)));
        if u64::from(drift.unsigned_abs()) > policy.max_drift.get() {
            return Err(ResyncError::Drift(drift));
        }
        let token = TokenState { next: step.plus(2), drift, resync: Step(0) };
        return Ok(account.state.with_token(*id, token));
    }
    Err(ResyncError::NotFound)
}
