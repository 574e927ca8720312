//! One-time codes: what a token is, and whether a code is the one it shows at
//! a given step (RFC 4226 HOTP, RFC 6238 TOTP).
//!
//! The arithmetic is totp-rs's; this room gives it types that cannot be out
//! of range. It knows neither clock nor account: which steps are admissible
//! is decided in [`crate::login`].

use std::fmt;
use std::str::FromStr;

use rand::TryRng;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::fields::{WholeNumber, Word};

/// RFC 4648 base32 as authenticator apps expect it: uppercase, no padding.
const BASE32: base32::Alphabet = base32::Alphabet::Rfc4648 { padding: false };

/// Why a value is not a token's parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// Not base32 of RFC 4648.
    #[error("the secret is not base32 (letters A to Z and digits 2 to 7)")]
    SecretNotBase32,
    /// Outside [`Secret::MIN_BYTES`] to [`Secret::MAX_BYTES`].
    #[error("the secret has {0} bits; it needs {min} to {max}", min = Secret::MIN_BYTES * 8, max = Secret::MAX_BYTES * 8)]
    SecretLength(usize),
    /// Not a digest of RFC 6238.
    #[error("unknown algorithm: use SHA1, SHA256 or SHA512")]
    Algorithm,
    /// Not 6, 7 or 8.
    #[error("{0} digits: a code has 6 to 8 digits")]
    Digits(u64),
    /// Not 15 to 300 seconds.
    #[error("a period of {0} s: it must be 15 to 300 s")]
    Period(u64),
    /// Not a number at all.
    #[error("must be a whole number from {min} to {max}")]
    NotANumber {
        /// The least that it could be.
        min: u64,
        /// The greatest that it could be.
        max: u64,
    },
    /// Not a kind of token.
    #[error("unknown kind: use totp or hotp")]
    MovingFactor,
}

/// The key that token and server share (RFC 4226 section 4, R6).
///
/// It has no `Display`, its `Debug` is redacted, and it is overwritten when
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// 80 bits: what pam_google_authenticator issued for years. Own secrets
    /// have [`Secret::ISSUED_BYTES`].
    pub const MIN_BYTES: usize = 10;
    /// 512 bits: the block that HMAC-SHA1 and HMAC-SHA256 take unhashed.
    pub const MAX_BYTES: usize = 64;
    /// 160 bits, as RFC 4226 section 4 (R6) recommends.
    pub const ISSUED_BYTES: usize = 20;

    /// A new secret of [`Secret::ISSUED_BYTES`] from `rng`.
    ///
    /// # Errors
    /// Those of `rng`.
    pub fn generate<R: TryRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut bytes = Zeroizing::new(vec![0; Self::ISSUED_BYTES]);
        rng.try_fill_bytes(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The secret that these bytes are.
    ///
    /// # Errors
    /// [`CodeError::SecretLength`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, CodeError> {
        let bytes = Zeroizing::new(bytes);
        if (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(CodeError::SecretLength(bytes.len().saturating_mul(8)))
        }
    }

    /// Reads base32; case, spaces, hyphens and padding do not matter.
    ///
    /// # Errors
    /// [`CodeError::SecretNotBase32`], [`CodeError::SecretLength`].
    pub fn from_base32(text: &str) -> Result<Self, CodeError> {
        let mut plain = Zeroizing::new(String::with_capacity(text.len()));
        plain.extend(
            text.chars()
                .filter(|c| !c.is_ascii_whitespace() && !matches!(c, '-' | '='))
                .map(|c| c.to_ascii_uppercase()),
        );
        match base32::decode(BASE32, &plain) {
            Some(bytes) => Self::from_bytes(bytes),
            None => Err(CodeError::SecretNotBase32),
        }
    }

    /// The secret as a person or an app reads it.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(base32::encode(BASE32, &self.0))
    }

    /// The secret as other formats encode it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key as HMAC takes it (RFC 2104 section 2): with zeros at its end, up to the
    /// block. None is longer than a block ([`Secret::MAX_BYTES`]), so none is hashed first.
    #[must_use]
    pub fn padded(&self) -> Zeroizing<[u8; Self::MAX_BYTES]> {
        let mut padded = Zeroizing::new([0; Self::MAX_BYTES]);
        padded.iter_mut().zip(self.0.iter()).for_each(|(place, byte)| *place = *byte);
        padded
    }

    /// Whether both are one key to HMAC: they are if they differ only by zeros at the end.
    /// The time it takes does not say where they differ.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.padded().ct_eq(&*other.padded()).into()
    }

    /// How strong it is, in bits.
    #[must_use]
    pub fn bits(&self) -> usize {
        self.0.len().saturating_mul(8)
    }
}

