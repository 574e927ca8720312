//! otpauth URIs, one a line: what authenticator apps read from a QR code
//! (google-authenticator's wiki, "Key URI Format").

use std::borrow::Cow;

use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, CodeError, Digits, MovingFactor, Period, Secret, Step, Token};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{
    Aids, BOUND_OF_MANY, ForeignEntry, ForeignToken, Format, FormatError, Found, Users, first_line,
    lines, word,
};

const SCHEME: &str = "otpauth://";

/// The format `otpauth`: a URI on each line.
#[derive(Debug)]
pub(super) struct Otpauth;

impl Format for Otpauth {
    fn name(&self) -> &'static str {
        "otpauth"
    }

    fn summary(&self) -> &'static str {
        "otpauth URIs, one a line"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    fn sniff(&self, text: &str) -> bool {
        after_scheme(first_line(text)).is_some()
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        parse(text, found)
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "otpauth://totp/host:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=host\n"
    }
}

/// Reads a file. A URI that names an account but no good token fails that
/// account alone.
///
/// # Errors
/// [`FormatError`] where a line names no account.
fn parse(text: &str, found: &mut Found<'_>) -> Result<(), FormatError> {
    for line in lines(text) {
        let (number, line) = line?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        found(uri(line, number)?);
    }
    Ok(())
}

/// What follows the scheme, if it is that of otpauth.
pub(super) fn after_scheme(line: &str) -> Option<&str> {
    super::after_scheme(line, SCHEME)
}

pub(super) fn uri(line: &str, number: usize) -> Result<ForeignEntry, FormatError> {
    let malformed = |what: &str| FormatError::new(number, what);
    let rest = after_scheme(line).ok_or_else(|| malformed("not an otpauth URI"))?;
    let (path, query) = rest.split_once('?').ok_or_else(|| malformed("it has no parameters"))?;
    let (kind, label) = path.split_once('/').ok_or_else(|| malformed("it has no label"))?;
    let label = decoded(label).map_err(malformed)?;
    let (issuer, account) = match label.split_once(':') {
        Some((issuer, account)) => (Some(issuer.trim()), account.trim()),
        None => (None, label.trim()),
    };
    let nameless = account.is_empty().then(|| format!("line {number}"));
    Ok(ForeignEntry {
        user: (!account.is_empty()).then(|| account.to_owned()),
        labels: issuer.iter().map(|_| label.trim().to_owned()).chain(nameless).collect(),
        token: token(kind, issuer, query).map_err(|error| FormatError::new(number, error)),
    })
}

/// What a parameter of a URI says, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameter {
    Secret,
    Algorithm,
    Digits,
    Period,
    Counter,
    Issuer,
    /// It is understood if it has this value, which is what is assumed without it.
    OnlyIf(&'static [&'static str]),
    /// It has nothing to do with the codes.
    Other,
}

impl Parameter {
    /// By a name in lower case: the standard one, or one that means the same. What could
    /// change the code in a way that is not known here is no [`Parameter::Other`].
    fn named(name: &str) -> Self {
        /// In names of parameters that change the code.
        const OF_CODES: [&str; 15] = [
            "algo", "hash", "hmac", "digest", "encod", "digit", "period", "interval", "step",
            "epoch", "offset", "truncat", "suite", "drift", "skew",
        ];
        match name {
            "secret" => Self::Secret,
            "algorithm" | "algo" | "alg" | "hash" => Self::Algorithm,
            "digits" | "digit" => Self::Digits,
            "period" | "interval" | "step" | "timestep" | "time_step" => Self::Period,
            "counter" => Self::Counter,
            "issuer" => Self::Issuer,
            "t0" | "epoch" | "offset" | "drift" | "skew" | "start" => Self::OnlyIf(&["0", ""]),
            "encoding" => Self::OnlyIf(&["base32", ""]),
            "type" | "kind" | "mode" | "format" | "length" | "len" | "base" | "pin" | "time"
            | "key" | "count" | "charset" | "alphabet" | "prefix" | "suffix" => Self::OnlyIf(&[""]),
            name if OF_CODES.iter().any(|part| name.contains(part)) => Self::OnlyIf(&[""]),
            _ => Self::Other,
        }
    }
}

