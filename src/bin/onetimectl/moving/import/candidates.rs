//! What the files say, by user. What is wrong with one user's part is kept for
//! the row of that user.

use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use pam_onetime::account::{MAX_TOKENS, TokenId};
use pam_onetime::system::Person;
use zeroize::Zeroizing;

use super::findings::{Entry, Findings, NameSource, Ownerless};
use super::key::KeyInput;
use super::map::{Owner, UserMap};
use super::packed::{Packed, PackedToken, Problem, Texts};
use super::source::Source;
use crate::cli::ImportOptions;
use crate::error::{self, ToolError};
use crate::formats::{
    self, Aids, FORMATS, ForeignEntry, ForeignToken, Format, FormatError, KeySource, NoKeys, Users,
};

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

/// All that the files say, in the order in which it comes up, packed: a text that was read
/// is not kept.
#[derive(Default)]
pub(super) struct Candidates {
    /// Each an [`Entry`].
    entries: Packed,
    /// Of `--map`: it alone says whose a token is.
    map: Option<UserMap>,
    /// What is nobody's, by what the files or the map call it: each an [`Ownerless`].
    ownerless: Packed,
    /// See [`Findings::spare`]: each a name.
    spare: Packed,
    texts: Texts,
    /// Files that are read together, once all are there.
    parts: Vec<(&'static dyn Format, PathBuf, Source)>,
}

/// What one file has in it, or several together.
struct Whole<'a> {
    format: &'a dyn Format,
    path: &'a Path,
    text: &'a str,
    keys: &'a dyn KeySource,
}

/// Whether an entry is the only one of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    Alone,
    BesideOthers,
}

