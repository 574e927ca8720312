//! What the files of other programs say: pure, text in, [`ForeignEntry`] values out. [`FORMATS`]
//! is the list of all formats. The command line, the completions, the tests, the
//! fuzz target and the test of the manual page walk it; a new format is a file here
//! and a line there. Nothing of the tool is used, so that the parsers can also be
//! tried alone (`fuzz/`).

mod aegis;
mod bitwarden;
mod google;
mod json;
mod migration;
mod oath;
mod oath_csv;
mod otpauth;
mod pass_otp;
pub(crate) mod pskc;
pub(crate) mod separated;
mod two_fas;

use std::ffi::OsStr;
use std::fmt;

use jiff::tz::TimeZone;
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Token};
use zeroize::Zeroizing;

/// Every format there is. Where a text looks like several, the first has it.
pub(crate) static FORMATS: &[&dyn Format] = &[
    &pskc::Pskc,
    &otpauth::Otpauth,
    &migration::Migration,
    &aegis::Aegis,
    &two_fas::TwoFas,
    &bitwarden::Bitwarden,
    &oath_csv::OathCsv,
    &oath::Oath,
    &google::Google,
    &pass_otp::PassOtp,
];

/// Bytes; 100,000 keys in PSKC, the most verbose format, have half of that.
const BOUND_OF_MANY: u64 = 256 * 1024 * 1024;
/// Bytes; no line of a file that people edit is longer.
const MAX_LINE: usize = 8192;

/// A format: what it is called, how it is recognized and how it is read.
pub(crate) trait Format: fmt::Debug + Sync {
    /// The word for it on the command line and in the manual page.
    fn name(&self) -> &'static str;

    /// What it is: one line for `--help` and completions.
    fn summary(&self) -> &'static str;

    /// Whose tokens such a file has.
    fn users(&self) -> Users;

    /// Whether several files may be parts of one whole, which has to be complete.
    fn spans_files(&self) -> bool {
        false
    }

    /// The size of the largest file that is accepted, in bytes.
    fn bound(&self) -> u64;

    /// Whether a text looks like this format.
    fn sniff(&self, text: &str) -> bool;

    /// Reads a whole file, and hands each entry to `found` as it comes, in the order of the
    /// file: none is kept here, so that a large file needs little memory. A token that is no
    /// good fails its user alone.
    ///
    /// # Errors
    /// [`FormatError`] where nobody knows whose token is missing then, or the key of an
    /// encrypted file is not there or wrong. What was found before is void.
    fn parse(&self, text: &str, aids: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError>;

    /// A small file that is in order.
    #[cfg(test)]
    fn sample(&self) -> &'static str;
}

/// What a file does not say itself.
pub(crate) struct Aids<'a> {
    /// The zone of times without one.
    pub(crate) zone: TimeZone,
    /// The keys of encrypted values.
    pub(crate) keys: &'a dyn KeySource,
}

impl<'a> Aids<'a> {
    /// In the zone of the system.
    pub(crate) fn with(keys: &'a dyn KeySource) -> Self {
        Self { zone: TimeZone::system(), keys }
    }
}

/// Where the key of an encrypted file comes from.
pub(crate) trait KeySource {
    /// The key or password, as it is in a file or was typed.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn key(&self, wanted: &WantedKey<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError>;
}

/// No key is there.
#[derive(Debug)]
pub(crate) struct NoKeys;

impl KeySource for NoKeys {
    fn key(&self, _wanted: &WantedKey<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Err(KeyError { what: String::new(), remedy: None })
    }
}

/// Which key a file asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedKey<'a> {
    pub(crate) kind: KeyKind,
    /// What the file calls it.
    pub(crate) name: Option<&'a str>,
}

/// What opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// The key itself.
    Shared,
    /// What the key is made of.
    Password,
}

impl fmt::Display for WantedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            KeyKind::Shared => "key",
            KeyKind::Password => "password",
        })?;
        match self.name.map(word) {
            Some(name) if !name.is_empty() => write!(f, " `{name}`"),
            Some(_) | None => Ok(()),
        }
    }
}

/// Why a key is not to be had.
#[derive(Debug)]
pub(crate) struct KeyError {
    /// What goes on after "its key is needed".
    pub(crate) what: String,
    /// What the admin can do about it.
    pub(crate) remedy: Option<&'static str>,
}

/// What takes the entries of a file, one by one.
pub(crate) type Found<'a> = dyn FnMut(ForeignEntry) + 'a;

