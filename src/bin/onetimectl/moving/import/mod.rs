//! `onetimectl import`: takes over the tokens that users have already. What their
//! files say is read in [`formats`]. Here files are opened, users looked up, and
//! accounts issued, each whole or not at all.

pub(crate) mod formats;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail, ensure};
use comfy_table::{Table, presets};
use jiff::tz::TimeZone;
use pam_onetime::account::{
    Account, Generation, MAX_TOKENS, Record, State, Timestamp, TokenId, TokenState, Uid, UserName,
};
use pam_onetime::code::{Kind, Token};
use pam_onetime::config::is_issuer;
use pam_onetime::store::{Issued, Replace, Store};
use pam_onetime::system::{host_name, now};
use rand::rngs::SysRng;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::{Format, ImportOptions};
use crate::context::{Context, People, User};
use crate::say::progress::Progress;
use crate::say::report::{self, Row};
use crate::say::{self, Form};
use formats::{Found, Imported, Malformed, google, oath, otpauth, pskc};

/// Where pam_google_authenticator has a user's file in the home directory.
const GOOGLE_FILE: &str = ".google_authenticator";
/// That file is one user's.
const MAX_GOOGLE_BYTES: u64 = 64 * 1024;
/// 100,000 keys in PSKC have half of that.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// RFC 4226 section 4 (R6).
const WEAK_BELOW_BITS: usize = 128;
/// So many steps a token may have been ahead of its server's window: half an
/// hour, which is less than time zones differ by.
const AHEAD: u64 = 60;

/// What came of a user.
#[derive(Serialize)]
struct Told {
    result: &'static str,
    tokens: usize,
    activated: bool,
    not_carried_over: Vec<String>,
    warnings: Vec<String>,
}

/// What the files say of one user.
#[derive(Default)]
struct Candidate {
    tokens: Vec<Found>,
    /// Why nothing can be issued, whatever else there is.
    problem: Option<anyhow::Error>,
}

pub(crate) fn run(context: &Context, options: &ImportOptions) -> anyhow::Result<ExitCode> {
    let mut candidates = Candidates::default();
    for path in &options.files {
        candidates
            .read(path, options)
            .with_context(|| format!("{}: nothing was imported", path.display()))?;
    }
    ensure!(!candidates.users.is_empty(), "there is nobody to import in these files");
    let people = People::of(candidates.users.iter().map(|(user, _)| user))?;
    let importer = Importer::new(context, options, people)?;
    let progress = Progress::of(candidates.users.len());
    let mut seen = BTreeSet::new();
    let rows: Vec<_> = candidates
        .users
        .into_iter()
        .map(|(user, candidate)| {
            let result = importer.import(&user, candidate, &mut seen);
            progress.step();
            Row { user: shown(user), result }
        })
        .collect();
    drop(progress);
    if context.form == Form::Text {
        say::line(&table(&rows));
    }
    report::finish(context.form, rows)
}

/// All that the files say, by user, in the order in which they come up.
#[derive(Default)]
struct Candidates {
    users: Vec<(String, Candidate)>,
    places: HashMap<String, usize>,
}

impl Candidates {
    fn of(&mut self, user: String) -> Option<&mut Candidate> {
        let next = self.users.len();
        let place = *self.places.entry(user.clone()).or_insert(next);
        if place == next {
            self.users.push((user, Candidate::default()));
        }
        self.users.get_mut(place).map(|(_, candidate)| candidate)
    }

    fn add(&mut self, user: String, found: anyhow::Result<Found>) {
        let Some(candidate) = self.of(user) else { return };
        match found {
            // One more than can be, to tell it; no user fills the memory.
            Ok(found) if candidate.tokens.len() <= MAX_TOKENS => candidate.tokens.push(found),
            Ok(_) => {}
            Err(error) => _ = candidate.problem.get_or_insert(error),
        }
    }

