//! `onetimectl export`: writes tokens for another system, as otpauth URIs, as PSKC
//! (RFC 6030), or as the files of pam_oath and pam_google_authenticator. What it
//! writes is secret.

mod google;
mod oath;
mod pskc;

use std::fs::DirBuilder;
use std::io::IsTerminal;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::error::ErrorKind;
use pam_onetime::account::{Account, Phase, Timestamp, TokenId, Uid};
use pam_onetime::bytes_as_text::{Readable, to_bytes};
use pam_onetime::code::{Algorithm, Token};
use pam_onetime::config::CodePolicy;
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::store::Store;
use pam_onetime::system::now;
use serde::Serialize;
use serde::ser::SerializeSeq;
use zeroize::Zeroizing;

use crate::cli::{ExportFormat, ExportOptions};
use crate::context::Context;
use crate::error::ToolError;
use crate::paper::file::{NewFile, Owner};
use crate::people::{Origin, People, User};
use crate::say::report::{self, Row};
use crate::say::{self, Form};

/// The tokens of one user, in the format that was asked for.
#[derive(Serialize)]
struct UserExport {
    /// URIs for [`ExportFormat::Otpauth`], the only one that is JSON too.
    #[serde(rename = "uris", serialize_with = "plain")]
    parts: Vec<Zeroizing<String>>,
}

fn plain<S: serde::Serializer>(
    texts: &[Zeroizing<String>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut all = serializer.serialize_seq(Some(texts.len()))?;
    texts.iter().try_for_each(|text| all.serialize_element(text.as_str()))?;
    all.end()
}

/// Why a token or a user has no place in a format: what it is of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LeftOut(String);

/// What another module's file holds of a user, and what it does not.
#[derive(Default)]
struct Foreign {
    /// Lines, or whole files.
    text: Vec<Zeroizing<String>>,
    notes: Vec<String>,
    /// Why nothing is left, if nothing is.
    why: Option<LeftOut>,
}

impl Foreign {
    fn left_out(&mut self, id: TokenId, why: &LeftOut) {
        let why = LeftOut(format!("token {} is left out for {}", id.get(), why.0));
        self.notes.push(why.0.clone());
        self.why.get_or_insert(why);
    }

    /// With notes on what the account has besides tokens.
    fn of(mut self, account: &Account) -> Result<Self, LeftOut> {
        if self.text.is_empty() {
            return Err(self.why.unwrap_or_else(|| LeftOut("there is no token".into())));
        }
        if account.record.recovery.is_some() {
            self.notes.push("recovery codes are left out: only their hashes are known here".into());
        }
        match account.phase() {
            Phase::Active { .. } => {}
            Phase::Pending => {
                self.notes.push("is pending here; there every login needs a code at once".into());
            }
        }
        Ok(self)
    }
}

/// Tokens of other digests have no place with `reader`.
fn must_be_sha1(token: &Token, reader: &str) -> Result<(), LeftOut> {
    match token.algorithm {
        Algorithm::Sha1 => Ok(()),
        other @ (Algorithm::Sha256 | Algorithm::Sha512) => {
            Err(LeftOut(format!("its algorithm {other}: {reader} has SHA1 only")))
        }
    }
}

/// Where the export goes.
enum Destination<'a> {
    Stdout,
    /// One new file.
    File(&'a Path),
    /// A directory, with a new file for each user.
    Directory(&'a Path),
}

/// Without users: everybody.
pub(crate) fn run(context: &Context, options: &ExportOptions) -> anyhow::Result<ExitCode> {
    let destination = destination(context.form, options)?;
    let store = context.store()?;
    if let (Destination::Stdout, true) = (&destination, std::io::stdout().is_terminal()) {
        say::warn("what follows are secrets: whoever sees them can make every code");
    }
    let people = match options.users.as_slice() {
        [] => People::enabled(&store)?,
        users => People::of(users.to_vec(), Origin::Named)?,
    };
    if let Destination::Directory(directory) = destination {
        make(directory).with_context(|| format!("cannot write into {}", directory.display()))?;
    }
    let job = Job { store, format: options.format, policy: &context.config.code, now: now()? };
    let row = |name: &String| Row::of(&people, name, |user| job.export(user, &destination));
    let rows: Vec<_> = people.names().iter().map(row).collect();
    let exported = rows.iter().filter_map(|row| row.result.as_ref().ok());
    match (context.form, destination) {
        (Form::Json, _) | (_, Destination::Directory(_)) => {}
        (Form::Text, Destination::Stdout) => {
            for piece in whole(options.format, exported) {
                say::write(&piece)?;
            }
        }
        (Form::Text, Destination::File(path)) => {
            let mut all = Zeroizing::new(Vec::new());
            let pieces: Vec<_> = whole(options.format, exported).collect();
            // Reserved at once: what grows leaves copies behind.
            all.reserve_exact(pieces.iter().map(|piece| piece.len()).sum());
            pieces.iter().for_each(|piece| all.extend_from_slice(piece.as_bytes()));
            let _path = NewFile::write(path, &all)?.keep();
        }
    }
    report::finish(context.form, rows)
}

/// Where to.
///
/// # Errors
/// Wrong usage.
fn destination(form: Form, options: &ExportOptions) -> anyhow::Result<Destination<'_>> {
    let wrong = |what| Err(say::usage(ErrorKind::ArgumentConflict, what));
    Ok(match (options.format, &options.output) {
        (ExportFormat::Otpauth, Some(_)) if form == Form::Json => {
            return wrong("--json goes to standard output: leave out --output");
        }
        (ExportFormat::Pskc | ExportFormat::Oath | ExportFormat::Google, _)
            if form == Form::Json =>
        {
            return wrong("--json needs --format otpauth");
        }
        (ExportFormat::Google, Some(directory)) => Destination::Directory(directory),
        (ExportFormat::Google, None) if options.users.len() != 1 => {
            return wrong(
                "--format google is a file for each user: name one USER, or --output DIRECTORY",
            );
        }
        (_, None) => Destination::Stdout,
        (ExportFormat::Otpauth | ExportFormat::Pskc | ExportFormat::Oath, Some(file)) => {
            Destination::File(file)
        }
    })
}

/// Makes the directory, or sees to it that nobody else writes there.
fn make(directory: &Path) -> anyhow::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let found = directory.symlink_metadata()?;
            ensure!(found.is_dir(), "it is not a directory");
            let others = found.uid() != rustix::process::geteuid().as_raw();
            ensure!(!others && found.mode() & 0o022 == 0, "users other than root can write there");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The parts of all users as one file.
fn whole<'a>(
    format: ExportFormat,
    users: impl Iterator<Item = &'a UserExport>,
) -> impl Iterator<Item = Zeroizing<String>> {
    let part = move |part: &Zeroizing<String>| match format {
        ExportFormat::Otpauth | ExportFormat::Oath => line(part),
        ExportFormat::Pskc | ExportFormat::Google => part.clone(),
    };
    let mut parts = users.flat_map(|user| &user.parts).map(part).peekable();
    let [begin, end] = match (format, parts.peek()) {
        // A container without keys would be none.
        (ExportFormat::Pskc, Some(_)) => pskc::container().map(|text| Some(text.into())),
        (ExportFormat::Pskc, None) => [None, None],
        (ExportFormat::Otpauth | ExportFormat::Oath | ExportFormat::Google, _) => [None, None],
    };
    begin.into_iter().chain(parts).chain(end)
}