/// The parameters of a URI.
#[derive(Default)]
struct Parameters<'a> {
    secret: Option<Zeroizing<String>>,
    algorithm: Option<Cow<'a, str>>,
    digits: Option<Cow<'a, str>>,
    period: Option<Cow<'a, str>>,
    counter: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
    not_carried_over: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Parameters<'a> {
    /// Reads them by names in any case, and from HTML, where `&` is `&amp;`.
    fn read(query: &'a str) -> Result<Self, String> {
        let mut all = Self::default();
        let (query, fragment) = query.split_once('#').unwrap_or((query, ""));
        // Of an `&#38;` that is no ampersand any more, the rest would be parameters.
        if fragment.contains('=') {
            return Err("there is a # before the end of its parameters".to_owned());
        }
        if !fragment.is_empty() {
            all.not_carried_over.push("what follows the # of the URI".to_owned());
        }
        for parameter in query.split('&') {
            let parameter = without_amp(parameter);
            let (written, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let written = decoded(written)?;
            let name = written.trim().to_ascii_lowercase();
            if name.is_empty() {
                continue;
            }
            all.take(&name, value)?;
        }
        Ok(all)
    }

    fn take(&mut self, name: &str, value: &'a str) -> Result<(), String> {
        let twice = || format!("`{}` is given twice", word(name));
        let (standard, place) = match Parameter::named(name) {
            Parameter::Secret if self.secret.is_some() => return Err(twice()),
            Parameter::Secret => {
                self.secret = Some(Zeroizing::new(decoded(value)?.into_owned()));
                return Ok(());
            }
            Parameter::Algorithm => ("algorithm", &mut self.algorithm),
            Parameter::Digits => ("digits", &mut self.digits),
            Parameter::Period => ("period", &mut self.period),
            Parameter::Counter => ("counter", &mut self.counter),
            Parameter::Issuer => ("issuer", &mut self.issuer),
            Parameter::OnlyIf(values) => {
                let value = decoded(value)?;
                return match values.iter().any(|known| value.trim().eq_ignore_ascii_case(known)) {
                    true => Ok(()),
                    false => Err(format!(
                        "`{}` is not known here and can change the codes: take it out of the \
                         URI only if the device ignores it too",
                        word(name)
                    )),
                };
            }
            Parameter::Other => {
                self.not_carried_over.push(format!("the unknown parameter {}", word(name)));
                return Ok(());
            }
        };
        if place.is_some() {
            return Err(twice());
        }
        let value = match decoded(value)? {
            Cow::Borrowed(value) => Cow::Borrowed(value.trim()),
            Cow::Owned(value) => Cow::Owned(value.trim().to_owned()),
        };
        let is_default =
            matches!(&*value, "6" | "30") || super::algorithm(&value) == Some(Algorithm::Sha1);
        *place = Some(value);
        if name != standard && !is_default {
            self.warnings.push(format!(
                "`{}` was read as `{standard}`: an app that does not know it shows other codes \
                 (onetimectl verify checks one)",
                word(name)
            ));
        }
        Ok(())
    }
}

/// The parameter without what is left of an `&amp;` before it.
fn without_amp(mut parameter: &str) -> &str {
    while let Some((start, rest)) = parameter.split_at_checked("amp;".len())
        && start.eq_ignore_ascii_case("amp;")
    {
        parameter = rest;
    }
    parameter
}

fn token(kind: &str, issuer: Option<&str>, query: &str) -> Result<ForeignToken, String> {
    let Parameters {
        secret,
        algorithm,
        digits,
        period,
        counter,
        issuer: parameter,
        mut not_carried_over,
        mut warnings,
    } = Parameters::read(query)?;
    let secret = secret.ok_or("it has no secret")?;
    warnings.extend(odd_length(&secret));
    let secret = Secret::from_base32(&secret).map_err(|error| error.to_string())?;
    let algorithm = match algorithm {
        Some(name) => super::algorithm(&name).ok_or_else(|| CodeError::Algorithm.to_string())?,
        None => Algorithm::default(),
    };
    let digits = match digits {
        Some(digits) => digits.parse::<Digits>().map_err(|error| error.to_string())?,
        None => Digits::default(),
    };
    let mut state = TokenState::default();
    let kind = if kind.eq_ignore_ascii_case("totp") {
        if counter.is_some() {
            not_carried_over.push("the counter: a time token has none".to_owned());
        }
        let period = match period {
            Some(period) => period.parse::<Period>().map_err(|error| error.to_string())?,
            None => Period::default(),
        };
        MovingFactor::Totp { period }
    } else if kind.eq_ignore_ascii_case("hotp") {
        if period.is_some() {
            not_carried_over.push("the period: a counter token has none".to_owned());
        }
        match counter {
            Some(counter) => {
                state.next = Step(counter.parse().map_err(|_| "the counter is not a number")?);
            }
            None => warnings.push("the URI has no counter: it begins at 0".to_owned()),
        }
        if algorithm != Algorithm::Sha1 {
            warnings.push(format!(
                "a counter token with {algorithm}: RFC 4226 has SHA1 alone, and some apps \
                 compute that (onetimectl verify checks a code)"
            ));
        }
        MovingFactor::Hotp
    } else {
        return Err("unknown kind of token: totp and hotp are known".to_owned());
    };
    let mut found = ForeignToken::new(Token { secret, algorithm, digits, kind }, state);
    // Where both are there they should be equal; the parameter is the newer usage.
    found.issuer = parameter.as_deref().or(issuer).map(str::to_owned);
    found.not_carried_over = not_carried_over;
    found.warnings = warnings;
    Ok(found)
}

