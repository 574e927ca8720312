//! The map of `--map`: whose a token is that another system calls by a serial number, a
//! UUID or an e-mail address. Lines of a CSV file, a name that the files use and the user
//! that it stands for here. What does not fit is reported, and nobody is guessed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use csv::StringRecord;

use super::source;
use crate::error::ToolError;
use crate::formats::{ForeignEntry, separated};

/// Bytes; lines for 100,000 tokens have half of that.
const BOUND: u64 = 16 * 1024 * 1024;
/// So many faults of a map are reported at once.
const FAULTS: usize = 20;

/// Whose tokens are, by what the files call them.
#[derive(Debug)]
pub(super) struct UserMap {
    path: PathBuf,
    lines: Vec<Line>,
    /// Where in `lines` a name is.
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Line {
    number: usize,
    name: String,
    owner: Owner,
    usage: Usage,
}

/// What a line says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// It is this user's.
    User(String),
    /// It is left out on purpose: the line has no user.
    Nobody,
}

/// Whether a token has been found by a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Usage {
    Unused,
    Used,
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
            Self::parse(path, text.strip_prefix('\u{feff}').unwrap_or(text))
        };
        read().with_context(|| format!("{}: nothing was imported", path.display()))
    }

    fn parse(path: &Path, text: &str) -> anyhow::Result<Self> {
        let mut map = Self { path: path.to_owned(), lines: Vec::new(), places: HashMap::new() };
        let mut faults = Vec::new();
        let mut csv = separated::reader(text, delimiter(text));
        let mut record = StringRecord::new();
        let mut first = true;
        while csv.read_record(&mut record).context("is not CSV")? {
            let number = record.position().map_or(0, |position| separated::line_of(text, position));
            let header = std::mem::replace(&mut first, false) && is_header(&record);
            if !header && let Err(fault) = map.line(number, &record) {
                faults.push(fault);
            }
        }
        if faults.is_empty() {
            ensure!(!map.lines.is_empty(), "there are no lines in it");
            return Ok(map);
        }
        let more = faults.len().saturating_sub(FAULTS);
        faults.truncate(FAULTS);
        let mut all = faults.join("; ");
        if more > 0 {
            write!(all, "; and {more} more")?;
        }
        bail!(all)
    }

    /// Takes one line.
    ///
    /// # Errors
    /// What is wrong with it.
    fn line(&mut self, number: usize, record: &StringRecord) -> Result<(), String> {
        let (name, user) = match (record.get(0), record.get(1)) {
            (Some(name), Some(user)) if !name.is_empty() && record.len() == 2 => (name, user),
            (_, _) => return Err(format!("line {number}: not a label or serial, and a user")),
        };
        let owner = match user {
            "" => Owner::Nobody,
            user => Owner::User(user.to_owned()),
        };
        if let Some(other) = self.places.get(name).and_then(|place| self.lines.get(*place)) {
            let before = other.number;
            return Err(format!(
                "line {number}: `{}` is in line {before} too",
                name.escape_debug()
            ));
        }
        self.places.insert(name.to_owned(), self.lines.len());
        self.lines.push(Line { number, name: name.to_owned(), owner, usage: Usage::Unused });
        Ok(())
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
            let Some(line) = self.places.get(name).and_then(|place| self.lines.get_mut(*place))
            else {
                continue;
            };
            line.usage = Usage::Used;
            match &found {
                None => found = Some((line.number, line.owner.clone())),
                Some((_, owner)) if *owner == line.owner => {}
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
        let unused = self.lines.iter().filter(|line| line.usage == Usage::Unused);
        unused.map(|line| (line.number, line.name.as_str()))
    }
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
        UserMap::parse(Path::new("map.csv"), text)
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
            assert_eq!(map.lines.len(), 2, "{text}");
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
