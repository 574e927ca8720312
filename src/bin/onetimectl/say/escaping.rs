//! How JSON is written: indented, and with `\u202e` for what would not be seen or would
//! turn the direction of writing around. It means the same to a program, and does not
//! write over the terminal of a person.

use std::io::{self, Write};

use pam_onetime::bytes_as_text::is_unseen;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

/// A serializer that writes so.
pub(super) fn serializer<W: Write>(out: W) -> Serializer<W, EscapingFormatter> {
    Serializer::with_formatter(out, EscapingFormatter(PrettyFormatter::new()))
}

/// A value as text.
///
/// # Errors
/// Those of the value's `Serialize`.
pub(super) fn text(value: &impl Serialize) -> anyhow::Result<String> {
    let mut out = Vec::new();
    value.serialize(&mut serializer(&mut out))?;
    Ok(String::from_utf8(out)?)
}

/// `PrettyFormatter`, but for strings.
pub(super) struct EscapingFormatter(PrettyFormatter<'static>);

impl Formatter for EscapingFormatter {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((seen, unseen)) = rest.split_once(is_unseen) {
            out.write_all(seen.as_bytes())?;
            let end = rest.len().saturating_sub(unseen.len());
            let character = rest.get(seen.len()..end).unwrap_or_default();
            for unit in character.encode_utf16() {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = unseen;
        }
        out.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_shows_what_cannot_be_seen_and_means_what_it_did() {
        let value = serde_json::json!({
            "a\u{202e}b": ["\u{2066}x\u{feff}", "\u{7f}\u{9b}\n\"", "\u{e0041}é李"], "b": [], "c": {}
        });
        let written = text(&value).unwrap();
        assert!(!written.contains(|c| is_unseen(c) && c != '\n'), "{written:?}");
        for part in [
            "\"a\\u202eb\"",
            "\"\\u2066x\\ufeff\"",
            "\"\\u007f\\u009b\\n\\\"\"",
            "\"\\udb40\\udc41é李\"",
        ] {
            assert!(written.contains(part), "{part}: {written}");
        }
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
        let plain = serde_json::json!([{ "a": [1, "x"], "b": [], "c": {} }]);
        assert_eq!(text(&plain).unwrap(), serde_json::to_string_pretty(&plain).unwrap());
    }
}
