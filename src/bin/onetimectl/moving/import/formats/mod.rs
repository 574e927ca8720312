//! What the files of other programs say: pure, text in, [`Imported`] out. The parsers
//! use nothing of the tool, so that they can also be tried alone (`fuzz/`).

pub(crate) mod google;
pub(crate) mod oath;
pub(crate) mod otpauth;
pub(crate) mod pskc;

use std::fmt;

use pam_onetime::account::TokenState;
use pam_onetime::code::Token;

/// No line of a file that people edit is longer.
const MAX_LINE: usize = 8192;

/// One token of a file.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Whose it is, as far as the file says.
    pub(crate) user: Option<String>,
    pub(crate) found: Result<Found, Malformed>,
}

/// A token, where it stands, and what else there was to be said.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) token: Token,
    pub(crate) state: TokenState,
    pub(crate) issuer: Option<String>,
    /// What the file says that has no place here, and what to do about it.
    pub(crate) left: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Found {
    fn new(token: Token, state: TokenState) -> Self {
        Self { token, state, issuer: None, left: Vec::new(), warnings: Vec::new() }
    }
}

/// What is wrong in which line. The line is never quoted: it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Malformed {
    pub(crate) fn new(line: usize, what: impl fmt::Display) -> Self {
        Self { line, what: what.to_string() }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Malformed {}

/// The lines of a file, by number; one that is far too long is an error.
fn lines(text: &str) -> impl Iterator<Item = Result<(usize, &str), Malformed>> {
    text.lines().zip(1..).map(|(line, number)| match line.len() {
        0..=MAX_LINE => Ok((number, line)),
        _ => Err(Malformed::new(number, format!("longer than {MAX_LINE} bytes"))),
    })
}

/// A word of the file that may be shown: short, and nothing but letters,
/// digits and a few signs of dates and names.
fn word(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '+');
    text.chars().filter(allowed).take(32).collect()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;

    /// Any text, and texts that look like such a file for longer.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = proptest::sample::select(vec![
            "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
            "\" TOTP_AUTH",
            "\" HOTP_COUNTER ",
            "\" DISALLOW_REUSE ",
            "\" TIME_SKEW ",
            "18446744073709551615",
            "-2147483648",
            "12345678",
            "HOTP alice - ",
            "HOTP/T30/6\talice\t-\t",
            "3132333435363738393031323334353637383930",
            " 0 000000 2009-12-07T23:23:49L",
            "9999-12-31T23:59:59L",
            "otpauth://totp/a:alice?secret=",
            "otpauth://hotp/%",
            "&counter=",
            "&issuer=%C3",
            "<KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">",
            "<KeyPackage>",
            "<Key Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:totp\">",
            "<Data><Time><PlainValue>",
            "<![CDATA[",
            "&#x110000;",
            "&lt;",
            "</",
            ">",
            "\n",
            " ",
            "ä",
            "\u{0}",
        ]);
        let likely = proptest::collection::vec(pieces, 0..24).prop_map(|parts| parts.concat());
        prop_oneof![any::<String>(), likely]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn no_parser_panics_or_quotes_a_secret(text in texts()) {
            let zone = TimeZone::UTC;
            let errors = [
                google::parse(&text).err(),
                oath::parse(&text, &zone).err(),
                otpauth::parse(&text).err(),
                pskc::parse(&text).err(),
            ];
            for error in errors.into_iter().flatten() {
                prop_assert!(!error.to_string().contains("GEZDGNBV"));
            }
        }
    }
}
