//! What the files say, by user. What is wrong with one user's part is kept for
//! the row of that user.

use std::collections::HashMap;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use pam_onetime::account::{MAX_TOKENS, TokenId};
use pam_onetime::system::Person;
use zeroize::Zeroizing;

use super::key::KeyInput;
use super::map::{Owner, UserMap};
use super::source::Source;
use crate::cli::ImportOptions;
use crate::error::ToolError;
use crate::formats::{self, FORMATS, ForeignEntry, ForeignToken, Format, Users};

/// A token that the file does not give to anybody, beside others.
const OF_NOBODY: ToolError = ToolError::new(
    "the file does not say whose it is",
    "say whose it is: --map FILE, with its label or serial number and the user",
);
/// The same, where it is the only one.
const ALONE_OF_NOBODY: ToolError =
    ToolError::new("the file does not say whose it is", "say whose it is: --user NAME");
/// Several tokens, none of which the file gives to the user.
const NOT_PICKED: ToolError = ToolError::new(
    "it has several tokens, and none is said to be of this user",
    "say whose each is: --map FILE, with their labels or serial numbers and users",
);

/// Where a user's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// What files or map call a thing that is nobody's, and why it is.
pub(super) type Ownerless = Vec<(String, anyhow::Error)>;

/// All that the files say, by user, in the order in which they come up.
#[derive(Default)]
pub(super) struct Candidates {
    users: Vec<(String, Candidate)>,
    /// Of each user in `users`.
    places: HashMap<String, usize>,
    /// Of `--map`: it alone says whose a token is.
    map: Option<UserMap>,
    /// What is nobody's, by what the files or the map call it.
    ownerless: Ownerless,
    /// See [`Findings::spare`].
    spare: Vec<String>,
    /// Files that are read together, once all are there.
    parts: Vec<(&'static dyn Format, PathBuf, Source)>,
}

/// All that the files and the map say together.
pub(super) struct Findings {
    pub(super) users: Vec<(String, Candidate)>,
    pub(super) ownerless: Ownerless,
    /// Keys in stock, by what the files call them: neither the files nor the map give them
    /// to anybody, and they stay where they are.
    pub(super) spare: Vec<String>,
}

/// A map is there, and does not say whose this token is.
const UNMAPPED: ToolError = ToolError::new(
    "no line of the map says whose it is",
    "add a line to the map: what the file calls it, and the user; no user leaves it out",
);
/// A line of the map is about no token.
const UNUSED: ToolError = ToolError::new(
    "is in the map, but in none of the files",
    "compare the name with those that --dry-run lists",
);

impl Candidates {
    /// None yet, to be found by the map if there is one.
    pub(super) fn by(map: Option<UserMap>) -> Self {
        Self { map, ..Self::default() }
    }