/// A warning of a secret in a base32 that nobody writes (RFC 4648 section 6): programs
/// differ in what they make of its last letter.
fn odd_length(secret: &str) -> Option<String> {
    let letters = secret.chars().filter(char::is_ascii_alphanumeric).count();
    matches!(letters % 8, 1 | 3 | 6).then(|| {
        "the secret ends within a byte, which is left out here: other programs refuse it or \
         compute other codes (onetimectl verify checks one)"
            .to_owned()
    })
}

fn decoded(text: &str) -> Result<Cow<'_, str>, &'static str> {
    percent_decode_str(text).decode_utf8().map_err(|_| "it is not UTF-8 once percent-decoded")
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn parse(text: &str) -> Result<Vec<ForeignEntry>, FormatError> {
        super::super::all(&Otpauth, text, &TimeZone::UTC)
    }

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn one(line: &str) -> ForeignEntry {
        let mut all = parse(line).unwrap();
        assert_eq!(all.len(), 1, "{line}");
        all.pop().unwrap()
    }

    #[test]
    fn a_uri_with_everything_is_read() {
        let read = one(&format!(
            "otpauth://totp/Big%20Corp%3A%20alice?secret={SECRET}&issuer=Big%20Corp\
             &algorithm=sha256&digits=8&period=60&image=https%3A%2F%2Fexample.com%2Fx.png"
        ));
        assert_eq!(read.user.as_deref(), Some("alice"));
        let found = read.token.unwrap();
        assert_eq!(found.issuer.as_deref(), Some("Big Corp"));
        assert_eq!(found.token.algorithm, Algorithm::Sha256);
        assert_eq!(u64::from(found.token.digits), 8);
        assert_eq!(found.token.kind, MovingFactor::Totp { period: Period::try_from(60).unwrap() });
        assert_eq!(found.not_carried_over, ["the unknown parameter image"]);
    }

    #[test]
    fn the_defaults_are_those_of_the_apps_and_a_counter_is_kept() {
        let found = one(&format!("OTPAUTH://TOTP/alice?secret={SECRET}")).token.unwrap();
        assert_eq!(found.token.kind, MovingFactor::Totp { period: Period::default() });
        assert_eq!((found.token.digits, found.issuer), (Digits::default(), None));
        let read = one(&format!("otpauth://hotp/Corp:bob?secret={SECRET}&counter=57"));
        assert_eq!(read.user.as_deref(), Some("bob"));
        let found = read.token.unwrap();
        assert_eq!((found.token.kind, found.state.next), (MovingFactor::Hotp, Step(57)));
        assert_eq!(found.issuer.as_deref(), Some("Corp"));
        let found = one(&format!("otpauth://hotp/bob?secret={SECRET}")).token.unwrap();
        assert!(found.warnings[0].contains("no counter"), "{:?}", found.warnings);
    }

    #[test]
    fn names_in_any_case_and_spelling_that_mean_one_thing_are_read() {
        let period =
            |seconds: u64| MovingFactor::Totp { period: Period::try_from(seconds).unwrap() };
        for (parameters, expected, other_codes) in [
            ("&ALGORITHM=sha256&Digits=8&PERIOD=60", (Algorithm::Sha256, 8, 60), false),
            (
                "&amp;algorithm=SHA-512&amp;digits=8&amp;period=60",
                (Algorithm::Sha512, 8, 60),
                false,
            ),
            ("&AMP;digits=7", (Algorithm::Sha1, 7, 30), false),
            ("&algorithm=HmacSHA256&digits=%38&peri%6fd=60", (Algorithm::Sha256, 8, 60), false),
            ("&algorithm=HMAC-SHA-256&digits= 8 ", (Algorithm::Sha256, 8, 30), false),
            ("&algo=SHA256", (Algorithm::Sha256, 6, 30), true),
            ("&hash=sha512&interval=60", (Algorithm::Sha512, 6, 60), true),
            ("&algo=SHA1&step=30&t0=0&encoding=BASE32", (Algorithm::Sha1, 6, 30), false),
            ("&encoder=&&=x&counter=5#top", (Algorithm::Sha1, 6, 30), false),
        ] {
            let found = one(&format!("otpauth://totp/alice?Secret={SECRET}{parameters}"));
            let found = found.token.unwrap();
            let read = (found.token.algorithm, u64::from(found.token.digits), found.token.kind);
            assert_eq!(read, (expected.0, expected.1, period(expected.2)), "{parameters}");
            assert_eq!(
                !found.warnings.is_empty(),
                other_codes,
                "{parameters}: {:?}",
                found.warnings
            );
        }
    }

    #[test]
    fn what_can_change_the_codes_and_is_not_known_is_refused() {
        for parameters in [
            "encoder=steam",
            "Encoder=steam",
            "amp;encoder=steam",
            "encoding=hex",
            "t0=100",
            "epoch=1",
            "offset=-1",
            "type=steam",
            "pin=1234",
            "hashalgo=SHA256",
            "digitcount=8",
            "timestep_length=60",
            "algorithm=SHA1&algo=SHA256",
            "digits=8&Digits=6",
            "suite=x",
            "issuer=a&#38;digits=8",
            "algorithm=SHA3-256",
            "algorithm=",
            "digits=",
            "mode=x",
            "truncation=5",
            "charset=23456789BCDF",
        ] {
            let read = one(&format!("otpauth://totp/alice?secret={SECRET}&{parameters}"));
            assert!(read.token.is_err(), "{parameters}");
        }
    }

    #[test]
    fn where_other_programs_compute_other_codes_there_is_a_warning() {
        let warnings = |uri: &str| one(uri).token.unwrap().warnings.join("\n");
        assert!(warnings(&format!("otpauth://totp/a?secret={SECRET}A")).contains("within a byte"));
        assert_eq!(warnings(&format!("otpauth://totp/a?secret={SECRET}AA===")), "");
        let counter = format!("otpauth://hotp/a?secret={SECRET}&counter=1&algorithm=SHA256");
        assert!(warnings(&counter).contains("SHA1 alone"));
    }

    #[test]
    fn a_bad_token_fails_its_account_and_quotes_no_secret() {
        for (line, what) in [
            ("otpauth://totp/alice?issuer=x".to_owned(), "no secret"),
            (format!("otpauth://totp/alice?secret={SECRET}1"), "not base32"),
            (format!("otpauth://totp/alice?secret={SECRET}&secret={SECRET}"), "twice"),
            (format!("otpauth://totp/alice?secret={SECRET}&digits=9"), "9 digits"),
            (format!("otpauth://totp/alice?secret={SECRET}&period=5"), "period of 5 s"),
            (format!("otpauth://totp/alice?secret={SECRET}&algorithm=MD5"), "unknown algorithm"),
            (format!("otpauth://hotp/alice?secret={SECRET}&counter=-1"), "not a number"),
            (format!("otpauth://yaotp/alice?secret={SECRET}"), "unknown kind"),
        ] {
            let read = one(&line);
            assert_eq!(read.user.as_deref(), Some("alice"));
            let error = read.token.unwrap_err().to_string();
            assert!(error.starts_with("line 1: ") && error.contains(what), "{line}: {error}");
            assert!(!error.contains("GEZD"), "{error}");
        }
    }

    #[test]
    fn what_is_no_uri_is_named_by_its_line() {
        for line in ["https://example.com", "otpauth://totp", "otpauth://totp/x", "ä"] {
            let error = parse(&format!("# comment\n\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with("line 3: "), "{error}");
        }
        assert_eq!(one(&format!("otpauth://totp/?secret={SECRET}")).user, None);
    }
}
