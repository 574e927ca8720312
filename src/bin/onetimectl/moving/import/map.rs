//! The map of `--map`: whose a token is that another system calls by a serial number, a
//! UUID or an e-mail address. Lines of a CSV file, a name that the files use and the user
//! that it stands for here. What does not fit is reported, and nobody is guessed.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use csv::StringRecord;
use serde::{Deserialize, Serialize};

use super::packed::{Index, Packed};
use super::source;
use crate::error::ToolError;
use crate::formats::ForeignEntry;
use crate::formats::separated::Records;

/// Bytes; lines for 100,000 tokens have half of that.
const BOUND: u64 = 16 * 1024 * 1024;
/// So many faults of a map are reported at once.
const FAULTS: usize = 20;

/// Whose tokens are, by what the files call them.
#[derive(Debug)]
pub(super) struct UserMap {
    path: PathBuf,
    /// Each a [`Line`].
    lines: Packed,
    by_name: Index,
    /// By the numbers of the lines in `by_name`: whether a token has been found by it.
    used: Vec<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line<'a> {
    name: &'a str,
    number: usize,
    user: &'a str,
}

/// What is wrong with a map: the first lines that are no good, and how many there are.
#[derive(Debug, Default)]
struct Faults {
    first: Vec<(usize, String)>,
    count: usize,
}

impl Faults {
    /// Adds a line that is no good; the first by their numbers are kept.
    fn add(&mut self, line: usize, what: &str) {
        self.count = self.count.saturating_add(1);
        let place = self.first.partition_point(|(before, _)| *before < line);
        if place < FAULTS {
            self.first.insert(place, (line, format!("line {line}: {what}")));
            self.first.truncate(FAULTS);
        }
    }
}

/// What a line says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is this user's.
    User(String),
    /// It is left out on purpose: the line has no user.
    Nobody,
}

impl UserMap {
    /// Reads a map.
    ///
    /// # Errors
    /// It cannot be read, or its lines are not of two fields or contradict each other: each
    /// of these lines.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let read = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            ensure!(!metadata.is_dir(), ToolError::new("is a directory", "name a file in it"));
            let bytes = source::read(file, metadata.len(), BOUND)?;
            let text = std::str::from_utf8(&bytes).context("is not text in UTF-8")?;
            let (lines, faults) = lines(text.strip_prefix('\u{feff}').unwrap_or(text))?;
            drop(bytes);
            Self::of(path, lines, faults)
        };
        read().with_context(|| format!("{}: nothing was imported", path.display()))
    }

    /// A map of lines that do not contradict each other.
    fn of(path: &Path, lines: Packed, mut faults: Faults) -> anyhow::Result<Self> {
        lines.ensure_all::<Line<'_>>()?;
        let by_name = Index::of::<Line<'_>>(&lines);
        for Line { name, number, .. } in lines.iter().map(|(_, line)| line) {
            let before = by_name.find(&lines, name).1.first();
            let before: Option<Line<'_>> = before.and_then(|place| lines.get(*place));
            if let Some(before) = before.filter(|before| before.number != number) {
                let what = format!("`{}` is in line {} too", name.escape_debug(), before.number);
                faults.add(number, &what);
            }
        }
        if faults.count == 0 {
            ensure!(lines.count() > 0, "there are no lines in it");
            let used = vec![false; by_name.len()];
            return Ok(Self { path: path.to_owned(), lines, by_name, used });
        }
        let more = faults.count.saturating_sub(faults.first.len());
        let all: Vec<_> = faults.first.into_iter().map(|(_, what)| what).collect();
        let mut all = all.join("; ");
        if more > 0 {
            write!(all, "; and {more} more")?;
        }
        bail!(all)
    }

    /// Whose a token is; `None`: no line names it.
    ///
    /// # Errors
    /// Two lines name it, for different users.
    pub(super) fn owner(&mut self, entry: &ForeignEntry) -> anyhow::Result<Option<Owner>> {
        self.owner_of(entry.names())
    }

    /// As [`Self::owner`], of a token that is called by these names.
    pub(super) fn owner_of<'a>(
        &mut self,
        names: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Option<Owner>> {
        let mut found: Option<(usize, Owner)> = None;
        for name in names {
            let (place, lines) = self.by_name.find(&self.lines, name);
            let Some(line) = lines.first().and_then(|place| self.lines.get::<Line<'_>>(*place))
            else {
                continue;
            };
            if let Some(used) = self.used.get_mut(place) {
                *used = true;
            }
            let owner = match line.user {
                "" => Owner::Nobody,
                user => Owner::User(user.to_owned()),
            };
            match &found {
                None => found = Some((line.number, owner)),
                Some((_, before)) if *before == owner => {}
                Some((other, _)) => bail!(
                    "lines {other} and {} of {} are about it, and say different users",
                    line.number,
                    self.path.display()
                ),
            }
        }
        Ok(found.map(|(_, owner)| owner))
    }

    /// The lines that no token was found by: line, name.
    pub(super) fn unused(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().map(|(_, line)| line);
        let is_unused = |line: &Line<'_>| {
            let (place, _) = self.by_name.find(&self.lines, line.name);
            self.used.get(place) == Some(&false)
        };
        lines.filter(is_unused).map(|line: Line<'_>| (line.number, line.name))
    }
}

