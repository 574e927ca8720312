//! Up to where the codes of a key are spent that is no longer in force, so that a key
//! which comes back does not bring its used codes with it. Whatever changes which keys an
//! account has goes through here: keys that go are remembered first, keys that come
//! begin where they were. What is remembered is a hash of the key and a position; it is
//! about keys, not users, and no login reads it.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::StoreError;
use super::accounts::Store;
use super::backend::Backend;
use crate::account::{Account, Hash, Record, State, Timestamp, TokenId, TokenState};
use crate::code::{MovingFactor, Step, Token};
use crate::config::{MaxDrift, Window};
use crate::fields::Word;

/// Steps by which an accepted code of a time token can have been ahead, whatever the
/// configuration was.
const FARTHEST: u64 = Window::MOST.saturating_add(MaxDrift::MOST);

/// What is hashed first, so that the hash is that of no other thing.
const DOMAIN: &[u8] = b"pam_onetime: a key and what moves it";

/// Names a key together with what its codes are made by, and does not betray it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(Hash);

impl Fingerprint {
    /// That of a token: equal for tokens that show the same codes at the same positions.
    /// How many digits they have makes no difference: a code of six is the end of one of
    /// eight.
    fn of(token: &Token) -> Self {
        let period = match token.kind {
            MovingFactor::Totp { period } => period.get(),
            MovingFactor::Hotp => 0,
        };
        let hash = Sha256::new()
            .chain_update(DOMAIN)
            .chain_update([0])
            .chain_update(token.algorithm.name())
            .chain_update([0])
            .chain_update(period.to_le_bytes())
            .chain_update(token.secret.padded())
            .finalize();
        Self(Hash(hash.into()))
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What is remembered of a key. Each field must be there but `expires`, and no other may.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The first position whose code is not spent.
    next: Word<u64>,
    /// From when on nothing depends on it; absent for a hotp token.
    expires: Option<u64>,
}

impl Entry {
    fn of(token: &Token, next: Step) -> Self {
        let expires = match token.kind {
            MovingFactor::Totp { period } => {
                let end = Timestamp::of_step(next.plus(FARTHEST).plus(1), period);
                Some(end.0.min(i64::MAX.unsigned_abs()))
            }
            MovingFactor::Hotp => None,
        };
        Self { next: Word(next.0), expires }
    }

    fn read(text: &str) -> Result<Self, &'static str> {
        toml::from_str(text).map_err(|_| "it does not say which codes of a key are spent")
    }

    fn text(&self) -> String {
        let Self { next: Word(next), expires } = self;
        let expires = expires.map(|time| format!("expires = {time}\n")).unwrap_or_default();
        format!("next = \"{next}\"\n{expires}")
    }
}

/// The first position that no accepted code can have had, `ahead` steps being the most
/// that one was ahead; `None`: a hotp token's, which time does not say.
pub(super) fn first_unspent(token: &Token, now: Timestamp, ahead: u64) -> Option<Step> {
    match token.kind {
        MovingFactor::Totp { period } => Some(now.step(period).plus(ahead).plus(1)),
        MovingFactor::Hotp => None,
    }
}

impl<B: Backend> Store<B> {
    /// Does all that is to be done before `next` takes the place of `old`: no two of its
    /// tokens have one key, the keys that go are remembered, and those that come begin
    /// where they were. `old_state` is `None` where it was lost.
    ///
    /// # Errors
    /// [`StoreError`]: then `next` must not be put in force.
    pub(super) fn exchange_keys(
        &self,
        old: Option<&Record>,
        old_state: Option<&State>,
        next: &mut Account,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let no_tokens = Vec::new();
        let old = old.map_or(&no_tokens, |old| &old.tokens);
        let stays = |one: &(TokenId, Token), among: &[(TokenId, Token)]| {
            among.iter().any(|other| {
                one.0 == other.0 && Fingerprint::of(&one.1) == Fingerprint::of(&other.1)
            })
        };
        // Of one generation: else a token in the same place has another state.
        let same_state = old_state.is_some_and(|old| old.generation == next.state.generation);
        let tokens = &next.record.tokens;
        let comes: Vec<_> =
            tokens.iter().filter(|one| !(same_state && stays(one, old))).cloned().collect();
        for (id, token) in &comes {
            let twin = tokens
                .iter()
                .find(|(other, twin)| other != id && twin.secret.is_same_key(&token.secret));
            if twin.is_some() {
                return Err(StoreError::KeyTwice);
            }
        }
        let goes = old.iter().filter(|one| !(same_state && stays(one, tokens)));
        for (id, token) in goes {
            self.remember_key(token, old_state.map(|state| state.token(*id)), now)?;
        }
        for (id, token) in &comes {
            let at = next.state.token(*id);
            let next_step = at.next.max(self.remembered(token)?);
            if next_step == Step::END {
                return Err(StoreError::NoCodesLeft);
            }
            next.state = next.state.with_token(*id, TokenState { next: next_step, ..at });
        }
        Ok(())
    }

