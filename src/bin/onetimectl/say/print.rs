//! The few ways to print: a line, a JSON document, raw text, a warning, a word
//! in colour.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is the place for it")]

use std::borrow::Cow;
use std::io::{IsTerminal, Write};

use serde::Serialize;

/// The colours of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Green,
    Yellow,
    BoldRed,
}

/// Prints a line of text on standard output.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// Prints a value as JSON, indented, on standard output.
///
/// # Errors
/// Those of the value's `Serialize`.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Writes what another program is to read on standard output, as it is.
///
/// # Errors
/// Those of writing.
pub(crate) fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Prints what does not fail the run on standard error.
pub(crate) fn warn(what: &str) {
    complain(what, None);
}

/// Prints what is wrong on standard error, and what to do about it below. In one
/// piece: other processes may write to the same terminal.
pub(super) fn complain(what: &str, remedy: Option<&str>) {
    let remedy = remedy.map(|remedy| format!("  -> {remedy}\n")).unwrap_or_default();
    let lines = format!("onetimectl: {what}\n{remedy}");
    eprint!("{lines}");
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
    !declined && std::io::stdout().is_terminal()
}
