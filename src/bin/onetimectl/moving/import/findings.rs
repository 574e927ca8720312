//! What the files say of each user, once all are read: unpacked when the user's turn comes.

use pam_onetime::account::MAX_TOKENS;
use serde::{Deserialize, Serialize};

use super::packed::{Index, Packed, PackedToken, Place, Problem, Texts};
use crate::formats::ForeignToken;

/// Where a user's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum NameSource {
    /// The admin has given it, or the file has names of this system.
    Known,
    /// The label in the file, which may be the name of an account elsewhere.
    Label,
    /// The name of the file, or of its directory.
    Path,
}

/// What the files say of one user.
pub(super) struct Candidate {
    pub(super) named_by: NameSource,
    pub(super) tokens: Vec<ForeignToken>,
    /// Why nothing can be issued, whatever else there is.
    pub(super) problem: Option<anyhow::Error>,
}

/// A token of a user.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry<'a> {
    pub(super) user: &'a str,
    pub(super) named_by: NameSource,
    #[serde(borrow)]
    pub(super) token: Result<PackedToken<'a>, Problem<'a>>,
}

/// What files or map call a thing that is nobody's, and why it is.
#[derive(Serialize, Deserialize)]
pub(super) struct Ownerless<'a> {
    pub(super) name: &'a str,
    #[serde(borrow)]
    pub(super) problem: Problem<'a>,
}

/// All that the files and the map say together.
pub(super) struct Findings {
    entries: Packed,
    by_user: Index,
    ownerless: Packed,
    spare: Packed,
    texts: Texts,
}

impl Findings {
    /// What was packed in the order in which it came up: each an [`Entry`], an [`Ownerless`],
    /// a name.
    ///
    /// # Errors
    /// It cannot be had back.
    pub(super) fn of(
        entries: Packed,
        ownerless: Packed,
        spare: Packed,
        texts: Texts,
    ) -> anyhow::Result<Self> {
        entries.ensure_all::<Entry<'_>>()?;
        ownerless.ensure_all::<Ownerless<'_>>()?;
        spare.ensure_all::<&str>()?;
        let by_user = Index::of::<Entry<'_>>(&entries);
        Ok(Self { entries, by_user, ownerless, spare, texts })
    }

    /// Whether the files are about nobody and nothing.
    pub(super) fn is_empty(&self) -> bool {
        [&self.entries, &self.ownerless, &self.spare].iter().all(|packed| packed.count() == 0)
    }

    /// The names of the users, in the order in which they come up.
    pub(super) fn users(&self) -> impl Iterator<Item = &str> {
        let all = self.entries.iter::<Entry<'_>>().map(|(place, entry)| (place, entry.user));
        let is_first = |(place, user): &(Place, &str)| {
            self.by_user.find(&self.entries, user).1.first() == Some(place)
        };
        all.filter(is_first).map(|(_, user)| user)
    }

    /// A number of the user's own, below [`Self::numbers`]; `None`: the files are not about
    /// this user.
    pub(super) fn number(&self, user: &str) -> Option<usize> {
        let (number, places) = self.by_user.find(&self.entries, user);
        (!places.is_empty()).then_some(number)
    }

    /// See [`Self::number`].
    pub(super) fn numbers(&self) -> usize {
        self.by_user.len()
    }

    /// What the files say of a user.
    pub(super) fn candidate(&self, user: &str) -> Candidate {
        let mut candidate =
            Candidate { named_by: NameSource::Known, tokens: Vec::new(), problem: None };
        let (_, places) = self.by_user.find(&self.entries, user);
        let entries = places.iter().filter_map(|place| self.entries.get::<Entry<'_>>(*place));
        for (entry, number) in entries.zip(0_usize..) {
            if number == 0 {
                candidate.named_by = entry.named_by;
            }
            // One more than can be, so that it is an error; no user fills the memory.
            let room = candidate.tokens.len() <= MAX_TOKENS;
            let token = match entry.token {
                Ok(token) if room => token.token(&self.texts),
                Ok(_) => continue,
                Err(problem) => Err(problem.error(&self.texts)),
            };
            match token {
                Ok(token) => candidate.tokens.push(token),
                Err(error) => _ = candidate.problem.get_or_insert(error),
            }
        }
        candidate
    }

    /// What is nobody's, by what the files or the map call it, and why.
    pub(super) fn ownerless(&self) -> impl Iterator<Item = (&str, anyhow::Error)> {
        let all = self.ownerless.iter::<Ownerless<'_>>();
        all.map(|(_, Ownerless { name, problem })| (name, problem.error(&self.texts)))
    }

    /// Keys in stock, by what the files call them: neither the files nor the map give them
    /// to anybody, and they stay where they are.
    pub(super) fn spare(&self) -> impl Iterator<Item = &str> {
        self.spare.iter::<&str>().map(|(_, name)| name)
    }

    /// How many keys are in stock.
    pub(super) fn spares(&self) -> usize {
        self.spare.count()
    }
}