    /// Remembers all keys of an account that is about to be removed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn remember_keys(
        &self,
        record: &Record,
        state: Option<&State>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        record.tokens.iter().try_for_each(|(id, token)| {
            self.remember_key(token, state.map(|state| state.token(*id)), now)
        })
    }

    /// Remembers up to where a key's codes are spent. A state that was lost means: as far
    /// as they can be.
    fn remember_key(
        &self,
        token: &Token,
        at: Option<TokenState>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let next = match at {
            Some(at) => at.next,
            None => first_unspent(token, now, FARTHEST).unwrap_or(Step::END),
        };
        let over = match token.kind {
            // No window reaches back so far.
            MovingFactor::Totp { period } => next.plus(FARTHEST) < now.step(period),
            MovingFactor::Hotp => false,
        };
        if over || next == Step(0) {
            return Ok(());
        }
        let key = Fingerprint::of(token);
        self.backend.remember(&key, &mut |text| {
            let before = text.map(|text| self.entry(&key, text)).transpose()?;
            let before = before.map_or(Step(0), |entry| Step(entry.next.0));
            Ok((next > before).then(|| Entry::of(token, next).text()))
        })
    }

    /// The first position of a key whose code is not known to be spent.
    fn remembered(&self, token: &Token) -> Result<Step, StoreError> {
        let key = Fingerprint::of(token);
        let Some(text) = self.backend.remembered(&key)? else { return Ok(Step(0)) };
        match Step(self.entry(&key, &text)?.next.0) {
            Step::END => Err(StoreError::Retired {
                path: self.backend.memory(&key),
                what: "which codes of this key are spent was lost with a state",
            }),
            next => Ok(next),
        }
    }

    /// Raises the positions of a whole account to what is remembered of its keys.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn raised(&self, record: &Record, state: State) -> Result<State, StoreError> {
        record.tokens.iter().try_fold(state, |state, (id, token)| {
            let at = state.token(*id);
            let next = at.next.max(self.remembered(token)?);
            Ok(state.with_token(*id, TokenState { next, ..at }))
        })
    }

    /// Forgets the keys that nothing depends on any more: those of time tokens whose
    /// codes are all too old. Returns how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn forget_expired(&self, now: Timestamp) -> Result<usize, StoreError> {
        self.backend.forget(&mut |text| {
            // One that cannot be read is for doctor.
            Entry::read(text)
                .is_ok_and(|entry| entry.expires.is_some_and(|expires| expires < now.0))
        })
    }

    fn entry(&self, key: &Fingerprint, text: &str) -> Result<Entry, StoreError> {
        Entry::read(text)
            .map_err(|what| StoreError::Retired { path: self.backend.memory(key), what })
    }
}

/// What is left of an account that is about to be removed.
pub struct Remains {
    /// The record's text, if there is one.
    pub record: Result<Option<Zeroizing<String>>, StoreError>,
    /// The snapshots of its state, if they can be read.
    pub snapshots: Option<[super::backend::SlotBytes; 2]>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::record;
    use crate::code::Period;

    #[test]
    fn a_fingerprint_is_what_the_page_of_the_format_says() {
        let record = record(MovingFactor::Totp { period: Period::default() });
        let (_, token) = &record.tokens[0];
        // By Python's hashlib.
        assert_eq!(
            Fingerprint::of(token).to_string(),
            "09dd2f95716bddbf443e4820f8a0c2ed895360641ddf45c1362a9281889e037b"
        );
    }
}
