//! The life of an account, pure: what was issued ([`Record`]), what logins
//! have done with it ([`State`]), and the [`Phase`] that follows from both.
//!
//! An account without a record is disabled; with one it is pending until a
//! code has succeeded, then active. How the two lie on disk is the business
//! of [`crate::store`]; who gets in is decided in [`crate::login`].

use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use time::OffsetDateTime;

use crate::bytes_as_text::{Readable, canonical, to_bytes};
use crate::code::{Period, RecoveryCode, Step, Token};

/// How many tokens an account can have: the state has room for so many.
pub const MAX_TOKENS: usize = 4;

/// Seconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// So many seconds later; never wraps.
    #[must_use]
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The time step that it is in: T of RFC 6238 section 4.2, with T0 = 0.
    #[must_use]
    pub fn step(self, period: Period) -> Step {
        Step(self.0.checked_div(u64::from(period.get())).unwrap_or(0))
    }

    /// When a time step begins.
    #[must_use]
    pub fn of_step(step: Step, period: Period) -> Self {
        Self(step.0.saturating_mul(u64::from(period.get())))
    }

    /// Seconds from `earlier` to here; 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// To the minute, for people: `2026-11-28 04:31 UTC`.
    #[must_use]
    pub fn to_minute(self) -> String {
        let time = self.date_time();
        format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
    }

    /// For programs, by RFC 3339: `2026-11-28T04:31:00Z`.
    #[cfg(any(feature = "tool", feature = "user"))]
    #[must_use]
    pub fn to_rfc_3339(self) -> String {
        let time = self.date_time();
        let (hour, minute, second) = time.to_hms();
        format!("{}T{hour:02}:{minute:02}:{second:02}Z", time.date())
    }

    /// In UTC; of times after the year 9999, its last second.
    fn date_time(self) -> OffsetDateTime {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX).min(LAST_SECOND);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

/// 9999-12-31 23:59:59, which is as far as RFC 3339 goes.
const LAST_SECOND: i64 = 253_402_300_799;

/// As a date in UTC, to the second: neither a login nor a log knows the reader's time zone.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.date_time();
        let (hour, minute, second) = time.to_hms();
        write!(f, "{} {hour:02}:{minute:02}:{second:02} UTC", time.date())
    }
}

/// The canonical name of a user: what the password database calls them, so
/// that an alias is not a second account. A name that is not UTF-8 is here as
/// [`crate::bytes_as_text`] has it; shown, such a byte is `\xE9`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(String);

/// Why a text is not a user's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserNameError {
    /// No name.
    #[error("a user name must not be empty")]
    Empty,
    /// A control character (a NUL or a newline, for instance).
    #[error("a user name must not contain control characters")]
    Control,
    /// Longer than [`UserName::MAX_BYTES`].
    #[error("a user name must not be longer than {} bytes", UserName::MAX_BYTES)]
    TooLong,
}

impl UserName {
    /// LOGIN_NAME_MAX of Linux, less the NUL.
    pub const MAX_BYTES: usize = 255;

    /// The name in `text`.
    ///
    /// # Errors
    /// [`UserNameError`]; slashes, dots and the like are harmless here,
    /// because [`crate::store`] encodes the name before it becomes a path.
    pub fn new(text: impl Into<String>) -> Result<Self, UserNameError> {
        let text = canonical(text.into());
        if text.is_empty() {
            Err(UserNameError::Empty)
        } else if text.chars().any(char::is_control) {
            Err(UserNameError::Control)
        } else if to_bytes(&text).len() > Self::MAX_BYTES {
            Err(UserNameError::TooLong)
        } else {
            Ok(Self(text))
        }
    }

    /// The name as text, which leads to its bytes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Readable(&self.0).fmt(f)
    }
}