/// The lines of a map, and which of them are none.
///
/// # Errors
/// It is not CSV.
fn lines(text: &str) -> anyhow::Result<(Packed, Faults)> {
    let (mut lines, mut faults) = (Packed::default(), Faults::default());
    let mut records = Records::of(text, delimiter(text));
    let mut record = StringRecord::new();
    let mut first = true;
    while let Some(number) = records.read(&mut record)? {
        if std::mem::replace(&mut first, false) && is_header(&record) {
            continue;
        }
        match (record.get(0), record.get(1)) {
            (Some(name), Some(user)) if !name.is_empty() && record.len() == 2 => {
                lines.push(&Line { name, number, user })?;
            }
            (_, _) => faults.add(number, "not a label or serial, and a user"),
        }
    }
    Ok((lines, faults))
}

/// What separates the fields: a comma, or what spreadsheets write in its place.
fn delimiter(text: &str) -> u8 {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let first = lines.next().unwrap_or_default();
    let outside = first.split('"').step_by(2);
    let separators = outside.flat_map(str::bytes).filter(|byte| b",;\t".contains(byte));
    separators.min_by_key(|byte| *byte != b',').unwrap_or(b',')
}

/// Whether the first line says what the columns are.
fn is_header(record: &StringRecord) -> bool {
    const NAMES: [&str; 9] =
        ["label", "serial", "serial number", "serialno", "token", "id", "uuid", "name", "account"];
    const USERS: [&str; 4] = ["user", "username", "user name", "login"];
    let is = |field: usize, words: &[&str]| {
        record.get(field).is_some_and(|text| words.contains(&text.to_ascii_lowercase().as_str()))
    };
    is(1, &USERS) && (is(0, &NAMES) || record.get(0).is_some_and(|name| name.contains(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<UserMap> {
        let (lines, faults) = lines(text)?;
        UserMap::of(Path::new("map.csv"), lines, faults)
    }

    fn owner(map: &mut UserMap, names: &[&str]) -> Option<Owner> {
        map.owner_of(names.iter().copied()).unwrap()
    }

    fn user(name: &str) -> Option<Owner> {
        Some(Owner::User(name.to_owned()))
    }

    #[test]
    fn header_comments_quotes_blanks_and_separators_of_spreadsheets_do_not_matter() {
        for text in [
            "0012,alice\n\"Corp, Ltd:bob\",bob\n",
            "serial,user\n# comment\n\n 0012 , alice \r\n\"Corp, Ltd:bob\",\"bob\"\n",
            "Serial number;User\n0012;alice\nCorp, Ltd:bob;bob",
            "label or serial\tuser\n0012\talice\nCorp, Ltd:bob\tbob\n",
            "\"Corp, Ltd:bob\";bob\n0012;alice\n",
        ] {
            let mut map = parse(text).unwrap();
            assert_eq!(map.lines.count(), 2, "{text}");
            assert_eq!(owner(&mut map, &["0012"]), user("alice"), "{text}");
            assert_eq!(owner(&mut map, &["x", "Corp, Ltd:bob"]), user("bob"), "{text}");
            assert_eq!(owner(&mut map, &["12"]), None, "a serial number keeps its zeros: {text}");
        }
        let mut map = parse("S1,user\n").unwrap();
        assert_eq!(owner(&mut map, &["S1"]), user("user"), "not a header");
    }

    #[test]
    fn what_is_unused_is_known_and_a_line_without_a_user_leaves_a_token_out() {
        let mut map = parse("S1,alice\nS2,bob\nS3,\n").unwrap();
        assert_eq!(owner(&mut map, &["S1", "alice@example.org"]), user("alice"));
        assert_eq!(owner(&mut map, &["S3"]), Some(Owner::Nobody));
        assert_eq!(map.unused().collect::<Vec<_>>(), [(2, "S2")]);
    }

    #[test]
    fn a_token_that_two_lines_give_to_different_users_is_given_to_none() {
        let mut map = parse("S1,alice\na@b,bob\nA1,alice\n").unwrap();
        let error = map.owner_of(["S1", "a@b"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("lines 1 and 2 of map.csv"), "{error}");
        assert_eq!(owner(&mut map, &["S1", "A1"]), user("alice"));
    }

    #[test]
    fn every_line_that_is_no_good_is_named_with_its_number() {
        let error = parse("# map\nS1,alice\nS2\nS1,bob\n,carol\nS4,dave,x\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 3: not a label or serial, and a user; line 4: `S1` is in line 2 too; \
             line 5: not a label or serial, and a user; line 6: not a label or serial, and a user"
        );
        for text in ["S1,a\r\n\r\n# x\r\nS1,b\r\n", "S1,a\n\n# x\nS1,b", "S1,\"a\"\n \n#\nS1,b"] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains("line 4: `S1` is in line 1 too"), "{text:?}: {error}");
        }
        let twice: String = (0..100).map(|_| "S1,alice\n").collect();
        assert!(parse(&twice).unwrap_err().to_string().ends_with("; and 79 more"));
        assert!(parse("serial,user\n").unwrap_err().to_string().contains("no lines"));
    }
}