/// So many entries a file may have, however short they are.
const FEW: usize = 1000;
/// Bytes of a file for each of more entries. The shortest key in its shortest writing has
/// as many, and so a file of keys has more.
const SHORTEST: usize = 16;
/// A file of rows that are too short would take more memory than its size lets expect.
const TOO_SHORT: ToolError = ToolError::new(
    "it has so many entries that they are too short to have a key in each",
    "look whether it is a file of keys, and name its format with --from",
);

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
    ///
    /// # Errors
    /// It cannot be had back.
    pub(super) fn finish(mut self) -> anyhow::Result<Findings> {
        let unused = Problem::shared(&UNUSED.into(), &mut self.texts);
        for (line, name) in self.map.iter().flat_map(UserMap::unused) {
            self.ownerless.push(&Ownerless { name, problem: unused.in_line(line) })?;
        }
        Findings::of(self.entries, self.ownerless, self.spare, self.texts)
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
                self.add_own(&user, named_by, token)?;
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
        match format.users() {
            Users::One { .. } => {
                if let Some((user, named_by)) = self.owner_of_file(path, options)? {
                    let token = source.own(format, &user);
                    self.add_own(&user, named_by, token)?;
                }
                Ok(())
            }
            Users::ManyByName | Users::ManyByLabel | Users::OneByLabel => {
                let keys = &keys.of(path);
                self.add_all(&Whole { format, path, text: source.text()?, keys }, options)
            }
        }
    }

    /// Adds what a text says, entry by entry: the text and what is kept of it is all that is
    /// in memory.
    fn add_all(&mut self, whole: &Whole<'_>, options: &ImportOptions) -> anyhow::Result<()> {
        let &Whole { format, text, keys, .. } = whole;
        let most = (text.len() / SHORTEST).saturating_add(FEW);
        let mut count = 0_usize;
        let mut pick = options.user.as_deref().map(|user| Pick::of(user, format.users()));
        // Who is alone is known only once there is no other.
        let mut last: Option<(ForeignEntry, NameSource)> = None;
        let mut added = Ok(());
        format.parse(text, &Aids::with(keys), &mut |entry| {
            count = count.saturating_add(1);
            if count > most || added.is_err() {
                return;
            }
            match &mut pick {
                Some(pick) => pick.see(self.labelled(entry, whole)),
                None => {
                    if let Some((entry, named_by)) = last.replace(self.named(entry, whole)) {
                        added = self.add(entry, named_by, Company::BesideOthers);
                    }
                }
            }
        })?;
        added?;
        ensure!(count <= most, TOO_SHORT);
        let company = if count == 1 { Company::Alone } else { Company::BesideOthers };
        if let Some((entry, named_by)) = last {
            self.add(entry, named_by, company)?;
        }
        for entry in pick.map_or_else(|| Ok(Vec::new()), Pick::finish)? {
            self.add(entry, NameSource::Known, company)?;
        }
        Ok(())
    }

    /// An entry with all that it may be called by whoever says whose it is: the map or
    /// `--user`. A file of one user's has its own name, too.
    fn labelled(&self, mut entry: ForeignEntry, whole: &Whole<'_>) -> ForeignEntry {
        match whole.format.users() {
            Users::One { .. } | Users::ManyByName => entry,
            Users::ManyByLabel => self.of_user(entry),
            Users::OneByLabel => {
                entry.labels.extend(names_of_entry(whole.path));
                self.of_user(entry)
            }
        }
    }

    /// An entry and how it is known whose it is. In a file of one user's the label says that,
    /// or else the name of the file, as it would of another format that names nobody.
    fn named(&self, entry: ForeignEntry, whole: &Whole<'_>) -> (ForeignEntry, NameSource) {
        match whole.format.users() {
            Users::One { .. } | Users::ManyByName => return (entry, NameSource::Known),
            Users::ManyByLabel => return (self.of_user(entry), NameSource::Label),
            Users::OneByLabel if self.map.is_some() => {
                return (self.labelled(entry, whole), NameSource::Label);
            }
            Users::OneByLabel => {}
        }
        let mut entry = self.of_user(entry);
        let names = names_of_entry(whole.path);
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
        (entry, named_by)
    }

    /// Reads what is in several files as one whole.
    ///
    /// # Errors
    /// As [`Candidates::read`], or a part is missing.
    pub(super) fn read_parts(&mut self, options: &ImportOptions) -> anyhow::Result<()> {
        let parts = mem::take(&mut self.parts);
        for format in FORMATS {
            let of_format = || parts.iter().filter(|(of, ..)| of.name() == format.name());
            let length = of_format().map(|(.., source)| source.length().saturating_add(1)).sum();
            let mut whole = Zeroizing::new(String::with_capacity(length));
            // Of each file: the last of its lines in the whole.
            let mut ends: Vec<(usize, &Path)> = Vec::new();
            for (_, path, source) in of_format() {
                let text = source.text().with_context(|| nothing_from(path))?;
                let before = ends.last().map_or(0, |(end, _)| *end);
                ends.push((before.saturating_add(text.lines().count()), path));
                whole.push_str(text);
                if !text.ends_with('\n') {
                    whole.push('\n');
                }
            }
            let Some((_, last)) = ends.last().copied() else { continue };
            let whole = Whole { format: *format, path: last, text: &whole, keys: &NoKeys };
            let added = self.add_all(&whole, options);
            added.map_err(|error| match error.downcast::<FormatError>() {
                Ok(mut error) => {
                    let place = ends.partition_point(|(end, _)| *end < error.line);
                    let before = place.checked_sub(1).and_then(|place| ends.get(place));
                    error.line = error.line.saturating_sub(before.map_or(0, |(end, _)| *end));
                    let path = ends.get(place).map_or(last, |(_, path)| *path);
                    anyhow::Error::from(error).context(nothing_from(path))
                }
                Err(error) => error.context(nothing_from(last)),
            })?;
        }
        Ok(())
    }

    /// An entry whose label has the number of a further token of a user, as that user's. A
    /// map has labels as they are.
    fn of_user(&self, mut entry: ForeignEntry) -> ForeignEntry {
        if self.map.is_none()
            && let Some(user) = &entry.user
            && let Some(name) = without_number(user)
            // Who may exist keeps the name.
            && matches!(Person::find(user), Ok(None))
        {
            entry.user = Some(name.to_owned());
        }
        entry
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
        Ok(self.mapped(&file, owner)?.map(|user| (user, NameSource::Known)))
    }

    /// The user that the map has; `None`, and a note of what is nobody's, where it has none.
    fn mapped(
        &mut self,
        name: &str,
        owner: anyhow::Result<Option<Owner>>,
    ) -> anyhow::Result<Option<String>> {
        let error = match owner {
            Ok(Some(Owner::User(user))) => return Ok(Some(user)),
            Ok(Some(Owner::Nobody)) => return Ok(None),
            Ok(None) => UNMAPPED.into(),
            Err(error) => error,
        };
        let problem = Problem::shared(&error, &mut self.texts);
        self.ownerless.push(&Ownerless { name, problem })?;
        Ok(None)
    }

    /// Adds what is somebody's; one of nobody has a row of its own, and does not keep the
    /// others from being imported.
    fn add(
        &mut self,
        entry: ForeignEntry,
        named_by: NameSource,
        company: Company,
    ) -> anyhow::Result<()> {
        if let Some(map) = &mut self.map {
            let owner = map.owner(&entry);
            let called = entry.names().next().unwrap_or("a token without a name");
            // A vendor's file has more keys than were handed out.
            if entry.user.is_none() && matches!(owner, Ok(None)) && entry.token.is_ok() {
                return self.spare.push(&called);
            }
            let user = self.mapped(called, owner)?;
            return user.map_or(Ok(()), |user| self.of(&user, NameSource::Known, &entry.token));
        }
        let ForeignEntry { user, labels, token } = entry;
        if let Some(user) = user {
            return self.of(&user, named_by, &token);
        }
        let problem = match (token, company) {
            (Err(error), _) => Problem::of_format(&error, &mut self.texts),
            (Ok(_), Company::Alone) => Problem::shared(&ALONE_OF_NOBODY.into(), &mut self.texts),
            (Ok(_), Company::BesideOthers) => Problem::shared(&OF_NOBODY.into(), &mut self.texts),
        };
        let name = format!("token {}", labels.join(", "));
        self.ownerless.push(&Ownerless { name: &name, problem })
    }

    /// Adds a user's token, or what is wrong with it.
    fn of(
        &mut self,
        user: &str,
        named_by: NameSource,
        token: &Result<ForeignToken, FormatError>,
    ) -> anyhow::Result<()> {
        let token = match token {
            Ok(token) => Ok(PackedToken::of(token, &mut self.texts)),
            Err(error) => Err(Problem::of_format(error, &mut self.texts)),
        };
        self.entries.push(&Entry { user, named_by, token })
    }

    /// Adds what is in a user's own file, or what is wrong with that file.
    fn add_own(
        &mut self,
        user: &str,
        named_by: NameSource,
        token: anyhow::Result<ForeignToken>,
    ) -> anyhow::Result<()> {
        match token {
            Ok(token) => self.of(user, named_by, &Ok(token)),
            Err(error) => {
                let text = error::text(&error);
                let token = Err(Problem::own(&text, &error, &mut self.texts));
                self.entries.push(&Entry { user, named_by, token })
            }
        }
    }
}

