//! otpauth URIs, one a line: what authenticator apps read from a QR code
//! (google-authenticator's wiki, "Key URI Format").

use std::borrow::Cow;

use jiff::tz::TimeZone;
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{
    BOUND_OF_MANY, ForeignEntry, ForeignToken, Format, FormatError, Users, first_line, lines, word,
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

    fn parse(&self, text: &str, _zone: &TimeZone) -> Result<Vec<ForeignEntry>, FormatError> {
        parse(text)
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
fn parse(text: &str) -> Result<Vec<ForeignEntry>, FormatError> {
    let mut all = Vec::new();
    for line in lines(text) {
        let (number, line) = line?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        all.push(uri(line, number)?);
    }
    Ok(all)
}

/// What follows the scheme, if it is that of otpauth.
pub(super) fn after_scheme(line: &str) -> Option<&str> {
    let (scheme, rest) = line.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
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
    Ok(ForeignEntry {
        user: (!account.is_empty()).then(|| account.to_owned()),
        labels: issuer.iter().map(|_| label.trim().to_owned()).collect(),
        token: token(kind, issuer, query).map_err(|error| FormatError::new(number, error)),
    })
}

#[derive(Default)]
struct Parameters<'a> {
    secret: Option<Zeroizing<String>>,
    algorithm: Option<Cow<'a, str>>,
    digits: Option<Cow<'a, str>>,
    period: Option<Cow<'a, str>>,
    counter: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
    not_carried_over: Vec<String>,
}

impl<'a> Parameters<'a> {
    fn read(query: &'a str) -> Result<Self, String> {
        let mut all = Self::default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let place = match name {
                "secret" => {
                    if all.secret.is_some() {
                        return Err("`secret` is given twice".to_owned());
                    }
                    all.secret = Some(Zeroizing::new(decoded(value)?.into_owned()));
                    continue;
                }
                "algorithm" => &mut all.algorithm,
                "digits" => &mut all.digits,
                "period" => &mut all.period,
                "counter" => &mut all.counter,
                "issuer" => &mut all.issuer,
                other => {
                    all.not_carried_over.push(format!("the unknown parameter {}", word(other)));
                    continue;
                }
            };
            if place.is_some() {
                return Err(format!("`{name}` is given twice"));
            }
            *place = Some(decoded(value)?);
        }
        Ok(all)
    }
}

fn token(kind: &str, issuer: Option<&str>, query: &str) -> Result<ForeignToken, String> {
    let Parameters {
        secret,
        algorithm,
        digits,
        period,
        counter,
        issuer: parameter,
        not_carried_over,
    } = Parameters::read(query)?;
    let secret = secret.ok_or("it has no secret")?;
    let secret = Secret::from_base32(&secret).map_err(|error| error.to_string())?;
    let algorithm = match algorithm {
        Some(name) => name.parse::<Algorithm>().map_err(|error| error.to_string())?,
        None => Algorithm::default(),
    };
    let digits = match digits {
        Some(digits) => digits.parse::<Digits>().map_err(|error| error.to_string())?,
        None => Digits::default(),
    };
    let mut warnings = Vec::new();
    let mut state = TokenState::default();
    let kind = if kind.eq_ignore_ascii_case("totp") {
        let period = match period {
            Some(period) => period.parse::<Period>().map_err(|error| error.to_string())?,
            None => Period::default(),
        };
        MovingFactor::Totp { period }
    } else if kind.eq_ignore_ascii_case("hotp") {
        match counter {
            Some(counter) => {
                state.next = Step(counter.parse().map_err(|_| "the counter is not a number")?);
            }
            None => warnings.push("the URI has no counter: it begins at 0".to_owned()),
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

fn decoded(text: &str) -> Result<Cow<'_, str>, &'static str> {
    percent_decode_str(text).decode_utf8().map_err(|_| "it is not UTF-8 once percent-decoded")
}

#[cfg(test)]
mod tests {
    use super::*;

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