    /// What the files say of each user; what is nobody's, and why; and what is in stock.
    pub(super) fn finish(mut self) -> Findings {
        for (line, name) in self.map.iter().flat_map(UserMap::unused) {
            let error = anyhow::Error::from(UNUSED).context(format!("line {line}"));
            self.ownerless.push((name.to_owned(), error));
        }
        Findings { users: self.users, ownerless: self.ownerless, spare: self.spare }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it and cannot be said of one user: it fails the run,
    /// before anything is changed.
    pub(super) fn read(
        &mut self,
        path: &Path,
        options: &ImportOptions,
        keys: &KeyInput,
    ) -> anyhow::Result<()> {
        let by_name = || path.file_name().and_then(formats::by_file_name);
        let named = options.from.or_else(by_name);
        if let Some(format) = named
            && let Users::One { .. } = format.users()
        {
            // A file of the user's own: what is wrong with it is the user's alone.
            if let Some((user, named_by)) = self.owner_of_file(path, options)? {
                let token = Source::open(path, named).and_then(|source| source.own(format, &user));
                self.add(user, named_by, token);
            }
            return Ok(());
        }
        let source = Source::open(path, named)?;
        let format = match named {
            Some(format) => format,
            None => source.recognize()?,
        };
        if format.spans_files() {
            self.parts.push((format, path.to_owned(), source));
            return Ok(());
        }
        let entries = || {
            let (text, zone) = (source.text()?, TimeZone::system());
            Ok::<_, anyhow::Error>(format.parse_with(text, &zone, &keys.of(path))?)
        };
        match (format.users(), &options.user) {
            (Users::One { .. }, _) => {
                if let Some((user, named_by)) = self.owner_of_file(path, options)? {
                    let token = source.own(format, &user);
                    self.add(user, named_by, token);
                }
            }
            (Users::ManyByName, None) => self.add_all(entries()?, NameSource::Known),
            (Users::ManyByName, Some(user)) => {
                let mut entries = entries()?;
                entries.retain(|entry| entry.user.as_ref() == Some(user));
                self.add_all(entries, NameSource::Known);
            }
            (Users::ManyByLabel, _) => self.add_labelled(entries()?, options)?,
            (Users::OneByLabel, _) => self.add_entries(entries()?, path, options)?,
        }
        Ok(())
    }

    fn add_labelled(
        &mut self,
        entries: Vec<ForeignEntry>,
        options: &ImportOptions,
    ) -> anyhow::Result<()> {
        let entries = self.of_users(entries);
        match &options.user {
            None => self.add_all(entries, NameSource::Label),
            Some(user) => self.add_all(owned_by(entries, user)?, NameSource::Known),
        }
        Ok(())
    }

    /// Adds what is in a file of one user's: whose it is, the label says, or else the name of
    /// the file, as it would of another format that names nobody.
    fn add_entries(
        &mut self,
        mut entries: Vec<ForeignEntry>,
        path: &Path,
        options: &ImportOptions,
    ) -> anyhow::Result<()> {
        let names = names_of_entry(path);
        if self.map.is_some() || options.user.is_some() {
            entries.iter_mut().for_each(|entry| entry.labels.extend(names.iter().cloned()));
            return self.add_labelled(entries, options);
        }
        for mut entry in self.of_users(entries) {
            // Who cannot be looked up may exist.
            let of_nobody = |user: &String| matches!(Person::find(user), Ok(None));
            let user = || names.iter().find(|name| matches!(Person::find(name), Ok(Some(_))));
            let guess = match &entry.user {
                Some(label) if of_nobody(label) => user(),
                Some(_) => None,
                None => user().or(names.last()),
            };
            let named_by = if guess.is_some() { NameSource::Path } else { NameSource::Label };
            entry.user = guess.cloned().or(entry.user);
            self.add_all(vec![entry], named_by);
        }
        Ok(())
    }

    /// Reads what is in several files as one whole.
    ///
    /// # Errors
    /// As [`Candidates::read`], or a part is missing.
    pub(super) fn read_parts(&mut self, options: &ImportOptions) -> anyhow::Result<()> {
        let parts = mem::take(&mut self.parts);
        for format in FORMATS {
            let mut whole = Zeroizing::new(String::new());
            // Of each file: the last of its lines in the whole.
            let mut ends: Vec<(usize, &Path)> = Vec::new();
            for (_, path, source) in parts.iter().filter(|(of, ..)| of.name() == format.name()) {
                let text = source.text().with_context(|| nothing_from(path))?;
                let before = ends.last().map_or(0, |(end, _)| *end);
                ends.push((before.saturating_add(text.lines().count()), path));
                whole.push_str(text);
                if !text.ends_with('\n') {
                    whole.push('\n');
                }
            }
            let Some((_, last)) = ends.last().copied() else { continue };
            let read = format.parse(&whole, &TimeZone::system()).map_err(|mut error| {
                let place = ends.partition_point(|(end, _)| *end < error.line);
                let before = place.checked_sub(1).and_then(|place| ends.get(place));
                error.line = error.line.saturating_sub(before.map_or(0, |(end, _)| *end));
                let path = ends.get(place).map_or(last, |(_, path)| *path);
                anyhow::Error::from(error).context(nothing_from(path))
            });
            self.add_labelled(read?, options).with_context(|| nothing_from(last))?;
        }
        Ok(())
    }

    /// Whose the entries are whose labels have the number of a further token of a user. A map
    /// has labels as they are.
    fn of_users(&self, mut entries: Vec<ForeignEntry>) -> Vec<ForeignEntry> {
        if self.map.is_none() {
            for user in entries.iter_mut().filter_map(|entry| entry.user.as_mut()) {
                // Who may exist keeps the name.
                if let Some(name) = without_number(user)
                    && matches!(Person::find(user), Ok(None))
                {
                    *user = name.to_owned();
                }
            }
        }
        entries
    }

    /// Whose a file is that names nobody; `None` where the map leaves it out or lacks it.
    fn owner_of_file(
        &mut self,
        path: &Path,
        options: &ImportOptions,
    ) -> anyhow::Result<Option<(String, NameSource)>> {
        let Some(map) = &mut self.map else {
            return owner(path, options).map(Some);
        };
        let file = path.display().to_string();
        let guess = owner_by_path(path);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let names = [Some(&file), guess.as_ref(), name.as_ref()];
        let owner = map.owner_of(names.into_iter().flatten().map(String::as_str));
        Ok(self.mapped(file, owner).map(|user| (user, NameSource::Known)))
    }

    /// The user that the map has; `None`, and a note of what is nobody's, where it has none.
    fn mapped(&mut self, name: String, owner: anyhow::Result<Option<Owner>>) -> Option<String> {
        let error = match owner {
            Ok(Some(Owner::User(user))) => return Some(user),
            Ok(Some(Owner::Nobody)) => return None,
            Ok(None) => UNMAPPED.into(),
            Err(error) => error,
        };
        self.ownerless.push((name, error));
        None
    }

    /// Adds what is whose; one of nobody has a row of its own, and does not keep the
    /// others from being imported.
    fn add_all(&mut self, entries: Vec<ForeignEntry>, named_by: NameSource) {
        let alone = entries.len() == 1;
        let nobodys = || if alone { ALONE_OF_NOBODY } else { OF_NOBODY };
        for entry in entries {
            if let Some(map) = &mut self.map {
                let owner = map.owner(&entry);
                let called = entry.names().next().unwrap_or("a token without a name").to_owned();
                // A vendor's file has more keys than were handed out.
                let of_nobody = entry.user.is_none() && matches!(owner, Ok(None));
                if of_nobody && entry.token.is_ok() {
                    self.spare.push(called);
                    continue;
                }
                if let Some(user) = self.mapped(called, owner) {
                    self.add(user, NameSource::Known, entry.token.map_err(anyhow::Error::from));
                }
                continue;
            }
            let ForeignEntry { user, labels, token } = entry;
            match user {
                Some(user) => self.add(user, named_by, token.map_err(anyhow::Error::from)),
                None => {
                    let problem = token.err().map_or_else(|| nobodys().into(), anyhow::Error::from);
                    self.ownerless.push((format!("token {}", labels.join(", ")), problem));
                }
            }
        }
    }

    fn add(&mut self, user: String, named_by: NameSource, token: anyhow::Result<ForeignToken>) {
        let Some(candidate) = self.of(user, named_by) else { return };
        match token {
            // One more than can be, so that it is an error; no user fills the memory.
            Ok(token) if candidate.tokens.len() <= MAX_TOKENS => {
                // Nearly everybody has one: room for more is half of the memory of a large import.
                candidate.tokens.reserve_exact(1);
                candidate.tokens.push(token);
            }
            Ok(_) => {}
            Err(error) => _ = candidate.problem.get_or_insert(error),
        }
    }

    fn of(&mut self, user: String, named_by: NameSource) -> Option<&mut Candidate> {
        let next = self.users.len();
        let place = *self.places.entry(user.clone()).or_insert(next);
        if place == next {
            self.users.push((user, Candidate { named_by, tokens: Vec::new(), problem: None }));
        }
        self.users.get_mut(place).map(|(_, candidate)| candidate)
    }
}

/// Which file it is that fails the run.
pub(super) fn nothing_from(path: &Path) -> String {
    format!("{}: nothing was imported", path.display())
}

/// The tokens of a file that are the user's: those that it gives to them; else all, if
/// they are of one account, whatever its label says. Of several nobody's, none is given
/// without being picked.
fn owned_by(mut all: Vec<ForeignEntry>, user: &str) -> anyhow::Result<Vec<ForeignEntry>> {
    if all.iter().any(|entry| entry.user.as_deref() == Some(user)) {
        all.retain(|entry| entry.user.as_deref() == Some(user));
        return Ok(all);
    }
    let of_one = match all.as_slice() {
        [first, others @ ..] => {
            others.iter().all(|other| first.user.is_some() && other.user == first.user)
        }
        [] => true,
    };
    if !of_one {
        bail!(NOT_PICKED);
    }
    let given = |entry| ForeignEntry { user: Some(user.to_owned()), ..entry };
    Ok(all.into_iter().map(given).collect())
}

/// The user of a label that has the number of a further token behind it, as
/// [`Enrollment::account`](pam_onetime::enrollment::Enrollment::account) writes it.
fn without_number(label: &str) -> Option<&str> {
    let (name, number) = label.strip_suffix(')')?.rsplit_once(" (")?;
    let is_token =
        number.parse().ok().and_then(TokenId::new).is_some_and(|id| id != TokenId::First);
    (is_token && !name.is_empty()).then_some(name)
}

/// Whose a file is that names nobody.
fn owner(path: &Path, options: &ImportOptions) -> anyhow::Result<(String, NameSource)> {
    if let Some(user) = &options.user {
        return Ok((user.clone(), NameSource::Known));
    }
    let user = owner_by_path(path).context(
        "the file names no user: use --user, or a path like /home/NAME/.google_authenticator",
    )?;
    Ok((user, NameSource::Path))
}

/// `/home/NAME/.google_authenticator`, or `NAME` in a directory of such files.
fn owner_by_path(path: &Path) -> Option<String> {
    let name = path.file_name()?;
    let name = match formats::by_file_name(name) {
        Some(_) => path.parent()?.file_name()?,
        None if name == "-" => return None,
        None => name,
    };
    name.to_str().map(str::to_owned)
}

/// What an entry of pass may be called: its file, with and without its ending.
fn names_of_entry(path: &Path) -> Vec<String> {
    let file = path.file_name().filter(|name| *name != "-");
    let stem = file.and_then(|_| path.file_stem()).filter(|stem| Some(*stem) != file);
    let names = file.into_iter().chain(stem).filter_map(|name| name.to_str());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_pass_is_called_as_its_file_with_and_without_the_ending() {
        for (path, names) in [
            ("/root/alice", &["alice"][..]),
            ("work/alice.gpg", &["alice.gpg", "alice"]),
            ("a.b.txt", &["a.b.txt", "a.b"]),
            (".alice", &[".alice"]),
            ("-", &[]),
        ] {
            assert_eq!(names_of_entry(Path::new(path)), names, "{path}");
        }
    }

    #[test]
    fn whose_a_google_file_is_can_be_read_from_its_path() {
        for (path, user) in [
            ("/home/alice/.google_authenticator", Some("alice")),
            ("/root/.google_authenticator", Some("root")),
            ("/var/lib/google/bob", Some("bob")),
            (".google_authenticator", None),
            ("/.google_authenticator", None),
            ("-", None),
        ] {
            assert_eq!(owner_by_path(Path::new(path)).as_deref(), user, "{path}");
        }
    }

    #[test]
    fn the_number_of_a_further_token_is_no_part_of_the_user_s_name() {
        for (label, user) in [
            ("alice (2)", Some("alice")),
            ("alice (4)", Some("alice")),
            ("Alice B (3)", Some("Alice B")),
            ("alice", None),
            ("alice (1)", None),
            ("alice (5)", None),
            ("alice(2)", None),
            ("alice (2) ", None),
            (" (2)", None),
            ("alice (b)", None),
        ] {
            assert_eq!(without_number(label), user, "{label}");
        }
        let secrets = ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "MZXW6YTBOJRGC6TPMZXW6YTBOJRGC6TP"];
        let [first, second] = secrets;
        let text = format!(
            "otpauth://totp/h:no-such-user?secret={first}\n\
             otpauth://totp/h:no-such-user%20(2)?secret={second}\n"
        );
        let parse = || formats::by_name("otpauth").unwrap().parse(&text, &TimeZone::UTC).unwrap();
        let mut candidates = Candidates::by(None);
        let entries = candidates.of_users(parse());
        assert_eq!(owned_by(candidates.of_users(parse()), "no-such-user").unwrap().len(), 2);
        candidates.add_all(entries, NameSource::Label);
        let users = candidates.finish().users;
        let [(user, candidate)] = users.as_slice() else { panic!("{} users", users.len()) };
        assert_eq!((user.as_str(), candidate.tokens.len()), ("no-such-user", 2));
    }

    #[test]
    fn the_tokens_of_several_are_not_given_to_one() {
        let all =
            |text: &str| formats::by_name("otpauth").unwrap().parse(text, &TimeZone::UTC).unwrap();
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let one =
            format!("otpauth://totp/a%40b?secret={secret}\notpauth://hotp/a@b?secret={secret}");
        let owned = owned_by(all(&one), "alice").unwrap();
        assert!(owned.len() == 2 && owned.iter().all(|one| one.user.as_deref() == Some("alice")));
        let owned = |labels: &[&str], user| {
            let uri = |label| format!("otpauth://totp/{label}?secret={secret}\n");
            let text: String = labels.iter().map(uri).collect();
            owned_by(all(&text), user).map(|owned| owned.len()).ok()
        };
        assert_eq!(owned(&[""], "alice"), Some(1), "there is only this one");
        assert_eq!(owned(&["a", "b"], "alice"), None);
        assert_eq!(owned(&["bob", ""], "carol"), None, "bob's is not carol's");
        assert_eq!(owned(&["", ""], "carol"), None, "one may be of another");
        assert_eq!(owned(&["bob", "", "carol", "carol"], "carol"), Some(2));
    }
}
