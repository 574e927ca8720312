//! What the JSON exports of apps and password managers have in common: a list of entries,
//! each read by itself, so that one that is no good fails alone, and is named by its line.

use std::borrow::Cow;

use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ForeignEntry, ForeignToken, FormatError};

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

/// Reads the whole of a file.
///
/// # Errors
/// The line at which it is not what `program` writes. The reader's own words could quote it.
pub(super) fn whole<'a, T: Deserialize<'a>>(
    text: &'a str,
    program: &str,
) -> Result<T, FormatError> {
    serde_json::from_str(text).map_err(|error| {
        FormatError::new(error.line().max(1), format!("not JSON as {program} writes it"))
    })
}

/// Reads each entry of a list. `None` of `read` is an entry that is about no token.
pub(super) fn entries<'a, T: Deserialize<'a>>(
    text: &'a str,
    list: &[&'a RawValue],
    read: impl Fn(T, usize) -> Option<ForeignEntry>,
) -> Vec<ForeignEntry> {
    let (mut line, mut at) = (1_usize, 0_usize);
    let mut all = Vec::new();
    for raw in list {
        // The values are slices of the text, in its order.
        let offset = raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
        let passed = text.as_bytes().get(at..offset).unwrap_or_default();
        line = line.saturating_add(passed.iter().filter(|byte| **byte == b'\n').count());
        at = at.max(offset);
        match serde_json::from_str(raw.get()) {
            Ok(entry) => all.extend(read(entry, line)),
            Err(_) => {
                let error = FormatError::new(line, "the entry is not as its program writes it");
                let labels = vec![format!("line {line}")];
                all.push(ForeignEntry { user: None, labels, token: Err(error) });
            }
        }
    }
    all
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
