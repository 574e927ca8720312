//! What an import keeps of its files until each user's turn comes: values one behind the
//! other in few bytes, and texts that many of them have once. So what is kept of a file is
//! hardly larger than the file, however many users are in it.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{self, ToolError};
use crate::formats::{ForeignToken, FormatError};

/// Bytes that are reserved at once. Nothing is moved when more is needed.
const CHUNK: usize = 64 * 1024;
/// So many different texts are kept: a file that has more has them to fill the memory.
const MOST_TEXTS: u16 = 1024;
/// What is said in the place of a text that is one too many.
const ONE_TEXT_MORE: &str =
    "one more of too many different things to say: import this part of the file alone to see it";

/// Where a value is. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    chunk: u32,
    at: u32,
}

/// Values one behind the other, overwritten when dropped.
#[derive(Debug, Default)]
pub(super) struct Packed {
    chunks: Vec<Zeroizing<Vec<u8>>>,
    count: usize,
}

impl Packed {
    /// Adds a value.
    ///
    /// # Errors
    /// It cannot be written so: none of ours is of such a kind.
    pub(super) fn push(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        let bytes = Zeroizing::new(postcard::to_allocvec(value)?);
        let room = |chunk: &Zeroizing<Vec<u8>>| chunk.capacity().saturating_sub(chunk.len());
        if self.chunks.last().map_or(0, room) < bytes.len() {
            self.chunks.push(Zeroizing::new(Vec::with_capacity(bytes.len().max(CHUNK))));
        }
        let chunk = self.chunks.last_mut().context("no room")?;
        chunk.extend_from_slice(&bytes);
        self.count = self.count.saturating_add(1);
        Ok(())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The value at this place, or its first field; `None` at the end.
    pub(super) fn get<'a, T: Deserialize<'a>>(&'a self, place: Place) -> Option<T> {
        postcard::from_bytes(self.rest(place)?).ok()
    }

    fn rest(&self, place: Place) -> Option<&[u8]> {
        let chunk = self.chunks.get(usize::try_from(place.chunk).ok()?)?;
        chunk.get(usize::try_from(place.at).ok()?..)
    }

    /// All values, in the order in which they were added.
    pub(super) fn iter<'a, T: Deserialize<'a>>(&'a self) -> impl Iterator<Item = (Place, T)> {
        let chunks = self.chunks.iter().zip(0_u32..);
        chunks.flat_map(|(chunk, number)| {
            let mut rest = chunk.as_slice();
            std::iter::from_fn(move || {
                let at = u32::try_from(chunk.len().saturating_sub(rest.len())).ok()?;
                if rest.is_empty() {
                    return None;
                }
                let (value, after) = postcard::take_from_bytes(rest).ok()?;
                rest = after;
                Some((Place { chunk: number, at }, value))
            })
        })
    }

    /// That all values are of this type, so that [`Self::iter`] leaves none out.
    ///
    /// # Errors
    /// They are not.
    pub(super) fn ensure_all<'a, T: Deserialize<'a>>(&'a self) -> anyhow::Result<()> {
        ensure!(self.iter::<T>().count() == self.count, "what was read cannot be read again");
        Ok(())
    }
}

/// Where the values are whose first field is a name, by that name; of one name in order.
#[derive(Debug)]
pub(super) struct Index(Vec<Place>);

impl Index {
    /// Of values of this type.
    pub(super) fn of<'a, T: Deserialize<'a>>(values: &'a Packed) -> Self {
        let mut places = Vec::with_capacity(values.count());
        places.extend(values.iter::<T>().map(|(place, _)| place));
        places.sort_unstable_by_key(|place| (values.get::<&str>(*place), *place));
        Self(places)
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The values of a name: the number of the first, and where they are.
    pub(super) fn find(&self, values: &Packed, name: &str) -> (usize, &[Place]) {
        let name_at = |place: &Place| values.get::<&str>(*place).unwrap_or_default();
        let start = self.0.partition_point(|place| name_at(place) < name);
        let rest = self.0.get(start..).unwrap_or_default();
        let count = rest.partition_point(|place| name_at(place) == name);
        (start, rest.get(..count).unwrap_or_default())
    }
}

/// Texts that many values have: errors, notes, remedies.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: Vec<String>,
    numbers: HashMap<String, u16>,
    remedies: Vec<&'static str>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u16 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u16::try_from(self.all.len()).unwrap_or(MOST_TEXTS);
        if number >= MOST_TEXTS {
            return MOST_TEXTS;
        }
        self.all.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn text(&self, number: u16) -> &str {
        self.all.get(usize::from(number)).map_or(ONE_TEXT_MORE, String::as_str)
    }

