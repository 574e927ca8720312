//! What the JSON exports of apps and password managers have in common: a list of entries,
//! each read by itself, so that one that is no good fails alone, and is named by its line.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{ForeignEntry, ForeignToken, FormatError, Found, MAX_LINE};

/// Objects and lists within each other; no export has a tenth of that.
const MAX_DEPTH: usize = 64;
/// Bytes; no name of a value is longer.
const MAX_KEY: usize = 1024;

/// What to do with a file that is encrypted.
const PLAIN: &str =
    "export without encryption, import that file, and overwrite it afterwards (shred -u)";

/// The error of a file that is encrypted by its program's own means.
pub(super) fn encrypted() -> FormatError {
    FormatError::new(1, "it is encrypted").with_remedy(PLAIN)
}

/// Whether a text is a JSON object that has all these keys somewhere.
pub(super) fn has_keys(text: &str, keys: &[&str]) -> bool {
    text.trim_start().starts_with('{') && keys.iter().all(|key| text.contains(key))
}

/// Reads the whole of a file, whose lists stay as they are written.
///
/// # Errors
/// The line at which it is not what `program` writes. The reader's own words could quote it.
pub(super) fn whole<'a, T: Deserialize<'a>>(
    text: &'a str,
    program: &str,
) -> Result<T, FormatError> {
    bounded(text)?;
    serde_json::from_str(text).map_err(|error| not_json(error.line(), program))
}

fn not_json(line: usize, program: &str) -> FormatError {
    FormatError::new(line.max(1), format!("not JSON as {program} writes it"))
}

/// What the reader keeps while it reads is bounded: what is open, and a name with escapes.
///
/// # Errors
/// The line that is too deep, or has too long a name.
fn bounded(text: &str) -> Result<(), FormatError> {
    let (mut line, mut depth, mut string) = (1_usize, 0_usize, None);
    let mut last = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match (string, byte) {
            (_, b'\n') => line = line.saturating_add(1),
            (Some(_), b'\\') => _ = bytes.next(),
            (Some(start), b'"') => (string, last) = (None, Some(at.saturating_sub(start))),
            (Some(_), _) => {}
            (None, b'"') => string = Some(at),
            (None, b'[' | b'{') => depth = depth.saturating_add(1),
            (None, b']' | b'}') => depth = depth.saturating_sub(1),
            (None, b':') if last.is_some_and(|length| length > MAX_KEY) => {
                let what = format!("a name of a value is longer than {MAX_KEY} bytes");
                return Err(FormatError::new(line, what));
            }
            (None, _) => {}
        }
        if depth > MAX_DEPTH {
            return Err(FormatError::new(line, "values are nested too deeply"));
        }
    }
    Ok(())
}

/// Reads each entry of a list of `text`, one by one. `None` of `read` is an entry that is
/// about no token.
///
/// # Errors
/// It is no list.
pub(super) fn entries<'a, T: Deserialize<'a>>(
    text: &'a str,
    list: &'a RawValue,
    program: &str,
    read: impl Fn(T, usize) -> Option<ForeignEntry>,
    found: &mut Found<'_>,
) -> Result<(), FormatError> {
    let (mut line, mut at) = (1_usize, 0_usize);
    // The values are slices of the text, in its order.
    let mut line_of = |part: &str| {
        let offset = part.as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let passed = text.as_bytes().get(at..offset).unwrap_or_default();
        line = line.saturating_add(passed.iter().filter(|byte| **byte == b'\n').count());
        at = at.max(offset);
        line
    };
    let start = line_of(list.get());
    let each = |raw: &'a RawValue| {
        let line = line_of(raw.get());
        match serde_json::from_str(raw.get()) {
            Ok(entry) => read(entry, line).into_iter().for_each(&mut *found),
            Err(_) => {
                let error = FormatError::new(line, "the entry is not as its program writes it");
                let labels = vec![format!("line {line}")];
                found(ForeignEntry { user: None, labels, token: Err(error) });
            }
        }
    };
    let mut reader = serde_json::Deserializer::from_str(list.get());
    let list = Each { each, of: PhantomData };
    reader.deserialize_seq(list).map_err(|_| not_json(start, program))
}

/// Calls back for each value of a list: none is kept.
struct Each<'a, F> {
    each: F,
    of: PhantomData<&'a RawValue>,
}