/// What is the same for all users of a run.
struct Job<'a> {
    store: Store,
    format: ExportFormat,
    policy: &'a CodePolicy,
    now: Timestamp,
}

impl Job<'_> {
    fn export(&self, user: &User, destination: &Destination<'_>) -> anyhow::Result<UserExport> {
        let account = self.store.inspect_as(&user.name, user.uid())?;
        let account = account.ok_or(ToolError::NOT_ENABLED)?;
        let invitation = Invitation::new(&account.record, &PasswordProof::by_administrator());
        let parts = match self.format {
            ExportFormat::Otpauth => Enrollment::of(&invitation)
                .map(|token| token.uri_from(account.state.token(token.id).next))
                .collect(),
            ExportFormat::Pskc => pskc::packages(&account).context("a token cannot be written")?,
            ExportFormat::Oath => taken(user, oath::lines(&account, self.now))?,
            ExportFormat::Google => taken(user, google::file(&account, self.policy))?,
        };
        match destination {
            Destination::Directory(directory) => {
                let path = directory.join(file_name(user)?);
                let text = parts.first().context("there is no token")?;
                let owner = owner(user, &account);
                let path = NewFile::write_for(&path, text.as_bytes(), owner)?.keep();
                let path = path.display().to_string();
                say::line(&format!("{}: written to {}", user.name, Readable(&path)))?;
            }
            Destination::Stdout | Destination::File(_) => {}
        }
        report::log(&user.name, "exported: the secret was shown to an administrator");
        Ok(UserExport { parts })
    }
}

/// Whoever logs in with it must be able to read it, and nobody else.
fn owner(user: &User, account: &Account) -> Owner {
    match (user.uid(), account.record.uid) {
        (Some(uid), _) | (None, Uid::Is(uid)) => Owner::User(uid),
        (None, Uid::Any) => Owner::Us,
    }
}

/// The file of a user in a directory of such files.
fn file_name(user: &User) -> anyhow::Result<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let name = to_bytes(user.name.as_str());
    ensure!(!name.contains(&b'/') && !name.starts_with(b"."), "the name cannot be a file's");
    Ok(std::ffi::OsStr::from_bytes(&name).into())
}

/// What a format has of a user; what it has not is said.
fn taken(user: &User, found: Result<Foreign, LeftOut>) -> anyhow::Result<Vec<Zeroizing<String>>> {
    let Foreign { text, notes, why: _ } =
        found.map_err(|LeftOut(why)| anyhow::anyhow!("cannot be exported so: {why}"))?;
    for note in notes {
        say::warn(&format!("{}: {note}", Readable(user.name.as_str())));
    }
    Ok(text)
}

fn line(text: &str) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(text.len().saturating_add(1)));
    line.push_str(text);
    line.push('\n');
    line
}