/// From base32, and without a copy that is not wiped: whatever owns the text, the secret
/// is made from it where it is.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Base32;

        impl Visitor<'_> for Base32 {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret in base32")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                Secret::from_base32(text).map_err(E::custom)
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
                self.visit_str(&Zeroizing::new(text))
            }
        }

        deserializer.deserialize_str(Base32)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// The digest of the HMAC (RFC 6238 section 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1: what every app honours.
    #[default]
    Sha1,
    /// HMAC-SHA-256. Some apps accept it and compute SHA-1.
    Sha256,
    /// HMAC-SHA-512. Some apps accept it and compute SHA-1.
    Sha512,
}

impl Algorithm {
    /// The name in otpauth URIs and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    const fn digest(self) -> totp_rs::Algorithm {
        match self {
            Self::Sha1 => totp_rs::Algorithm::SHA1,
            Self::Sha256 => totp_rs::Algorithm::SHA256,
            Self::Sha512 => totp_rs::Algorithm::SHA512,
        }
    }
}

impl FromStr for Algorithm {
    type Err = CodeError;
    fn from_str(text: &str) -> Result<Self, CodeError> {
        [Self::Sha1, Self::Sha256, Self::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or(CodeError::Algorithm)
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Word::deserialize(deserializer).map(|Word(algorithm)| algorithm)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An integer that is only made within its range, from a number or from text.
macro_rules! ranged {
    ($(#[$doc:meta])* $name:ident($inner:ty) = $min:literal to $max:literal, default $default:literal, else $error:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name($inner);

        impl $name {
            /// As a number, within the range of the type.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = CodeError;
            fn try_from(number: u64) -> Result<Self, CodeError> {
                match <$inner>::try_from(number) {
                    Ok(inner) if ($min..=$max).contains(&inner) => Ok(Self(inner)),
                    Ok(_) | Err(_) => Err($error(number)),
                }
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                Self::from(value.0)
            }
        }

        impl FromStr for $name {
            type Err = CodeError;
            fn from_str(text: &str) -> Result<Self, CodeError> {
                let number = text.parse::<u64>();
                number.map_err(|_| CodeError::NotANumber { min: $min, max: $max })?.try_into()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = WholeNumber { min: $min, max: $max }.read(deserializer)?;
                number.try_into().map_err(D::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self($default)
            }
        }
    };
}

ranged!(
    /// Length of a code: 6 to 8 digits (RFC 4226 section 5.3).
    Digits(u8) = 6 to 8, default 6, else CodeError::Digits
);
ranged!(
    /// Length of a time step in seconds, 15 to 300 (X of RFC 6238 section 4.1).
    Period(u16) = 15 to 300, default 30, else CodeError::Period
);

/// A position of the token: the time step of TOTP (T of RFC 6238 section 4.2)
/// or the counter of HOTP (C of RFC 4226 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Step(pub u64);

impl Step {
    /// The position of a token that has shown all its codes. It has none itself: what
    /// comes after the code before it could not be told from what comes after its own.
    pub const END: Self = Self(u64::MAX);

    /// `count` positions later, at most [`Step::END`].
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }

    /// `count` positions earlier; nothing is before 0.
    #[must_use]
    pub const fn minus(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

/// What moves a token from one code to the next: the moving factor of RFC 4226.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovingFactor {
    /// Time (RFC 6238).
    Totp {
        /// Seconds a step lasts.
        period: Period,
    },
    /// A button (RFC 4226).
    Hotp,
}

impl MovingFactor {
    /// The name in otpauth URIs, records and configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Totp { .. } => "totp",
            Self::Hotp => "hotp",
        }
    }
}

/// What an authenticator app holds, and so do we.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The key that app and host share, 10 to 64 bytes.
    pub secret: Secret,
    /// The digest of the HMAC; the app has to use the same.
    pub algorithm: Algorithm,
    /// The length of its codes, 6 to 8.
    pub digits: Digits,
    /// By time or by counter.
    pub kind: MovingFactor,
}

impl Token {
    /// The newest of `steps` at which the token shows `code`; [`Step::END`] shows none.
    ///
    /// All steps are computed, whichever matches: the time taken does not
    /// say which one it was.
    #[must_use]
    pub fn newest_match(&self, code: &Code, steps: impl Iterator<Item = Step>) -> Option<Step> {
        let hotp = self.hotp();
        let steps = steps.filter(|step| *step != Step::END);
        steps.fold(None, |newest, step| match hotp.check(&code.0, step.0).map(Step) {
            Some(matched) => newest.max(Some(matched)),
            None => newest,
        })
    }

    /// The code that the token shows at `step`: what a file for another system
    /// has of a code that is spent.
    #[cfg(feature = "tool")]
    #[must_use]
    pub fn code_at(&self, step: Step) -> Zeroizing<String> {
        Zeroizing::new(self.hotp().generate(step.0).to_string())
    }

    /// A step of one second makes totp-rs take the position as it is.
    fn hotp(&self) -> totp_rs::Totp {
        totp_rs::Builder::new()
            .with_algorithm(self.algorithm.digest())
            .with_digits(self.digits.get())
            .with_secret(self.secret.0.as_slice())
            .with_step_duration(1)
            .with_skew(0)
            .build_noncompliant()
    }
}

/// A code as a person typed it: 6 to 8 digits. Overwritten when dropped;
/// `Debug` is redacted.
#[derive(Clone)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// Reads what was typed; spaces do not matter ("123 456" is how apps show it).
    ///
    /// `None` if it cannot be a code of any token.
    #[must_use]
    pub fn parse(typed: &[u8]) -> Option<Self> {
        // Reserved at once: a string that grows leaves copies behind.
        let mut digits = Zeroizing::new(String::with_capacity(8));
        for byte in typed.iter().filter(|byte| **byte != b' ') {
            if !byte.is_ascii_digit() || digits.len() == 8 {
                return None;
            }
            digits.push(char::from(*byte));
        }
        (digits.len() >= 6).then_some(Self(digits))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code([redacted])")
    }
}

/// A code for the day the phone is lost: 12 symbols, 59 bits. Overwritten when
/// dropped; `Debug` is redacted.
#[derive(Clone)]
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// No 0 and O, no 1, I and L.
    const SYMBOLS: &'static [u8] = b"23456789ABCDEFGHJKMNPQRSTUVWXYZ";
    /// How many symbols it has.
    pub const LENGTH: usize = 12;
    /// Characters of [`RecoveryCode::text`].
    pub const TEXT_LENGTH: usize = 14;