/// Bytes that are written as lowercase hexadecimal digits.
macro_rules! hexadecimal {
    ($(#[$doc:meta])* $name:ident of $bytes:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
                pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl FromStr for $name {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let error = concat!("must be ", $bytes, " bytes in lowercase hexadecimal digits");
                let (pairs, rest) = text.as_bytes().as_chunks::<2>();
                if pairs.len() != $bytes || !rest.is_empty() {
                    return Err(error);
                }
                let mut bytes = [0; $bytes];
                for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
                    *byte = nibble(*high).zip(nibble(*low)).map(|(h, l)| h << 4 | l).ok_or(error)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit.saturating_sub(b'0')),
        b'a'..=b'f' => Some(digit.saturating_sub(b'a').saturating_add(10)),
        _ => None,
    }
}

hexadecimal!(
    /// Which issue of an account a record and a state belong to: 128 random bits,
    /// so that a state can never be taken for that of another secret.
    Generation of 16
);
hexadecimal!(
    /// What makes equal recovery codes of two accounts hash differently.
    Salt of 16
);
hexadecimal!(
    /// What is stored of a recovery code.
    Hash of 32
);

impl Generation {
    /// A new one from `rng`.
    ///
    /// # Errors
    /// Those of `rng`.
    pub fn generate<R: TryRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut bytes = [0; 16];
        rng.try_fill_bytes(&mut bytes)?;
        Ok(Self(bytes))
    }
}

/// Whose uid a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uid {
    /// The uid that the user had when the record was issued.
    Is(u32),
    /// The user did not exist when it was issued (`enable --force`).
    Any,
}

impl Uid {
    /// Whether the record is for the user with this uid.
    #[must_use]
    pub const fn admits(self, uid: u32) -> bool {
        match self {
            Self::Is(recorded) => recorded == uid,
            Self::Any => true,
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(uid) => uid.fmt(f),
            Self::Any => f.write_str("any"),
        }
    }
}

/// Which of an account's tokens: its place in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenId {
    /// The first one, the only one of most accounts.
    First = 1,
    /// The one with id 2.
    Second = 2,
    /// The one with id 3.
    Third = 3,
    /// The one with id 4, the last that a state has room for.
    Fourth = 4,
}

impl TokenId {
    /// The first token, the only one of most accounts.
    pub const FIRST: Self = Self::First;

    /// Every place there is.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::First, Self::Second, Self::Third, Self::Fourth].into_iter()
    }

    /// The token with this number.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        Self::all().find(|id| id.get() == number)
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn get(self) -> u8 {
        self as u8
    }
}

/// What was issued to a user. Only the tool makes one; logins read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The canonical name of the user; it decides the name of the file.
    pub user: UserName,
    /// Their uid when it was issued: a re-created user does not inherit it.
    pub uid: Uid,
    /// Which issue this is.
    pub generation: Generation,
    /// Who issued it, as the app shows it.
    pub issuer: String,
    /// When the record was issued, to the second; the deadline counts from then.
    pub issued_at: Timestamp,
    /// Until when it must be activated; after that a pending user is refused.
    pub deadline: Option<Timestamp>,
    /// The tokens, by ascending id: 1 to [`MAX_TOKENS`] of them.
    pub tokens: Vec<(TokenId, Token)>,
    /// Codes for the day the phone is lost.
    pub recovery: Option<Recovery>,
}

/// The most recovery codes of a set: the state has room for so many.
pub const MAX_RECOVERY_CODES: usize = 16;

/// A set of recovery codes, as hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Which set, so that spent codes of another one do not count.
    pub set: u32,
    /// Goes into each hash.
    pub salt: Salt,
    /// SHA-256 of salt and code, for each code.
    pub hashes: Vec<Hash>,
}

impl Recovery {
    /// A new set of `count` codes, and what it stores of them.
    ///
    /// # Errors
    /// Those of `rng`.
    pub fn generate<R: TryRng>(
        rng: &mut R,
        count: usize,
    ) -> Result<(Self, Vec<RecoveryCode>), R::Error> {
        let (mut set, mut salt) = ([0; 4], [0; 16]);
        rng.try_fill_bytes(&mut set)?;
        rng.try_fill_bytes(&mut salt)?;
        let codes = (0..count.min(MAX_RECOVERY_CODES))
            .map(|_| RecoveryCode::generate(rng))
            .collect::<Result<Vec<_>, _>>()?;
        let hashes = codes.iter().map(|code| Hash(code.hash(&salt))).collect();
        Ok((Self { set: u32::from_le_bytes(set), salt: Salt(salt), hashes }, codes))
    }
}

/// The state of one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenState {
    /// The first step whose code has not been spent or passed over: HOTP's
    /// next counter (RFC 4226 section 7.2), TOTP's last accepted step plus
    /// one. No login decreases it.
    pub next: Step,
    /// Steps by which a TOTP token's clock is ahead of ours, or behind if
    /// negative (RFC 6238 section 6).
    pub drift: i32,
    /// The counter of an HOTP code far ahead, whose successor would prove that
    /// the token is there (RFC 4226 section 7.4); 0: none.
    pub resync: Step,
}