    fn remedy(&mut self, remedy: &'static str) -> u8 {
        let known = self.remedies.iter().position(|known| *known == remedy);
        let number = known.unwrap_or_else(|| {
            self.remedies.push(remedy);
            self.remedies.len().saturating_sub(1)
        });
        // The tool has some dozens.
        u8::try_from(number).unwrap_or(u8::MAX)
    }
}

/// What is wrong, packed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Problem<'a> {
    line: Option<usize>,
    #[serde(borrow)]
    what: Words<'a>,
    remedy: Option<u8>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Words<'a> {
    /// By its number in [`Texts`].
    Shared(u16),
    /// Of this one alone.
    Own(&'a str),
}

impl<'a> Problem<'a> {
    /// One that a format has with a line.
    pub(super) fn of_format(error: &FormatError, texts: &mut Texts) -> Self {
        Self {
            line: Some(error.line),
            what: Words::Shared(texts.number(&error.what)),
            remedy: error.remedy.map(|remedy| texts.remedy(remedy)),
        }
    }

    /// One that many may have.
    pub(super) fn shared(error: &anyhow::Error, texts: &mut Texts) -> Self {
        Self {
            line: None,
            what: Words::Shared(texts.number(&error::text(error))),
            remedy: error::remedy(error).map(|remedy| texts.remedy(remedy)),
        }
    }

    /// One that names a file; `text` is [`error::text`] of it.
    pub(super) fn own(text: &'a str, error: &anyhow::Error, texts: &mut Texts) -> Self {
        let remedy = error::remedy(error).map(|remedy| texts.remedy(remedy));
        Self { line: None, what: Words::Own(text), remedy }
    }

    /// The same with the line that it is about.
    pub(super) fn in_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }

    /// The error again.
    pub(super) fn error(&self, texts: &Texts) -> anyhow::Error {
        let what = match self.what {
            Words::Shared(number) => texts.text(number),
            Words::Own(text) => text,
        };
        let what = match self.line {
            Some(line) => format!("line {line}: {what}"),
            None => what.to_owned(),
        };
        let remedy = self.remedy.and_then(|number| texts.remedies.get(usize::from(number)));
        ToolError::known(what, remedy.copied()).into()
    }
}

/// A [`ForeignToken`], packed.
#[derive(Serialize, Deserialize)]
pub(super) struct PackedToken<'a> {
    secret: &'a [u8],
    algorithm: Digest,
    digits: u64,
    /// Seconds of a step; `None` of a counter token.
    period: Option<u64>,
    next: u64,
    drift: i32,
    resync: u64,
    #[serde(borrow)]
    issuer: Option<&'a str>,
    not_carried_over: Vec<u16>,
    warnings: Vec<u16>,
}

