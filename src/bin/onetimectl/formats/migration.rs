//! What Google Authenticator's "Transfer accounts" shows as QR codes: URIs
//! (`otpauth-migration://offline?data=`) of a protocol buffer with several tokens. A large
//! export is several codes; each says which of how many it is.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD};
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use percent_encoding::percent_decode_str;
use prost::Message;
use zeroize::Zeroizing;

use super::{
    Aids, ForeignEntry, ForeignToken, Format, FormatError, Found, Users, after_scheme, first_line,
    lines,
};

const SCHEME: &str = "otpauth-migration://";

/// So many missing QR codes are named.
const NAMED: usize = 8;

/// The format `migration`: a URI on each line, one for each QR code.
#[derive(Debug)]
pub(super) struct Migration;

/// The protocol buffer, by the numbers of its fields.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct Payload {
    #[prost(message, repeated, tag = "1")]
    tokens: Vec<Parameters>,
    #[prost(int32, tag = "3")]
    batch_size: i32,
    #[prost(int32, tag = "4")]
    batch_index: i32,
    #[prost(int32, tag = "5")]
    batch_id: i32,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
struct Parameters {
    #[prost(bytes = "vec", tag = "1")]
    secret: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    issuer: String,
    #[prost(int32, tag = "4")]
    algorithm: i32,
    #[prost(int32, tag = "5")]
    digits: i32,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(int64, tag = "7")]
    counter: i64,
}

impl Format for Migration {
    fn name(&self) -> &'static str {
        "migration"
    }

    fn summary(&self) -> &'static str {
        "QR codes of Google Authenticator's export: pictures or text"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn spans_files(&self) -> bool {
        true
    }

    /// Some hundred QR codes, of at most 3 KiB each.
    fn bound(&self) -> u64 {
        1024 * 1024
    }

    fn sniff(&self, text: &str) -> bool {
        after_scheme(first_line(text), SCHEME).is_some()
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        parse(text, found)
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "otpauth-migration://offline?data=\
         CigKFDEyMzQ1Njc4OTAxMjM0NTY3ODkwEgpob3N0OmFsaWNlIAEoATAC\n"
    }
}

/// The QR codes of one export.
#[derive(Default)]
struct Export {
    /// How many it has.
    size: i32,
    /// The numbers of those that are here, from 0 on.
    there: BTreeSet<i32>,
    last_line: usize,
}

/// Reads a file.
///
/// # Errors
/// A line is no such URI, or a QR code of an export is missing: its tokens would be missing
/// too, and nobody would know whose they are.
fn parse(text: &str, found: &mut Found<'_>) -> Result<(), FormatError> {
    let mut exports: BTreeMap<i32, Export> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in lines(text) {
        let (number, line) = line?;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || !seen.insert(line) {
            // The same code, taken twice, is one.
            continue;
        }
        let payload = payload(line).map_err(|what| FormatError::new(number, what))?;
        let export = exports.entry(payload.batch_id).or_default();
        export.size = export.size.max(payload.batch_size);
        export.last_line = number;
        export.there.insert(payload.batch_index);
        payload.tokens.iter().for_each(|token| found(token.entry(number)));
    }
    for Export { size, there, last_line } in exports.into_values() {
        let missing: Vec<_> = (0..size)
            .filter(|index| !there.contains(index))
            .map(|index| index.saturating_add(1).to_string())
            .take(NAMED)
            .collect();
        if !missing.is_empty() {
            let present = there.range(0..size).count();
            let missing = missing.join(", ");
            let what = format!(
                "the export has {size} QR codes, and {present} of them are here: missing is \
                 number {missing}"
            );
            return Err(FormatError::new(last_line, what).with_remedy(
                "name the pictures or the texts of all its QR codes in one run of import",
            ));
        }
    }
    Ok(())
}

fn payload(line: &str) -> Result<Payload, &'static str> {
    let rest = after_scheme(line, SCHEME).ok_or("not an otpauth-migration URI")?;
    let (_, query) = rest.split_once('?').ok_or("it has no data")?;
    let data = query.split('&').find_map(|parameter| parameter.strip_prefix("data="));
    let data = data.ok_or("it has no data")?;
    // Both alphabets of base64 occur, and a sign that was not percent-encoded is a space.
    let decoded = Zeroizing::new(
        percent_decode_str(data).decode_utf8().map_err(|_| "its data is not base64")?.into_owned(),
    );
    let plain = Zeroizing::new(decoded.trim_end_matches('=').replace(' ', "+"));
    let bytes = BASE64_NOPAD
        .decode(plain.as_bytes())
        .or_else(|_| BASE64URL_NOPAD.decode(plain.as_bytes()))
        .map(Zeroizing::new)
        .map_err(|_| "its data is not base64")?;
    Payload::decode(bytes.as_slice())
        .map_err(|_| "its data is not what Google Authenticator writes")
}

impl Parameters {
    fn entry(&self, line: usize) -> ForeignEntry {
        let account = self.name.split_once(':').map_or(self.name.as_str(), |(_, account)| account);
        let account = account.trim();
        let mut labels = Vec::new();
        if account != self.name {
            labels.push(self.name.clone());
        }
        let joined = format!("{}:{account}", self.issuer);
        if !self.issuer.is_empty() && joined != self.name {
            labels.push(joined);
        }
        if account.is_empty() {
            labels.push(format!("line {line}"));
        }
        ForeignEntry {
            user: (!account.is_empty()).then(|| account.to_owned()),
            labels,
            token: self.token().map_err(|what| FormatError::new(line, what)),
        }
    }

