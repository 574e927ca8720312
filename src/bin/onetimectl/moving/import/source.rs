//! A file that is to be imported: opened without being led astray, read up to a
//! bound, and recognized.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::picture::{self, Kind};
use crate::error::ToolError;
use crate::formats::{self, Aids, FORMATS, ForeignToken, Format, FormatError, NoKeys, Users};
use crate::people::User;

/// A file that was read.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    /// `None` for standard input.
    metadata: Option<Metadata>,
}

impl Source {
    /// Reads a file whose format is known, or is to be recognized.
    ///
    /// # Errors
    /// It cannot be read, is larger than the format's bound, or is a symbolic
    /// link where nobody says that it may lead somewhere.
    pub(super) fn open(path: &Path, format: Option<&dyn Format>) -> anyhow::Result<Self> {
        let bound = format.map_or_else(formats::largest_bound, |format| format.bound());
        // Who may name users by labels may do so in a picture too.
        let may_be_picture = match format.map(Format::users) {
            None | Some(Users::ManyByLabel | Users::OneByLabel) => true,
            Some(Users::One { .. } | Users::ManyByName) => false,
        };
        if path == Path::new("-") {
            let bytes = contents(std::io::stdin().lock(), 64 * 1024, bound, may_be_picture)?;
            return Ok(Self { path: path.to_owned(), bytes, metadata: None });
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match (openat(CWD, path, flags, Mode::empty()), format.map(Format::users)) {
            (Ok(file), _) => file,
            // The admin says what it is, and so where it may lead.
            (
                Err(Errno::LOOP),
                Some(Users::ManyByName | Users::ManyByLabel | Users::OneByLabel),
            ) => OwnedFd::from(File::open(path)?),
            (Err(Errno::LOOP), Some(Users::One { .. })) => bail!("is a symbolic link"),
            (Err(Errno::LOOP), None) => {
                bail!("is a symbolic link: name the format of its target with --from")
            }
            (Err(error), _) => return Err(error.into()),
        };
        let file = File::from(file);
        let metadata = file.metadata()?;
        ensure!(!metadata.is_dir(), ToolError::new("is a directory", "name the files in it"));
        let kind = metadata.file_type();
        ensure!(!kind.is_char_device() && !kind.is_block_device(), "is a device");
        let bytes = contents(file, metadata.len(), bound, may_be_picture)?;
        Ok(Self { path: path.to_owned(), bytes, metadata: Some(metadata) })
    }

    /// Bytes.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// What is in it, without a byte order mark.
    ///
    /// # Errors
    /// The line that is not UTF-8.
    pub(super) fn text(&self) -> Result<&str, FormatError> {
        let text = std::str::from_utf8(&self.bytes).map_err(|error| {
            let before = self.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
            FormatError::new(line, "not text in UTF-8")
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// The format, by what is in the file: only where it is root's. Who writes
    /// their own file must not choose whom it is about.
    ///
    /// # Errors
    /// It is another's than root's, looks like no format, or is larger than a
    /// file of that format may be.
    pub(super) fn recognize(&self) -> anyhow::Result<&'static dyn Format> {
        let text = self.text()?;
        let foreign = self.metadata.as_ref().is_some_and(|metadata| metadata.uid() != 0);
        ensure!(!foreign, "it does not belong to root: name its format with --from");
        let Some(format) = formats::by_content(text) else {
            let names: Vec<_> = FORMATS.iter().map(|format| format.name()).collect();
            bail!("unknown format (name it with --from: {})", names.join(", "));
        };
        let bound = format.bound();
        ensure!(u64::try_from(self.bytes.len())? <= bound, too_large(bound));
        Ok(format)
    }

    /// The token in a file of one user's own.
    ///
    /// # Errors
    /// It is not the user's, or not of this format.
    pub(super) fn own(&self, format: &dyn Format, user: &str) -> anyhow::Result<ForeignToken> {
        self.belongs_to(user)?;
        let mut only = None;
        let parsed = format.parse(self.text()?, &Aids::with(&NoKeys), &mut |entry| {
            only.get_or_insert(entry);
        });
        parsed.with_context(|| self.path.display().to_string())?;
        Ok(only.context("there is no token in it")?.token?)
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
        let uid = User::find(user)?.uid();
        let owner = metadata.uid();
        ensure!(owner == 0 || Some(owner) == uid, "{path}: is owned by uid {owner}, not by {user}");
        Ok(())
    }
}

fn too_large(bound: u64) -> anyhow::Error {
    anyhow!("has more than {bound} bytes")
}

/// What a file says: its bytes, or of a picture the texts of its QR codes, one a line.
fn contents(
    mut from: impl Read,
    expected: u64,
    bound: u64,
    may_be_picture: bool,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut start = Zeroizing::new(Vec::with_capacity(usize::try_from(Kind::BYTES)?));
    from.by_ref().take(Kind::BYTES).read_to_end(&mut start)?;
    let kind = if may_be_picture { Kind::of(&start) } else { None };
    let bound = if kind.is_some() { picture::BOUND } else { bound };
    let bytes = read(start.as_slice().chain(from), expected, bound)?;
    match kind {
        Some(kind) => picture::texts(kind, &bytes),
        None => Ok(bytes),
    }
}

/// Reads to the end, and leaves no copies behind on the way.
pub(super) fn read(
    mut from: impl Read,
    expected: u64,
    bound: u64,
) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    ensure!(expected <= bound, too_large(bound));
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(expected)?.saturating_add(1)]);
    let mut length = 0_usize;
    loop {
        if length == bytes.len() {
            ensure!(u64::try_from(length)? <= bound, too_large(bound));
            // Both are there for a while, and what was not needed is wiped as well.
            let room = (length / 4).max(64 * 1024);
            let mut larger = Zeroizing::new(vec![0; length.saturating_add(room)]);
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A file of this many bytes, most of them in no block of the disk.
    fn sparse(text: &str, length: u64) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.as_file().set_len(length).unwrap();
        file
    }

    #[test]
    fn no_format_accepts_a_file_larger_than_its_bound() {
        for format in FORMATS {
            let bound = format.bound();
            let file = sparse(format.sample(), bound + 1);
            let error = Source::open(file.path(), Some(*format)).unwrap_err().to_string();
            assert_eq!(error, format!("has more than {bound} bytes"), "{format:?}");
            // Nor where the format is recognized only once the file is read.
            if bound < formats::largest_bound() {
                let source = Source::open(file.path(), None).unwrap();
                let source = Source { metadata: None, ..source };
                let error = source.recognize().unwrap_err().to_string();
                assert_eq!(error, format!("has more than {bound} bytes"), "{format:?}");
            } else {
                assert!(Source::open(file.path(), None).is_err(), "{format:?}");
            }
            let file = sparse(format.sample(), format.sample().len().try_into().unwrap());
            let source = Source::open(file.path(), None).unwrap();
            let recognized = Source { metadata: None, ..source }.recognize().unwrap();
            assert_eq!(recognized.name(), format.name());
        }
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