/// Which file it is that fails the run.
pub(super) fn nothing_from(path: &Path) -> String {
    format!("{}: nothing was imported", path.display())
}

/// The tokens of a file that are the user's: those that it gives to them; else all, if
/// labels call them, and they are of one account, whatever its label says. Of several
/// nobody's, none is given without being picked.
struct Pick<'a> {
    user: &'a str,
    users: Users,
    /// One more than a user can have are kept: no user fills the memory.
    own: Vec<ForeignEntry>,
    others: Vec<ForeignEntry>,
    others_are: Accounts,
}

/// Whose the tokens are that the file does not give to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accounts {
    OfOne,
    OfSeveral,
}

impl<'a> Pick<'a> {
    fn of(user: &'a str, users: Users) -> Self {
        let (own, others) = (Vec::new(), Vec::new());
        Self { user, users, own, others, others_are: Accounts::OfOne }
    }

    fn see(&mut self, entry: ForeignEntry) {
        let kept = if entry.user.as_deref() == Some(self.user) {
            &mut self.own
        } else {
            let is_same = |first: &ForeignEntry| first.user.is_some() && first.user == entry.user;
            if !self.others.first().is_none_or(is_same) {
                self.others_are = Accounts::OfSeveral;
            }
            &mut self.others
        };
        if kept.len() <= MAX_TOKENS {
            kept.push(entry);
        }
    }