    /// What is unspecified is what the app then takes it for.
    fn token(&self) -> Result<ForeignToken, String> {
        let algorithm = match self.algorithm {
            0 | 1 => Algorithm::Sha1,
            2 => Algorithm::Sha256,
            3 => Algorithm::Sha512,
            4 => return Err("its codes are made with MD5, which is not supported".to_owned()),
            _ => return Err("unknown algorithm".to_owned()),
        };
        let digits = match self.digits {
            0 | 1 => Digits::default(),
            2 => Digits::try_from(8).map_err(|error| error.to_string())?,
            _ => return Err("unknown length of codes".to_owned()),
        };
        let mut state = TokenState::default();
        let kind = match self.kind {
            0 | 2 => MovingFactor::Totp { period: Period::default() },
            1 => {
                let counter = u64::try_from(self.counter);
                state.next = Step(counter.map_err(|_| "the counter is below 0")?);
                MovingFactor::Hotp
            }
            _ => return Err("unknown kind of token: totp and hotp are known".to_owned()),
        };
        let secret = Secret::from_bytes(self.secret.clone()).map_err(|error| error.to_string())?;
        let mut found = ForeignToken::new(Token { secret, algorithm, digits, kind }, state);
        let prefix = self.name.split_once(':').map_or("", |(issuer, _)| issuer);
        let issuer = if self.issuer.is_empty() { prefix } else { &self.issuer };
        found.issuer = Some(issuer.trim()).filter(|issuer| !issuer.is_empty()).map(str::to_owned);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::{BASE64, BASE64URL_NOPAD};
    use jiff::tz::TimeZone;

    fn parse(text: &str) -> Result<Vec<ForeignEntry>, FormatError> {
        super::super::all(&Migration, text, &TimeZone::UTC)
    }

    fn token(name: &str) -> Parameters {
        Parameters {
            secret: b"12345678901234567890".to_vec(),
            name: name.to_owned(),
            algorithm: 1,
            digits: 1,
            kind: 2,
            ..Parameters::default()
        }
    }

    fn payload(tokens: Vec<Parameters>, size: i32, index: i32) -> Vec<u8> {
        Payload { tokens, batch_size: size, batch_index: index, batch_id: 7 }.encode_to_vec()
    }

    fn uri(data: &str) -> String {
        format!("otpauth-migration://offline?data={data}\n")
    }

    #[test]
    fn a_batch_has_tokens_of_all_kinds_and_one_that_is_not_supported_fails_alone() {
        let mut hotp = token("Corp:bob");
        (hotp.kind, hotp.counter, hotp.digits, hotp.algorithm) = (1, 57, 2, 3);
        let mut md5 = token("carol@example.org");
        md5.algorithm = 4;
        let bytes = payload(vec![token("alice"), hotp, md5], 1, 0);
        for data in [
            BASE64.encode(&bytes).replace('+', "%2B").replace('=', "%3D"),
            BASE64.encode(&bytes),
            BASE64URL_NOPAD.encode(&bytes),
        ] {
            let all = parse(&uri(&data)).unwrap();
            let users: Vec<_> = all.iter().filter_map(|entry| entry.user.as_deref()).collect();
            assert_eq!(users, ["alice", "bob", "carol@example.org"]);
            let bob = all[1].token.as_ref().unwrap();
            assert_eq!((bob.token.kind, bob.state.next), (MovingFactor::Hotp, Step(57)));
            assert_eq!((u64::from(bob.token.digits), bob.token.algorithm), (8, Algorithm::Sha512));
            assert_eq!(
                (bob.issuer.as_deref(), &all[1].labels[0]),
                (Some("Corp"), &"Corp:bob".to_owned())
            );
            assert!(all[2].token.as_ref().unwrap_err().what.contains("MD5"));
        }
    }

    #[test]
    fn all_qr_codes_of_an_export_must_be_there_and_one_that_is_there_twice_counts_once() {
        let code =
            |name, index| uri(&BASE64URL_NOPAD.encode(&payload(vec![token(name)], 2, index)));
        let (one, two) = (code("alice", 0), code("bob", 1));
        assert_eq!(parse(&format!("{two}# one more\n{one}{two}")).unwrap().len(), 2);
        let error = parse(&one).unwrap_err();
        assert!(
            error.what.ends_with("2 QR codes, and 1 of them are here: missing is number 2")
                && error.remedy.is_some(),
            "{error}"
        );
    }

    #[test]
    fn a_code_whose_number_the_export_does_not_have_is_in_no_others_place() {
        let odd = uri(&BASE64URL_NOPAD.encode(&payload(vec![token("alice")], 1, 7)));
        assert!(parse(&odd).unwrap_err().what.contains("missing is number 1"));
        let huge = uri(&BASE64URL_NOPAD.encode(&payload(vec![token("alice")], i32::MAX, 0)));
        assert!(parse(&huge).unwrap_err().what.ends_with("number 2, 3, 4, 5, 6, 7, 8, 9"));
    }

    #[test]
    fn what_is_no_such_uri_is_named_by_its_line_and_not_quoted() {
        for line in [
            "https://x",
            "otpauth-migration://offline",
            "otpauth-migration://o?data=GEZD*",
            "otpauth-migration://o?data=GEZDGNBV",
        ] {
            let error = parse(&format!("\n{line}\n")).unwrap_err();
            assert_eq!(error.line, 2, "{line}");
            assert!(!error.what.contains("GEZD"), "{error}");
        }
    }
}