/// Wrong codes given together with the right password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures {
    /// How many since `since`.
    pub count: u32,
    /// When the first of them was counted.
    pub since: Timestamp,
    /// How often in a row this has locked the account: the next lock doubles.
    pub lockouts: u32,
    /// Until when no code is accepted; in the past when not locked.
    pub locked_until: Timestamp,
}

impl Failures {
    /// How many count at `now`, when they are forgotten after `period` seconds.
    #[must_use]
    pub const fn recent(self, now: Timestamp, period: u64) -> u32 {
        if now.since(self.since) < period { self.count } else { 0 }
    }
}

/// A host from which no code is asked for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RememberedHost {
    /// Hash of generation, address and service.
    pub key: [u8; 16],
    /// Until when; 0: no host.
    pub until: Timestamp,
}

/// How many hosts are remembered.
pub const MAX_HOSTS: usize = 8;

/// Which recovery codes have been spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpentRecovery {
    /// The set that they belong to.
    pub set: u32,
    /// One bit for each code, the first one's the lowest.
    pub bits: u16,
}

/// What logins have done with an issued record. Fixed size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Which issue it belongs to.
    pub generation: Generation,
    /// When the first code succeeded.
    pub activated_at: Option<Timestamp>,
    /// When a code last succeeded.
    pub last_login: Option<Timestamp>,
    /// Wrong codes, and the lock they led to.
    pub failures: Failures,
    /// The state of each token, by id.
    pub(crate) tokens: [TokenState; MAX_TOKENS],
    /// Recovery codes that have been used.
    pub recovery: SpentRecovery,
    /// Hosts from which no code is asked for now.
    pub hosts: [RememberedHost; MAX_HOSTS],
}

impl State {
    /// The state of a record just issued.
    #[must_use]
    pub fn fresh(generation: Generation) -> Self {
        Self {
            generation,
            activated_at: None,
            last_login: None,
            failures: Failures::default(),
            tokens: [TokenState::default(); MAX_TOKENS],
            recovery: SpentRecovery::default(),
            hosts: [RememberedHost::default(); MAX_HOSTS],
        }
    }

    /// The same state, with other failures.
    #[must_use]
    pub const fn with_failures(mut self, failures: Failures) -> Self {
        self.failures = failures;
        self
    }

    /// Where token `id` is.
    #[must_use]
    pub const fn token(&self, id: TokenId) -> TokenState {
        let [first, second, third, fourth] = self.tokens;
        match id {
            TokenId::First => first,
            TokenId::Second => second,
            TokenId::Third => third,
            TokenId::Fourth => fourth,
        }
    }

    /// The same state, but token `id` is at `token`.
    #[must_use]
    pub const fn with_token(mut self, id: TokenId, token: TokenState) -> Self {
        let [first, second, third, fourth] = &mut self.tokens;
        *match id {
            TokenId::First => first,
            TokenId::Second => second,
            TokenId::Third => third,
            TokenId::Fourth => fourth,
        } = token;
        self
    }
}

/// Where an issued account is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Issued; no code has succeeded yet.
    Pending,
    /// A code is needed at every login.
    Active {
        /// When the first code succeeded.
        since: Timestamp,
    },
}

/// A record and its state, of the same generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What was issued; logins do not change it.
    pub record: Record,
    /// What logins have done.
    pub state: State,
}

impl Account {
    /// The account of a record just issued, which no login has touched.
    #[must_use]
    pub fn fresh(record: Record) -> Self {
        Self { state: State::fresh(record.generation), record }
    }