    fn finish(self) -> anyhow::Result<Vec<ForeignEntry>> {
        match (self.users, self.others_are) {
            _ if !self.own.is_empty() => return Ok(self.own),
            (Users::ManyByName | Users::One { .. }, _) => return Ok(Vec::new()),
            (Users::ManyByLabel | Users::OneByLabel, Accounts::OfSeveral) => bail!(NOT_PICKED),
            (Users::ManyByLabel | Users::OneByLabel, Accounts::OfOne) => {}
        }
        let given = |entry| ForeignEntry { user: Some(self.user.to_owned()), ..entry };
        Ok(self.others.into_iter().map(given).collect())
    }
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
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Verb};

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
        for options in [&["import", "-"][..], &["import", "-", "--user", "no-such-user"]] {
            let findings = found(&text, options).unwrap();
            assert_eq!(findings.users().collect::<Vec<_>>(), ["no-such-user"]);
            assert_eq!(findings.candidate("no-such-user").tokens.len(), 2);
        }
    }

    #[test]
    fn the_tokens_of_several_are_not_given_to_one() {
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let owned = |text: &str, user: &str| {
            let findings = found(text, &["import", "-", "--user", user]).ok()?;
            assert_eq!(findings.users().collect::<Vec<_>>(), [user]);
            Some(findings.candidate(user).tokens.len())
        };
        let one =
            format!("otpauth://totp/a%40b?secret={secret}\notpauth://hotp/a@b?secret={secret}");
        assert_eq!(owned(&one, "alice"), Some(2));
        let owned = |labels: &[&str], user| {
            let uri = |label| format!("otpauth://totp/{label}?secret={secret}\n");
            owned(&labels.iter().map(uri).collect::<String>(), user)
        };
        assert_eq!(owned(&[""], "alice"), Some(1), "there is only this one");
        assert_eq!(owned(&["a", "b"], "alice"), None);
        assert_eq!(owned(&["bob", ""], "carol"), None, "bob's is not carol's");
        assert_eq!(owned(&["", ""], "carol"), None, "one may be of another");
        assert_eq!(owned(&["bob", "", "carol", "carol"], "carol"), Some(2));
    }

    #[test]
    fn users_come_up_in_the_order_of_the_file_each_once_with_all_their_tokens() {
        let uri = |name: &str, secret: &str| format!("otpauth://totp/{name}?secret={secret}\n");
        let (one, two) = ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "MZXW6YTBOJRGC6TPMZXW6YTBOJRGC6TP");
        let text =
            [uri("zoe", one), uri("bob", one), uri("", one), uri("zoe", two), uri("al", "1")];
        let findings = found(&text.concat(), &["import", "-"]).unwrap();
        assert_eq!(findings.users().collect::<Vec<_>>(), ["zoe", "bob", "al"]);
        let secrets: Vec<_> = findings
            .candidate("zoe")
            .tokens
            .iter()
            .map(|token| token.token.secret.to_base32())
            .collect();
        assert_eq!(secrets.iter().map(|secret| secret.as_str()).collect::<Vec<_>>(), [one, two]);
        let problem = findings.candidate("al").problem.unwrap();
        assert!(error::text(&problem).starts_with("line 5: the secret is not base32"), "{problem}");
        let ownerless: Vec<_> = findings.ownerless().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(ownerless, ["token line 3"]);
    }

    #[test]
    fn a_file_of_more_entries_than_it_can_have_keys_is_refused_whole() {
        let rows = |count: usize| (0..count).map(|n| format!("x u{n}\n")).collect::<String>();
        let oath = &["import", "-", "--from", "oath"][..];
        assert_eq!(found(&rows(900), oath).unwrap().users().count(), 900);
        let error = found(&rows(5000), oath).err().unwrap();
        assert!(error::text(&error).contains("too short") && error::remedy(&error).is_some());
    }

    /// What is found in a text.
    fn found(text: &str, arguments: &[&str]) -> anyhow::Result<Findings> {
        let cli = Cli::try_parse_from([&["onetimectl"], arguments].concat())?;
        let Verb::Import(options) = cli.verb else { panic!("{arguments:?}") };
        let format = options.from.unwrap_or_else(|| formats::by_content(text).unwrap());
        let mut candidates = Candidates::by(None);
        let path = &options.files[0];
        candidates.add_all(&Whole { format, path, text, keys: &NoKeys }, &options)?;
        candidates.finish()
    }
}