/// Whose tokens a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Users {
    /// One user's, whom the file does not name. It is the user's own, and in
    /// their home directory it has this name.
    One {
        /// Without directories.
        file_name: &'static str,
    },
    /// Many users', by their names on the system.
    ManyByName,
    /// Many users', by labels that may be other names: of an account elsewhere.
    ManyByLabel,
    /// One user's, by such a label or else by the name of the file.
    OneByLabel,
}

/// One token of a file.
#[derive(Debug)]
pub(crate) struct ForeignEntry {
    /// Whose it is, as far as the file says.
    pub(crate) user: Option<String>,
    /// What else the file calls it, such as a serial number or the whole label, and its
    /// line where it names no user: a map may go by these. None is a secret.
    pub(crate) labels: Vec<String>,
    pub(crate) token: Result<ForeignToken, FormatError>,
}

impl ForeignEntry {
    /// A token that the file calls by its user's name alone.
    fn new(user: Option<String>, token: Result<ForeignToken, FormatError>) -> Self {
        Self { user, labels: Vec::new(), token }
    }

    /// Every name by which a map may know it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().chain(&self.user).map(String::as_str)
    }
}

/// A token from elsewhere.
#[derive(Debug)]
pub(crate) struct ForeignToken {
    pub(crate) token: Token,
    /// Which of its codes are spent, and how its clock is off.
    pub(crate) state: TokenState,
    pub(crate) issuer: Option<String>,
    /// What the file says that has no place here, and what to do about it.
    pub(crate) not_carried_over: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl ForeignToken {
    fn new(token: Token, state: TokenState) -> Self {
        Self { token, state, issuer: None, not_carried_over: Vec::new(), warnings: Vec::new() }
    }
}

/// What is wrong in which line. The line is never quoted: it holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FormatError {
    /// From 1 on.
    pub(crate) line: usize,
    pub(crate) what: String,
    /// What the admin can do about it.
    pub(crate) remedy: Option<&'static str>,
}

impl FormatError {
    pub(crate) fn new(line: usize, what: impl fmt::Display) -> Self {
        Self { line, what: what.to_string(), remedy: None }
    }

    fn with_remedy(self, remedy: &'static str) -> Self {
        Self { remedy: Some(remedy), ..self }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for FormatError {}

/// All entries of a file at once.
///
/// # Errors
/// As [`Format::parse`].
#[cfg(test)]
pub(crate) fn all(
    format: &dyn Format,
    text: &str,
    zone: &TimeZone,
) -> Result<Vec<ForeignEntry>, FormatError> {
    let mut all = Vec::new();
    let aids = Aids { zone: zone.clone(), keys: &NoKeys };
    format.parse(text, &aids, &mut |entry| all.push(entry))?;
    Ok(all)
}

/// The format of this name.
pub(crate) fn by_name(name: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.name() == name)
}

/// The format of the file that users have under this name in their home
/// directories.
pub(crate) fn by_file_name(name: &OsStr) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| match format.users() {
        Users::One { file_name } => name == file_name,
        Users::ManyByName | Users::ManyByLabel | Users::OneByLabel => false,
    })
}

/// The format that a text looks like.
pub(crate) fn by_content(text: &str) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.sniff(text))
}

/// Bytes; no format accepts a larger file.
pub(crate) fn largest_bound() -> u64 {
    FORMATS.iter().map(|format| format.bound()).max().unwrap_or(0)
}

/// The first line with something on it that is no comment.
fn first_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("")
}

/// What follows the scheme of a URI, if it is this one, in letters of any case.
fn after_scheme<'a>(line: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = line.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// The lines of a file, by number; one that is far too long is an error.
fn lines(text: &str) -> impl Iterator<Item = Result<(usize, &str), FormatError>> {
    text.lines().zip(1..).map(|(line, number)| match line.len() {
        0..=MAX_LINE => Ok((number, line)),
        _ => Err(FormatError::new(number, format!("longer than {MAX_LINE} bytes"))),
    })
}

/// A word of the file that may be shown: short, and nothing but letters,
/// digits and a few signs of dates and names.
fn word(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.' | '+');
    text.chars().filter(allowed).take(32).collect()
}