    /// Reads a file. What is wrong with one user's part is kept for their
    /// result; what nobody can be told of fails the run, before anything is
    /// changed.
    fn read(&mut self, path: &Path, options: &ImportOptions) -> anyhow::Result<()> {
        let by_name = path.file_name().is_some_and(|name| name == GOOGLE_FILE);
        let format = options.from.or(by_name.then_some(Format::Google));
        let given = options.user.clone();
        if format == Some(Format::Google) {
            let user = given.or_else(|| owner_by_path(path)).context(
                "whose file is this? --user says it, or a path like /home/NAME/.google_authenticator",
            )?;
            // A file of the user's own: what is wrong with it is the user's alone.
            let found = read_google(path, &user);
            self.add(user, found);
            return Ok(());
        }
        let source = Source::open(path, format)?;
        let text = source.text()?;
        let format = match format {
            Some(format) => format,
            None => source.guess(text)?,
        };
        let all = match format {
            Format::Google => {
                let user = given.or_else(|| owner_by_path(path)).context(
                    "whose file is this? --user says it, or a path like /home/NAME/.google_authenticator",
                )?;
                let found = source.belongs_to(&user).and_then(|()| Ok(google::parse(text)?));
                self.add(user, found);
                return Ok(());
            }
            Format::Oath => oath::parse(text, &TimeZone::system())?,
            Format::Otpauth => otpauth::parse(text)?,
            Format::Pskc => pskc::parse(text)?,
        };
        let all = match (format, given) {
            (_, None) => all,
            // Its names are those of the system: --user picks one.
            (Format::Oath, Some(given)) => {
                all.into_iter().filter(|one| one.user.as_ref() == Some(&given)).collect()
            }
            (Format::Google | Format::Otpauth | Format::Pskc, Some(given)) => {
                owned_by(all, &given)?
            }
        };
        for Imported { user, found } in all {
            let user = match (user, found.as_ref().err()) {
                (Some(user), _) => user,
                (None, Some(error)) => bail!("{error}"),
                (None, None) => bail!("a token in it names no user (--user does)"),
            };
            self.add(user, found.map_err(anyhow::Error::from));
        }
        Ok(())
    }
}

/// All of a file's tokens as one user's, whatever their labels say; not where
/// they are several people's.
fn owned_by(all: Vec<Imported>, user: &str) -> anyhow::Result<Vec<Imported>> {
    let named: BTreeSet<_> = all.iter().filter_map(|one| one.user.as_deref()).collect();
    ensure!(
        named.len() <= 1,
        "it has the tokens of {} users: with --user one would get those of all",
        named.len()
    );
    let given = |one| Imported { user: Some(user.to_owned()), ..one };
    Ok(all.into_iter().map(given).collect())
}

/// `/home/NAME/.google_authenticator`, or `NAME` in a directory of such files.
fn owner_by_path(path: &Path) -> Option<String> {
    let name = match path.file_name()?.to_str()? {
        GOOGLE_FILE => path.parent()?.file_name()?.to_str()?,
        "-" => return None,
        name => name,
    };
    Some(name.to_owned())
}

fn read_google(path: &Path, user: &str) -> anyhow::Result<Found> {
    let source = Source::open(path, Some(Format::Google))?;
    source.belongs_to(user)?;
    let text = source.text()?;
    google::parse(text).with_context(|| path.display().to_string())
}

/// A file that was read.
struct Source {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    /// `None` for standard input.
    metadata: Option<std::fs::Metadata>,
}