    /// Whether a byte that was typed can be a symbol, in either case.
    #[must_use]
    pub fn is_symbol(byte: &u8) -> bool {
        Self::SYMBOLS.contains(&byte.to_ascii_uppercase())
    }

    /// A new one from `rng`.
    ///
    /// # Errors
    /// Those of `rng`.
    pub fn generate<R: TryRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut code = Zeroizing::new(String::with_capacity(Self::LENGTH));
        while code.len() < Self::LENGTH {
            let mut byte = [0];
            rng.try_fill_bytes(&mut byte)?;
            // A multiple of 31: above, some symbols would be likelier.
            let [byte] = byte;
            if byte < 248 {
                let symbol = Self::SYMBOLS.get(usize::from(byte % 31));
                code.extend(symbol.map(|symbol| char::from(*symbol)));
            }
        }
        Ok(Self(code))
    }

    /// Reads what was typed; case, spaces and hyphens do not matter. `None` if
    /// it cannot be a recovery code.
    #[must_use]
    pub fn parse(typed: &[u8]) -> Option<Self> {
        let mut code = Zeroizing::new(String::with_capacity(Self::LENGTH));
        for byte in typed.iter().filter(|byte| !matches!(byte, b' ' | b'-')) {
            if !Self::is_symbol(byte) || code.len() == Self::LENGTH {
                return None;
            }
            code.push(char::from(byte.to_ascii_uppercase()));
        }
        (code.len() == Self::LENGTH).then_some(Self(code))
    }

    /// As people read it: three groups of four.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(Self::TEXT_LENGTH));
        for (index, symbol) in self.0.char_indices() {
            if index != 0 && index.is_multiple_of(4) {
                text.push('-');
            }
            text.push(symbol);
        }
        text
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self, salt: &[u8; 16]) -> [u8; 32] {
        Sha256::new().chain_update(salt).chain_update(self.0.as_bytes()).finalize().into()
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: &[u8], algorithm: Algorithm, digits: u64) -> Token {
        Token {
            secret: Secret::from_bytes(secret.to_vec()).unwrap(),
            algorithm,
            digits: Digits::try_from(digits).unwrap(),
            kind: MovingFactor::Hotp,
        }
    }

    /// What the token of RFC 4226's examples shows.
    fn shown(step: u64) -> String {
        let hotp = totp_rs::Builder::new()
            .with_secret(b"12345678901234567890".as_slice())
            .with_step_duration(1)
            .build_noncompliant();
        hotp.generate(step).to_string()
    }

    fn shows(token: &Token, code: &str, step: u64) -> bool {
        let code = Code::parse(code.as_bytes()).unwrap();
        token.newest_match(&code, [Step(step)].into_iter()) == Some(Step(step))
    }

    #[test]
    fn hotp_shows_the_codes_of_rfc_4226_appendix_d() {
        let token = token(b"12345678901234567890", Algorithm::Sha1, 6);
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583",
            "399871", "520489",
        ];
        for (counter, code) in (0..).zip(codes) {
            assert!(shows(&token, code, counter), "counter {counter}");
            assert!(!shows(&token, code, counter + 1), "counter {counter}");
        }
    }

    #[test]
    fn totp_shows_the_codes_of_rfc_6238_appendix_b_for_all_three_algorithms() {
        let seed = b"1234567890".repeat(7);
        let tokens = [
            token(&seed[..20], Algorithm::Sha1, 8),
            token(&seed[..32], Algorithm::Sha256, 8),
            token(&seed[..64], Algorithm::Sha512, 8),
        ];
        let rows: [(u64, [&str; 3]); 6] = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ];
        for (time, codes) in rows {
            for (token, code) in tokens.iter().zip(codes) {
                assert!(shows(token, code, time / 30), "{} at {time}", token.algorithm);
            }
        }
    }

    #[test]
    fn a_code_that_two_steps_show_is_matched_at_the_newer_one() {
        // Found by search: this token shows 6-digit code C at two near steps.
        let token = token(b"12345678901234567890", Algorithm::Sha1, 6);
        let (mut seen, mut found) = (std::collections::HashMap::new(), None);
        for step in 0..20_000_u64 {
            if let Some(earlier) = seen.insert(shown(step), step) {
                found = Some((earlier, step));
                break;
            }
        }
        let (earlier, later) = found.unwrap();
        let code = Code::parse(shown(later).as_bytes()).unwrap();
        let window = [Step(earlier), Step(later)].into_iter();
        assert_eq!(token.newest_match(&code, window.clone()), Some(Step(later)));
        assert_eq!(token.newest_match(&code, window.rev()), Some(Step(later)));
    }

    #[test]
    fn the_first_step_and_the_last_but_one_have_a_code_and_the_end_has_none() {
        let token = token(b"12345678901234567890", Algorithm::Sha1, 6);
        assert!(shows(&token, &shown(0), 0));
        assert!(shows(&token, &shown(u64::MAX - 1), u64::MAX - 1));
        assert!(!shows(&token, &shown(u64::MAX), u64::MAX));
        assert_eq!(Step(u64::MAX - 1).plus(1), Step::END);
    }

    #[test]
    fn keys_are_one_where_hmac_makes_the_same_codes_of_them() {
        let key = |bytes: &[u8]| Secret::from_bytes(bytes.to_vec()).unwrap();
        let longest = b"12345678901234567890\0".iter().chain(&[0; 43]).copied().collect::<Vec<_>>();
        let keys = [
            b"12345678901234567890".as_slice(),
            b"12345678901234567890\0",
            &longest,
            b"\x0012345678901234567890",
            b"1234567890123456789",
            b"1234567890123456789\0",
            b"12345678901234567890\0\x01",
        ];
        for (one, other) in keys.iter().flat_map(|one| keys.iter().map(move |other| (one, other))) {
            let same = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512].map(|algorithm| {
                let [one, other] = [one, other].map(|bytes| {
                    let hotp = totp_rs::Builder::new()
                        .with_algorithm(algorithm.digest())
                        .with_digits(8)
                        .with_secret(bytes.to_vec())
                        .with_step_duration(1)
                        .build_noncompliant();
                    [1, 2, 3].map(|step| hotp.generate(step).to_string())
                });
                one == other
            });
            assert_eq!([key(one).is_same_key(&key(other)); 3], same, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_code_is_not_parsed() {
        for typed in [
            "",
            "12345",
            "123456789",
            "12345a",
            "+12345",
            "-123456",
            "１２３４５６",
            "123456\n",
            "\u{8}\n\r\u{7f}INCORRECT",
            "0x1234",
        ] {
            assert!(Code::parse(typed.as_bytes()).is_none(), "{typed:?}");
        }
        assert!(Code::parse(&[b'1'; 10_000]).is_none());
        assert!(Code::parse(&[0xff, 0xfe, 0x31, 0x32, 0x33, 0x34]).is_none());
    }

    #[test]
    fn a_code_may_be_typed_as_the_app_shows_it() {
        let token = token(b"12345678901234567890", Algorithm::Sha1, 6);
        assert!(shows(&token, "755 224", 0));
        assert!(shows(&token, " 755224 ", 0));
    }

    #[test]
    fn a_code_of_another_length_does_not_match() {
        let token = token(b"12345678901234567890", Algorithm::Sha1, 6);
        assert!(!shows(&token, "0755224", 0));
        assert!(!shows(&token, "84755224", 0));
    }

    #[test]
    fn base32_is_read_as_people_type_it_and_written_as_apps_want_it() {
        let secret = Secret::from_base32("gezd gnbv-GY3TQOJQGEZDGNBVGY3TQOJQ==").unwrap();
        assert_eq!(*secret.to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(secret.bits(), 160);
        assert_eq!(secret.as_bytes(), b"12345678901234567890");
    }

    #[test]
    fn a_secret_is_read_by_serde_from_base32_and_never_quoted() {
        use serde::de::value::{self, CowStrDeserializer};
        let read = |text: &'static str| {
            let [borrowed, owned] = [text.into(), text.to_owned().into()].map(|text| {
                Secret::deserialize(CowStrDeserializer::<value::Error>::new(text))
                    .map_err(|error| error.to_string())
            });
            assert_eq!(borrowed, owned);
            borrowed
        };
        assert_eq!(read("gezdgnbvgy3tqojq"), Ok(Secret::from_bytes(b"1234567890".into()).unwrap()));
        for wrong in ["GEZDGNBV", "GEZ1GNBVGY3TQOJQ"] {
            assert!(!read(wrong).unwrap_err().contains(wrong));
        }
        let number = value::U8Deserializer::<value::Error>::new(5);
        let error = Secret::deserialize(number).unwrap_err().to_string();
        assert_eq!(error, "invalid type: integer `5`, expected a secret in base32");
    }

    #[test]
    fn secrets_out_of_range_are_refused() {
        assert_eq!(Secret::from_base32("GEZDGNBV"), Err(CodeError::SecretLength(40)));
        assert_eq!(Secret::from_base32("GEZ1GNBV"), Err(CodeError::SecretNotBase32));
        assert_eq!(Secret::from_bytes(vec![0; 65]), Err(CodeError::SecretLength(520)));
        assert!(Secret::from_bytes(vec![0; 10]).is_ok());
        assert!(Secret::from_bytes(vec![0; 9]).is_err());
        assert!(Secret::from_bytes(vec![0; 64]).is_ok());
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        for (digits, ok) in [(5, false), (6, true), (8, true), (9, false), (262, false)] {
            assert_eq!(Digits::try_from(digits).is_ok(), ok, "{digits}");
        }
        for (period, ok) in [(14, false), (15, true), (300, true), (301, false), (65_566, false)] {
            assert_eq!(Period::try_from(period).is_ok(), ok, "{period}");
        }
        let (min, max) = (6, 8);
        assert_eq!("six".parse::<Digits>(), Err(CodeError::NotANumber { min, max }));
        assert_eq!("9".parse::<Digits>(), Err(CodeError::Digits(9)));
        let (min, max) = (15, 300);
        assert_eq!("-30".parse::<Period>(), Err(CodeError::NotANumber { min, max }));
        assert_eq!("sha256".parse(), Ok(Algorithm::Sha256));
        assert_eq!(Algorithm::Sha256.to_string(), "SHA256");
        assert_eq!("MD5".parse::<Algorithm>(), Err(CodeError::Algorithm));
    }

    #[test]
    fn recovery_codes_are_readable_strong_and_read_as_people_type_them() {
        let code = RecoveryCode::generate(&mut rand::rngs::SysRng).unwrap();
        let text = code.text();
        assert_eq!(text.len(), 14);
        assert!(!text.contains(['0', 'O', '1', 'I', 'L']), "{}", *text);
        let other = RecoveryCode::generate(&mut rand::rngs::SysRng).unwrap();
        assert_ne!(*other.text(), *text);
        assert!((RecoveryCode::SYMBOLS.len() as f64).log2() * 12.0 > 50.0);
        let salt = [3; 16];
        for typed in [text.to_lowercase(), text.replace('-', ""), text.replace('-', " ")] {
            let read = RecoveryCode::parse(typed.as_bytes()).unwrap();
            assert_eq!(read.hash(&salt), code.hash(&salt));
        }
        assert_ne!(code.hash(&[4; 16]), code.hash(&salt));
        for typed in ["", "2345-6789-ABC", "2345-6789-ABCDE", "2345-6789-ABC0", "123456"] {
            assert!(RecoveryCode::parse(typed.as_bytes()).is_none(), "{typed}");
        }
    }

    /// Randomness that is known: one byte after the other.
    struct Scripted(Vec<u8>);

    impl rand::TryRng for Scripted {
        type Error = std::convert::Infallible;
        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            panic!("bytes are asked for")
        }
        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            panic!("bytes are asked for")
        }
        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill_with(|| self.0.remove(0));
            Ok(())
        }
    }

    #[test]
    fn each_symbol_of_a_recovery_code_is_equally_likely() {
        // 248 to 255 would make the first eight symbols likelier than the others.
        let text = |bytes: &[u8]| {
            let mut rng = Scripted([&[248, 255], bytes, &[0; 12]].concat());
            RecoveryCode::generate(&mut rng).unwrap().text().to_string()
        };
        assert_eq!(text(&[]), "2222-2222-2222");
        let all: Vec<u8> = (0..248).collect();
        for (block, symbols) in all.chunks(12).zip((0..).step_by(12)) {
            let expected: Vec<u8> = (symbols..symbols + block.len())
                .map(|index| RecoveryCode::SYMBOLS[index % 31])
                .collect();
            let expected = String::from_utf8(expected).unwrap();
            assert!(text(block).replace('-', "").starts_with(&expected), "{block:?}");
        }
    }

    #[test]
    fn secrets_and_codes_are_redacted_in_debug_output() {
        let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        let code = Code::parse(b"755224").unwrap();
        let recovery = RecoveryCode::parse(b"2345-6789-ABCD").unwrap();
        assert_eq!(
            format!("{secret:?} {code:?} {recovery:?}"),
            "Secret([redacted]) Code([redacted]) RecoveryCode([redacted])"
        );
    }
}