/// [`Algorithm`], packed.
#[derive(Serialize, Deserialize)]
enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl<'a> PackedToken<'a> {
    pub(super) fn of(found: &'a ForeignToken, texts: &mut Texts) -> Self {
        let ForeignToken { token, state, issuer, not_carried_over, warnings } = found;
        let TokenState { next, drift, resync } = *state;
        let mut numbers =
            |all: &[String]| all.iter().map(|text| texts.number(text)).collect::<Vec<_>>();
        Self {
            secret: token.secret.as_bytes(),
            algorithm: match token.algorithm {
                Algorithm::Sha1 => Digest::Sha1,
                Algorithm::Sha256 => Digest::Sha256,
                Algorithm::Sha512 => Digest::Sha512,
            },
            digits: token.digits.into(),
            period: match token.kind {
                MovingFactor::Totp { period } => Some(period.into()),
                MovingFactor::Hotp => None,
            },
            next: next.0,
            drift,
            resync: resync.0,
            issuer: issuer.as_deref(),
            not_carried_over: numbers(not_carried_over),
            warnings: numbers(warnings),
        }
    }

    /// The token again.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn token(&self, texts: &Texts) -> anyhow::Result<ForeignToken> {
        let text = |number: &u16| texts.text(*number).to_owned();
        let token = Token {
            secret: Secret::from_bytes(self.secret.to_vec())?,
            algorithm: match self.algorithm {
                Digest::Sha1 => Algorithm::Sha1,
                Digest::Sha256 => Algorithm::Sha256,
                Digest::Sha512 => Algorithm::Sha512,
            },
            digits: Digits::try_from(self.digits)?,
            kind: match self.period {
                Some(period) => MovingFactor::Totp { period: Period::try_from(period)? },
                None => MovingFactor::Hotp,
            },
        };
        Ok(ForeignToken {
            token,
            state: TokenState {
                next: Step(self.next),
                drift: self.drift,
                resync: Step(self.resync),
            },
            issuer: self.issuer.map(str::to_owned),
            not_carried_over: self.not_carried_over.iter().map(text).collect(),
            warnings: self.warnings.iter().map(text).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_order_and_by_name_whatever_their_length() {
        let names: Vec<_> = (0..20_000_u32).map(|n| format!("user{}", n % 7_000)).collect();
        let long = "x".repeat(3 * CHUNK);
        let mut packed = Packed::default();
        for (number, name) in names.iter().chain([&long, &names[3]]).enumerate() {
            packed.push(&(name, number)).unwrap();
        }
        packed.ensure_all::<(&str, usize)>().unwrap();
        assert!(packed.ensure_all::<(&str, &str)>().is_err());
        let all: Vec<(&str, usize)> = packed.iter().map(|(_, value)| value).collect();
        assert_eq!(all.len(), packed.count());
        assert!(all.iter().zip(0..).all(|((_, number), expected)| *number == expected));
        let index = Index::of::<(&str, usize)>(&packed);
        let at = |name: &str| -> Vec<usize> {
            let (_, places) = index.find(&packed, name);
            let values = places.iter().map(|place| packed.get::<(&str, usize)>(*place).unwrap());
            values.map(|(_, number)| number).collect()
        };
        assert_eq!(at("user3"), [3, 7_003, 14_003, 20_001]);
        assert_eq!(at(&long), [20_000]);
        assert!(at("user").is_empty() && at("z").is_empty());
        assert_eq!((index.len(), index.find(&packed, "user0").0), (20_002, 0));
    }

    #[test]
    fn an_error_comes_back_with_its_words_and_its_remedy_and_too_many_different_ones_are_one() {
        let mut texts = Texts::default();
        let error = FormatError { line: 7, what: "no key".to_owned(), remedy: Some("add one") };
        let again = Problem::of_format(&error, &mut texts).error(&texts);
        assert_eq!(
            (error::text(&again).as_str(), error::remedy(&again)),
            ("line 7: no key", Some("add one"))
        );
        let problems: Vec<_> = (0..MOST_TEXTS.saturating_add(9))
            .map(|number| Problem::shared(&anyhow::anyhow!("fault {number}"), &mut texts))
            .collect();
        let said = |number: usize| error::text(&problems[number].error(&texts));
        assert_eq!(said(1000), "fault 1000");
        assert_eq!(said(1030), ONE_TEXT_MORE);
        assert_eq!(texts.all.len(), usize::from(MOST_TEXTS));
    }
}
