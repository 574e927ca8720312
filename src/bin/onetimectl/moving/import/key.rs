//! The key or password of an encrypted file: from the file of `--key-file`, or typed on the
//! terminal without echo. It is no argument and no variable, where others could read it.

use std::cell::Cell;
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context as _, ensure};
use rustix::termios::tcgetpgrp;
use zeroize::Zeroizing;

use super::source;
use crate::formats::{KeyError, KeySource, WantedKey};
use crate::say;

/// Bytes; no key and no password is longer.
const BOUND: u64 = 4096;
/// Whom a file of a key is nothing to: group and others.
const OTHERS: u32 = 0o077;

/// Where the keys of a run come from.
pub(super) enum KeyInput {
    /// The file of `--key-file`, read.
    File { text: Zeroizing<Vec<u8>>, used: Cell<Use> },
    /// The terminal, if there is one.
    Terminal,
}

/// Whether a file needed the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    None,
    Some,
}

impl KeyInput {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// It cannot be read, is a directory or a device, or too large.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Terminal) };
        let read = || {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            let kind = metadata.file_type();
            ensure!(!kind.is_dir(), "is a directory");
            ensure!(!kind.is_char_device() && !kind.is_block_device(), "is a device");
            if kind.is_file() && metadata.mode() & OTHERS != 0 {
                let path = path.display();
                say::warn(&format!("{path}: others than its owner have access to this key"));
            }
            source::read(file, metadata.len(), BOUND)
        };
        let text = read().with_context(|| format!("{}: nothing was imported", path.display()))?;
        Ok(Self::File { text, used: Cell::new(Use::None) })
    }

    /// For one of the files to import.
    pub(super) const fn of<'a>(&'a self, path: &'a Path) -> KeyOfFile<'a> {
        KeyOfFile { input: self, path }
    }

    /// Says so where nothing was encrypted.
    pub(super) fn warn_if_unused(&self) {
        match self {
            Self::File { used, .. } if used.get() == Use::None => {
                say::warn("--key-file was not needed: nothing that was imported is encrypted");
            }
            Self::File { .. } | Self::Terminal => {}
        }
    }
}

/// The key of one file.
pub(super) struct KeyOfFile<'a> {
    input: &'a KeyInput,
    path: &'a Path,
}

impl KeySource for KeyOfFile<'_> {
    fn key(&self, wanted: &WantedKey<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        match self.input {
            KeyInput::File { text, used } => {
                used.set(Use::Some);
                Ok(text.clone())
            }
            KeyInput::Terminal if !may_ask() => Err(KeyError {
                what: String::new(),
                remedy: Some("name a file that has it: --key-file FILE"),
            }),
            KeyInput::Terminal => {
                let prompt = format!("The {wanted} of {}: ", self.path.display());
                let typed = rpassword::prompt_password(prompt).map_err(|error| KeyError {
                    what: format!(", and cannot be asked for: {error}"),
                    remedy: Some("name a file that has it: --key-file FILE"),
                })?;
                Ok(Zeroizing::new(typed.into_bytes()))
            }
        }
    }
}

/// Whether somebody is there to be asked: in the background nobody would answer, and reading
/// would stop us.
fn may_ask() -> bool {
    File::open("/dev/tty")
        .is_ok_and(|tty| tcgetpgrp(&tty).is_ok_and(|group| group == rustix::process::getpgrp()))
}