    /// Where it is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state.activated_at {
            None => Phase::Pending,
            Some(since) => Phase::Active { since },
        }
    }

    /// Which codes of the present set are spent, one bit each.
    #[must_use]
    pub fn spent_recovery_codes(&self) -> u16 {
        match &self.record.recovery {
            Some(recovery) if recovery.set == self.state.recovery.set => self.state.recovery.bits,
            Some(_) | None => 0,
        }
    }

    /// How many recovery codes are left; `None` without a set.
    #[must_use]
    pub fn recovery_codes_left(&self) -> Option<usize> {
        let recovery = self.record.recovery.as_ref()?;
        let spent = usize::try_from(self.spent_recovery_codes().count_ones()).unwrap_or(0);
        Some(recovery.hashes.len().saturating_sub(spent))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::code::{Algorithm, Digits, MovingFactor, Secret};

    /// A record whose one token has the secret of RFC 4226's examples.
    pub(crate) fn record(kind: MovingFactor) -> Record {
        Record {
            user: UserName::new("alice").unwrap(),
            uid: Uid::Is(2001),
            generation: Generation([7; 16]),
            issuer: "host.example.org".to_owned(),
            issued_at: Timestamp(1_700_000_000),
            deadline: None,
            recovery: None,
            tokens: vec![(
                TokenId::FIRST,
                Token {
                    secret: Secret::from_bytes(b"12345678901234567890".to_vec()).unwrap(),
                    algorithm: Algorithm::Sha1,
                    digits: Digits::default(),
                    kind,
                },
            )],
        }
    }

    #[test]
    fn a_time_is_written_with_its_zone_however_late_it_is() {
        let time = Timestamp(1_700_000_000);
        assert_eq!(time.to_string(), "2023-11-14 22:13:20 UTC");
        assert_eq!(time.to_minute(), "2023-11-14 22:13 UTC");
        for late in [253_402_300_799, 253_402_300_800, u64::MAX] {
            assert_eq!(Timestamp(late).to_string(), "9999-12-31 23:59:59 UTC");
            assert_eq!(Timestamp(late).to_minute(), "9999-12-31 23:59 UTC");
        }
    }

    #[cfg(feature = "tool")]
    #[test]
    fn a_time_for_programs_is_that_of_rfc_3339_however_late_it_is() {
        assert_eq!(Timestamp(1_700_000_000).to_rfc_3339(), "2023-11-14T22:13:20Z");
        for late in [253_402_300_799, 253_402_300_800, u64::MAX] {
            assert_eq!(Timestamp(late).to_rfc_3339(), "9999-12-31T23:59:59Z");
        }
    }

    #[test]
    fn a_record_is_for_the_uid_it_was_issued_for_or_for_any() {
        assert!(Uid::Is(2001).admits(2001));
        assert!(!Uid::Is(2001).admits(2002));
        assert!(Uid::Any.admits(2002));
    }

    #[test]
    fn bytes_are_read_as_they_are_written_in_lowercase_digits_and_to_their_number() {
        let written = "00019a9fa0aff9ff0123456789abcdef";
        let read: Generation = written.parse().unwrap();
        assert_eq!(read.0[..8], [0x00, 0x01, 0x9a, 0x9f, 0xa0, 0xaf, 0xf9, 0xff]);
        assert_eq!(read.to_string(), written);
        for wrong in
            [&written[..30], &written[..31], &format!("{written}0"), &format!("{written}00")]
        {
            assert!(wrong.parse::<Generation>().is_err(), "{wrong}");
        }
        for wrong in ["A", "g", "/", ":", "`", " ", "\u{fc}"] {
            assert!(written.replacen('0', wrong, 1).parse::<Generation>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_and_uids_are_reported_as_the_record_has_them() {
        assert_eq!(UserName::new("alice").unwrap().to_string(), "alice");
        assert_eq!(Uid::Is(2001).to_string(), "2001");
        assert_eq!(Uid::Any.to_string(), "any");
    }

    #[test]
    fn names_that_cannot_be_users_are_refused_and_hostile_ones_are_only_names() {
        assert_eq!(UserName::new(""), Err(UserNameError::Empty));
        assert_eq!(UserName::new("a\nb"), Err(UserNameError::Control));
        assert_eq!(UserName::new("a\u{10FF0A}b"), Err(UserNameError::Control));
        assert_eq!(UserName::new("a\0b"), Err(UserNameError::Control));
        assert_eq!(UserName::new("x".repeat(256)), Err(UserNameError::TooLong));
        for name in ["../../x", "a/b", "%", "Ünïcode", "a b"] {
            assert_eq!(UserName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn each_token_has_its_own_place_in_the_state() {
        let mut state = State::fresh(Generation([1; 16]));
        for id in TokenId::all() {
            state = state.with_token(
                id,
                TokenState { next: Step(u64::from(id.get())), ..TokenState::default() },
            );
        }
        for id in TokenId::all() {
            assert_eq!(state.token(id).next, Step(u64::from(id.get())));
        }
    }
}