impl<'a, F: FnMut(&'a RawValue)> Visitor<'a> for Each<'a, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element()? {
            (self.each)(value);
        }
        Ok(())
    }
}

/// A text of an entry: a name, a secret, a word. It is no longer than a line may be.
pub(super) struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'a> Visitor<'a> for TextVisitor {
    type Value = Text<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a text of at most {MAX_LINE} bytes")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'a str) -> Result<Text<'a>, E> {
        match text.len() {
            0..=MAX_LINE => Ok(Text(Cow::Borrowed(text))),
            length => Err(E::invalid_length(length, &self)),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'a>, E> {
        match text.len() {
            0..=MAX_LINE => Ok(Text(Cow::Owned(text.to_owned()))),
            length => Err(E::invalid_length(length, &self)),
        }
    }
}

/// What an entry says of its token.
#[derive(Default)]
pub(super) struct Parameters<'a> {
    /// The word for time or counter.
    pub(super) kind: Option<&'a str>,
    /// In base32.
    pub(super) secret: Option<&'a str>,
    pub(super) algorithm: Option<&'a str>,
    pub(super) digits: Option<u64>,
    /// Seconds.
    pub(super) period: Option<u64>,
    pub(super) counter: Option<u64>,
    pub(super) issuer: Option<&'a str>,
}

impl Parameters<'_> {
    /// The token.
    ///
    /// # Errors
    /// Its codes could not be computed here.
    pub(super) fn token(&self) -> Result<ForeignToken, String> {
        let mut state = TokenState::default();
        let mut warnings = Vec::new();
        let kind = self.kind.unwrap_or("totp");
        let kind = if kind.eq_ignore_ascii_case("totp") {
            let period = self.period.map_or(Ok(Period::default()), Period::try_from);
            MovingFactor::Totp { period: period.map_err(|error| error.to_string())? }
        } else if kind.eq_ignore_ascii_case("hotp") {
            match self.counter {
                Some(counter) => state.next = Step(counter),
                None => warnings.push("the entry has no counter: it begins at 0".to_owned()),
            }
            MovingFactor::Hotp
        } else if kind.eq_ignore_ascii_case("steam") {
            return Err("a Steam token: its codes are letters, not digits".to_owned());
        } else {
            return Err("unknown kind of token: totp and hotp are known".to_owned());
        };
        let secret = self.secret.filter(|secret| !secret.is_empty()).ok_or("it has no secret")?;
        let secret = Secret::from_base32(secret).map_err(|error| error.to_string())?;
        let algorithm = self.algorithm.map_or(Ok(Algorithm::default()), str::parse);
        let algorithm = algorithm.map_err(|error| error.to_string())?;
        let digits = self.digits.map_or(Ok(Digits::default()), Digits::try_from);
        let digits = digits.map_err(|error| error.to_string())?;
        let mut found = ForeignToken::new(Token { secret, algorithm, digits, kind }, state);
        found.issuer = issuer(self.issuer);
        found.warnings = warnings;
        Ok(found)
    }

    /// An entry of this user's, or why it is none.
    pub(super) fn entry(
        &self,
        user: Option<&str>,
        labels: Vec<String>,
        line: usize,
    ) -> ForeignEntry {
        let token = self.token().map_err(|error| FormatError::new(line, error));
        let user = some(user).map(str::to_owned);
        let nameless = user.is_none().then(|| format!("line {line}"));
        ForeignEntry { user, labels: labels.into_iter().chain(nameless).collect(), token }
    }
}

/// What is not blank.
pub(super) fn some(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn issuer(text: Option<&str>) -> Option<String> {
    some(text).map(str::to_owned)
}

/// Names that are there, each once, with the issuer and the account as apps join them.
pub(super) fn labels(
    names: &[Option<&str>],
    issuer: Option<&str>,
    account: Option<&str>,
) -> Vec<String> {
    let joined =
        some(issuer).zip(some(account)).map(|(issuer, account)| format!("{issuer}:{account}"));
    let named = names.iter().filter_map(|name| some(*name)).map(Cow::Borrowed);
    let mut all: Vec<String> = Vec::new();
    for name in named.chain(joined.map(Cow::Owned)) {
        if !all.iter().any(|there| *there == *name) {
            all.push(name.into_owned());
        }
    }
    all
}
