//! The few ways to print: a line, a JSON document, raw text, a warning, a word
//! in colour. Nothing here panics where standard output or standard error is
//! closed or full: the first is an error of the run, of the second nobody can be
//! told.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use pam_onetime::bytes_as_text::Readable;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, FileType, fallocate, fstat};
use rustix::io::Errno;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::error::OutputError;
use crate::say::escaping;

/// The colours of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Green,
    Yellow,
    BoldRed,
}

/// Prints a line of text on standard output.
///
/// # Errors
/// Those of writing.
pub(crate) fn line(text: &str) -> Result<(), OutputError> {
    write(text)?;
    write("\n")
}

/// A line of cells, each as wide on a terminal as its column, two blanks apart.
pub(crate) fn columns<T: AsRef<str>>(cells: impl Iterator<Item = (T, usize)>) -> String {
    let mut line = String::with_capacity(128);
    for (cell, width) in cells {
        let cell = cell.as_ref();
        let blanks = width.saturating_sub(cell.width()).saturating_add(2);
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', blanks));
    }
    line.truncate(line.trim_end().len());
    line
}

/// Prints a value as JSON, indented, on standard output.
///
/// # Errors
/// Those of the value's `Serialize`, and of writing.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(&escaping::text(value)?)?)
}

/// Writes what another program is to read on standard output, as it is.
///
/// # Errors
/// Those of writing.
pub(crate) fn write(text: &str) -> Result<(), OutputError> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Bytes; more than a row of a user has, a secret with its QR code among it.
const ROW: u64 = 32 * 1024;

/// Whether standard output will take a row: asked before something is changed, so
/// that nothing is replaced by what nobody gets to see.
///
/// # Errors
/// It is full, or whoever read it is gone.
pub(crate) fn ready() -> Result<(), OutputError> {
    let stdout = io::stdout().lock();
    // Nothing is written, but /dev/full says already that it takes nothing.
    rustix::io::write(&stdout, b"").map_err(io::Error::from)?;
    let mut polled = [PollFd::new(&stdout, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).map_err(io::Error::from)?;
    if polled.iter().any(|fd| fd.revents().contains(PollFlags::ERR)) {
        return Err(io::Error::from(Errno::PIPE).into());
    }
    // Of a file: room on its disk, beyond its end.
    let stat = fstat(&stdout).map_err(io::Error::from)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        let end = u64::try_from(stat.st_size).unwrap_or(0);
        // Not every file system can say.
        let room = fallocate(&stdout, FallocateFlags::KEEP_SIZE, end, ROW);
        if let Err(full @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) = room {
            return Err(io::Error::from(full).into());
        }
    }
    Ok(())
}

/// Whether nobody would see what is printed: standard output is /dev/null, or was
/// closed when the program started (then Rust's runtime opens /dev/null in its place).
pub(crate) fn is_unseen() -> bool {
    /// mem(4), as Linux numbers it.
    const NULL: (u32, u32) = (1, 3);
    let of = |stat: rustix::fs::Stat| {
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
        is_device && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == NULL
    };
    fstat(io::stdout().lock()).is_ok_and(of)
}

/// Prints what does not fail the run on standard error.
pub(crate) fn warn(what: &str) {
    complain(what, None);
}

/// The same, and what to do about it.
pub(crate) fn warn_with(what: &str, remedy: &str) {
    complain(what, Some(remedy));
}

/// Prints what is wrong on standard error, and what to do about it below. In one
/// piece: other processes may write to the same terminal.
pub(super) fn complain(what: &str, remedy: Option<&str>) {
    let remedy = remedy.map(|remedy| format!("  -> {remedy}\n")).unwrap_or_default();
    let what: Vec<_> = what.split('\n').map(|line| Readable(line).to_string()).collect();
    ask(&format!("onetimectl: {}\n{remedy}", what.join("\n")));
}

/// Writes to standard error as it is. Where that cannot be, nobody can be told.
pub(super) fn ask(text: &str) {
    let mut stderr = io::stderr().lock();
    let _unheard = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()).is_err();
}

/// A text in colour, where standard output is the terminal of somebody who has
/// not declined colour; elsewhere the text as it is.
pub(crate) fn paint(colour: Colour, text: &str) -> Cow<'_, str> {
    if !has_colour() {
        return Cow::Borrowed(text);
    }
    let on = match colour {
        Colour::Green => "\x1b[32m",
        Colour::Yellow => "\x1b[33m",
        Colour::BoldRed => "\x1b[1;31m",
    };
    Cow::Owned(format!("{on}{text}\x1b[0m"))
}

/// <https://no-color.org>.
fn has_colour() -> bool {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !declined && io::stdout().is_terminal()
}