/// The digest that a name means, in the spellings of standards and programs: `SHA1`,
/// `sha-256`, `HmacSHA512`, `HMAC-SHA-1`, `http://www.w3.org/2000/09/xmldsig#hmac-sha1`.
fn algorithm(name: &str) -> Option<Algorithm> {
    let name = name.rsplit_once('#').map_or(name, |(_, name)| name);
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_uppercase();
    // Other letters could be of another name.
    let known = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' '));
    plain.strip_prefix("HMAC").unwrap_or(&plain).parse().ok().filter(|_| known)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_format_recognizes_its_sample_and_no_other_and_reads_it() {
        for format in FORMATS {
            for other in FORMATS {
                let recognized = other.sniff(format.sample());
                assert_eq!(recognized, other.name() == format.name(), "{other:?}: {format:?}");
            }
            let all = all(*format, format.sample(), &TimeZone::UTC).unwrap();
            assert_eq!(all.len(), 1, "{format:?}");
            for ForeignEntry { user, token, .. } in all {
                let named = match format.users() {
                    Users::One { .. } => None,
                    Users::ManyByName | Users::ManyByLabel | Users::OneByLabel => Some("alice"),
                };
                assert_eq!(user.as_deref(), named, "{format:?}");
                assert_eq!(token.unwrap().token.secret.bits(), 160, "{format:?}");
            }
        }
        assert!(by_content("").is_none() && by_content("hello\n").is_none());
    }

    #[test]
    fn each_format_has_a_name_and_a_file_name_of_its_own_and_a_line_about_it() {
        let names: BTreeSet<_> = FORMATS.iter().map(|format| format.name()).collect();
        assert_eq!(names.len(), FORMATS.len());
        for format in FORMATS {
            assert!(by_name(format.name()).is_some_and(|found| found.name() == format.name()));
            assert!((1..=64).contains(&format.summary().len()), "{format:?}");
            assert!((1..=BOUND_OF_MANY).contains(&format.bound()), "{format:?}");
            if let Users::One { file_name } = format.users() {
                let found = by_file_name(OsStr::new(file_name));
                assert!(found.is_some_and(|found| found.name() == format.name()), "{format:?}");
            }
        }
        assert!(by_name("").is_none() && by_file_name(OsStr::new("users.oath")).is_none());
    }

    #[test]
    fn the_manual_page_has_each_format_in_its_synopsis_and_in_a_paragraph_of_its_own() {
        let page = include_str!("../../../../docs/onetimectl.8");
        let (_, list) = page.split_once("These are the formats:\n").expect("the list of formats");
        let (list, _) = list.split_once(".El\n").expect("its end");
        let documented: BTreeSet<_> =
            list.lines().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
        assert_eq!(documented, FORMATS.iter().map(|format| format.name()).collect());
        for start in [".Op Fl -from Cm ", ".It Fl -from Cm "] {
            let line = page.lines().find_map(|line| line.strip_prefix(start)).expect(start);
            let words: BTreeSet<_> = line.split(" Ns | Ns Cm ").collect();
            assert_eq!(words, documented, "{start}");
        }
    }

    #[test]
    fn a_digest_is_known_in_every_spelling_and_no_other_is_taken_for_one() {
        for (algorithm_of, names) in [
            (Algorithm::Sha1, &["SHA1", "sha-1", "HmacSHA1", "HMAC-SHA-1", "hmac_sha1"][..]),
            (Algorithm::Sha256, &["SHA256", "Sha-256", "HMAC-SHA256", "HMACSHA256"]),
            (Algorithm::Sha512, &["http://www.w3.org/2001/04/xmldsig-more#hmac-sha512", "SHA 512"]),
        ] {
            for name in names {
                assert_eq!(algorithm(name), Some(algorithm_of), "{name}");
            }
        }
        for name in
            ["", "SHA", "SHA2", "SHA-224", "SHA3-256", "MD5", "SHA1é", "HMAC", "x#", "SHA1/6"]
        {
            assert_eq!(algorithm(name), None, "{name}");
        }
    }

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
            "otpauth-migration://offline?data=",
            "serial,key,type,digits,step\n",
            "S1,",
            ",TOTP,6,30",
            "CigKFDEyMzQ1Njc4OTAxMjM0NTY3ODkwEgpob3N0OmFsaWNlIAEoATAC",
            "{\"db\": {\"entries\": [{\"type\": \"totp\", \"info\": {\"secret\": \"",
            "{\"services\": [{\"secret\": \"",
            "{\"items\": [{\"login\": {\"totp\": \"",
            "\"}}]}",
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
            for format in FORMATS {
                let _recognized = format.sniff(&text);
                if let Err(error) = all(*format, &text, &TimeZone::UTC) {
                    prop_assert!(!error.to_string().contains("GEZDGNBV"), "{error}");
                }
            }
        }
    }
}