impl Source {
    fn open(path: &Path, format: Option<Format>) -> anyhow::Result<Self> {
        let most = if format == Some(Format::Google) { MAX_GOOGLE_BYTES } else { MAX_BYTES };
        if path == Path::new("-") {
            let bytes = read(std::io::stdin().lock(), 64 * 1024, most)?;
            return Ok(Self { path: path.to_owned(), bytes, metadata: None });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match (openat(CWD, path, flags, Mode::empty()), format) {
            (Ok(file), _) => file,
            // The admin says what it is, and so where it may lead.
            (Err(Errno::LOOP), Some(Format::Oath | Format::Otpauth | Format::Pskc)) => {
                OwnedFd::from(File::open(path)?)
            }
            (Err(Errno::LOOP), Some(Format::Google)) => bail!("is a symbolic link"),
            (Err(Errno::LOOP), None) => {
                bail!("is a symbolic link: --from says of which format what it leads to is")
            }
            (Err(error), _) => return Err(error.into()),
        };
        let file = File::from(file);
        let metadata = file.metadata()?;
        ensure!(!metadata.is_dir(), "is a directory");
        let bytes = read(file, metadata.len(), most)?;
        Ok(Self { path: path.to_owned(), bytes, metadata: Some(metadata) })
    }

    fn text(&self) -> anyhow::Result<&str> {
        let text = std::str::from_utf8(&self.bytes).map_err(|error| {
            let before = self.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
            Malformed::new(line, "not text in UTF-8")
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// The format, by what is in the file: only where nobody but root had a
    /// hand in it. Who writes their own file must not choose whom it is about.
    fn guess(&self, text: &str) -> anyhow::Result<Format> {
        let foreign = self.metadata.as_ref().is_some_and(|metadata| metadata.uid() != 0);
        ensure!(!foreign, "it does not belong to root: --from says of which format it is");
        let mut lines = text.lines().map(str::trim);
        let first = lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("");
        Ok(if first.starts_with('<') {
            Format::Pskc
        } else if first.get(..10).is_some_and(|it| it.eq_ignore_ascii_case("otpauth://")) {
            Format::Otpauth
        } else if first.split_whitespace().next().is_some_and(is_oath_type) {
            Format::Oath
        } else if text.contains("\n\" ") {
            Format::Google
        } else {
            bail!("unknown format (--from names it: google, oath, otpauth or pskc)")
        })
    }

    /// A user's own file must be theirs or root's: in their own directory they
    /// could have put another's.
    fn belongs_to(&self, user: &str) -> anyhow::Result<()> {
        let Some(metadata) = &self.metadata else {
            return Ok(());
        };
        let path = self.path.display();
        ensure!(metadata.is_file(), "{path}: is not a regular file");
        ensure!(metadata.nlink() == 1, "{path}: has {} hard links", metadata.nlink());
        let uid = User::find(user)?.person.map(|person| person.uid);
        let owner = metadata.uid();
        ensure!(owner == 0 || Some(owner) == uid, "{path}: is owned by uid {owner}, not by {user}");
        Ok(())
    }
}

/// Secrets in base32 may begin so too, but do not end there.
fn is_oath_type(word: &str) -> bool {
    word == "HOTP" || word.starts_with("HOTP/")
}

/// Reads to the end, and leaves no copies behind on the way.
fn read(mut from: impl Read, expected: u64, most: u64) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let too_large = || anyhow!("has more than {most} bytes");
    ensure!(expected <= most, too_large());
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(expected)?.saturating_add(1)]);
    let mut length = 0_usize;
    loop {
        if length == bytes.len() {
            ensure!(u64::try_from(length)? <= most, too_large());
            let mut larger = Zeroizing::new(vec![0; length.saturating_mul(2).max(64 * 1024)]);
            if let Some(start) = larger.get_mut(..length) {
                start.copy_from_slice(&bytes);
            }
            bytes = larger;
        }
        let rest = bytes.get_mut(length..).unwrap_or_default();
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => length = length.saturating_add(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// A name as the report has it: what cannot be a user's name anyway must not
/// write over the admin's terminal.
fn shown(user: String) -> String {
    if UserName::new(user.as_str()).is_ok() {
        return user;
    }
    user.chars().flat_map(char::escape_default).take(64).collect()
}

/// Turns what the files say of a user into an account.
struct Importer<'a> {
    context: &'a Context,
    options: &'a ImportOptions,
    people: People,
    /// `None`: there is none yet, and this is a dry run.
    store: Option<Store>,
    issuer: String,
    now: Timestamp,
}

impl<'a> Importer<'a> {
    fn new(
        context: &'a Context,
        options: &'a ImportOptions,
        people: People,
    ) -> anyhow::Result<Self> {
        let store = match options.dry_run && !context.dir_exists()? {
            true => None,
            false if options.dry_run => Some(context.store()?),
            false => Some(context.open_or_make()?),
        };
        let issuer = context.config.issuer.clone().map_or_else(host_name, Ok)?;
        Ok(Self { context, options, people, store, issuer, now: now()? })
    }

    fn import(
        &self,
        user: &str,
        candidate: Candidate,
        seen: &mut BTreeSet<UserName>,
    ) -> anyhow::Result<Told> {
        let Candidate { tokens, problem } = candidate;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let known = self.people.find(user)?;
        let uid = match &known.person {
            Some(person) => person.uid(),
            None if self.options.force => Uid::Any,
            None => bail!("this system knows no such user (--force imports all the same)"),
        };
        ensure!(
            !seen.contains(&known.name),
            "is another name of {}, who was imported already",
            known.name
        );
        let mut told = Told {
            result: if self.options.dry_run { "would_be_imported" } else { "imported" },
            tokens: tokens.len(),
            activated: !self.options.pending,
            not_carried_over: Vec::new(),
            warnings: Vec::new(),
        };
        let account = self.account(known.name, uid, tokens, &mut told)?;
        self.issue(&account)?;
        seen.insert(account.record.user);
        Ok(told)
    }

    fn account(
        &self,
        user: UserName,
        uid: Uid,
        found: Vec<Found>,
        told: &mut Told,
    ) -> anyhow::Result<Account> {
        ensure!(found.len() <= MAX_TOKENS, "has more than {MAX_TOKENS} tokens");
        let generation = Generation::generate(&mut SysRng)?;
        let mut state = State::fresh(generation);
        state.activated_at = (!self.options.pending).then_some(self.now);
        let mut tokens: Vec<(TokenId, Token)> = Vec::new();
        let mut issuer = None;
        for (id, found) in TokenId::all().zip(found) {
            let Found { token, state: at, issuer: named, left, warnings } = found;
            // A code that one has spent would be good with the other.
            ensure!(
                tokens.iter().all(|(_, other)| other.secret != token.secret),
                "two of the tokens have the same secret"
            );
            self.look_at(&token, at, &mut told.warnings)?;
            told.warnings.extend(warnings);
            told.not_carried_over.extend(left);
            state = state.with_token(id, at);
            tokens.push((id, token));
            match (&issuer, named) {
                (None, Some(named)) if is_issuer(&named) => issuer = Some(named),
                (_, None) => {}
                (Some(kept), Some(named)) if *kept == named => {}
                (_, Some(_)) => told.not_carried_over.push(
                    "an issuer: an account has one, of 1 to 64 characters without ':'".to_owned(),
                ),
            }
        }
        let deadline = self.context.config.enrollment.deadline.seconds();
        let record = Record {
            user,
            uid,
            generation,
            issuer: issuer.unwrap_or_else(|| self.issuer.clone()),
            issued_at: self.now,
            deadline: deadline.filter(|_| self.options.pending).map(|time| self.now.plus(time)),
            tokens,
            recovery: None,
        };
        Ok(Account { record, state })
    }

    /// What an admin should know of a token; an error if it could not log in.
    fn look_at(
        &self,
        token: &Token,
        at: TokenState,
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let bits = token.secret.bits();
        if bits < WEAK_BELOW_BITS {
            warnings.push(format!(
                "the secret has {bits} bits; RFC 4226 asks for {WEAK_BELOW_BITS} or more \
                 (onetimectl enable --new-secret issues one of 160)"
            ));
        }
        match token.kind {
            Kind::Hotp if self.options.pending && at.next.0 > 0 => warnings.push(
                "the QR code shown at logins begins at counter 0, but the token has moved on: \
                 the user must go on with the device they have"
                    .to_owned(),
            ),
            Kind::Hotp => {}
            Kind::Totp { period } => {
                let present = self.now.0.checked_div(u64::from(period.get())).unwrap_or(0);
                let present = present.saturating_add_signed(i64::from(at.drift));
                ensure!(
                    at.next.0 <= present.saturating_add(AHEAD),
                    "its last code was used in the future: is the clock wrong, or was the file \
                     written in another time zone (then: TZ=Area/City onetimectl import)"
                );
                let most = self.context.config.code.max_drift.get();
                if u64::from(at.drift.unsigned_abs()) > most {
                    warnings.push(format!(
                        "the token's clock is {} steps off, but max_drift in [code] of \
                         onetime.toml follows {most} only: its codes are not accepted until it \
                         is raised",
                        at.drift
                    ));
                }
            }
        }
        Ok(())
    }

    fn issue(&self, account: &Account) -> anyhow::Result<()> {
        const THERE: &str = "is enabled already (--replace puts this in its place)";
        let Some(store) = &self.store else {
            return Ok(());
        };
        let user = &account.record.user;
        let replace = if self.options.replace { Replace::Yes } else { Replace::No };
        if self.options.dry_run {
            let there = replace == Replace::No && store.inspect(user)?.is_some();
            ensure!(!there, THERE);
            return Ok(());
        }
        match store.issue(account, replace)? {
            Issued::New => {}
            Issued::AlreadyThere => bail!(THERE),
        }
        report::log(user, "imported: a secret from elsewhere was issued");
        Ok(())
    }
}

/// Who was imported, what was left behind, how many of each.
fn table(rows: &[Row<Told>]) -> String {
    let told: Vec<_> =
        rows.iter().filter_map(|row| Some((&row.user, row.result.as_ref().ok()?))).collect();
    let mut text = String::new();
    if !told.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["USER", "RESULT", "TOKENS", "ACTIVATED"]);
        for (user, told) in &told {
            table.add_row([
                (*user).clone(),
                told.result.replace('_', " "),
                told.tokens.to_string(),
                if told.activated { "yes" } else { "no" }.to_owned(),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        text.push_str(&table.trim_fmt());
        text.push_str("\n\n");
    }
    notes(&mut text, "Not carried over:", &told, |told| &told.not_carried_over);
    notes(&mut text, "Mind:", &told, |told| &told.warnings);
    let failed = rows.len().saturating_sub(told.len());
    let done = match told.first() {
        Some((_, told)) => told.result.replace('_', " "),
        None => "imported".to_owned(),
    };
    text.push_str(&format!("{} {done}, {failed} failed.", told.len()));
    text
}

/// What is said of many is said once.
fn notes<'a>(
    text: &mut String,
    heading: &str,
    all: &[(&'a String, &'a Told)],
    of: impl Fn(&'a Told) -> &'a Vec<String>,
) {
    const NAMED: usize = 3;
    let mut by_note: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (user, told) in all {
        for note in of(told) {
            by_note.entry(note).or_default().push(user);
        }
    }
    if by_note.is_empty() {
        return;
    }
    text.push_str(heading);
    for (note, users) in by_note {
        let more = users.len().saturating_sub(NAMED);
        let named: Vec<_> = users.into_iter().take(NAMED).collect();
        text.push_str(&format!("\n  {}", named.join(", ")));
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text.push_str(&format!(": {note}"));
    }
    text.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_tokens_of_several_are_not_given_to_one() {
        let all = |text| otpauth::parse(text).unwrap();
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let one = format!("otpauth://totp/a%40b?secret={secret}\notpauth://hotp/?secret={secret}");
        let owned = owned_by(all(&one), "alice").unwrap();
        assert!(owned.iter().all(|one| one.user.as_deref() == Some("alice")));
        let two = format!("otpauth://totp/a?secret={secret}\notpauth://totp/b?secret={secret}");
        assert!(owned_by(all(&two), "alice").is_err());
    }

    #[test]
    fn reading_stops_at_the_limit_and_loses_nothing_before_it() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(200_000).collect();
        assert_eq!(*read(bytes.as_slice(), 0, 200_000).unwrap(), bytes);
        assert_eq!(*read(bytes.as_slice(), 200_000, 200_000).unwrap(), bytes);
        assert!(read(bytes.as_slice(), 300_000, 200_000).is_err());
        assert!(read(bytes.as_slice().chain(bytes.as_slice()), 10, 200_000).is_err());
    }
}
