//! Portable Symmetric Key Containers (RFC 6030): XML with a key in each
//! KeyPackage. `reader` walks the XML, `package` makes a token of what a
//! KeyPackage says, `user_id` knows how users are named. Values may be encrypted:
//! `encryption` has what the file says of that, `lock` opens them, `cipher` knows the
//! algorithms.

mod cipher;
mod encryption;
mod lock;
mod package;
mod reader;
pub(crate) mod user_id;

use std::collections::BTreeSet;

use super::{
    Aids, BOUND_OF_MANY, ForeignEntry, Format, FormatError, Found, KeySource, Users, first_line,
};
use lock::Lock;
use reader::{Container, Signature};

/// The namespace of PSKC.
pub(crate) const NAMESPACE: &str = "urn:ietf:params:xml:ns:keyprov:pskc";
/// The algorithms that make one-time codes of 6 to 8 digits.
pub(crate) const TOTP: &str = "urn:ietf:params:xml:ns:keyprov:pskc:totp";
pub(crate) const HOTP: &str = "urn:ietf:params:xml:ns:keyprov:pskc:hotp";
/// That of a PIN, which goes with such a key.
const PIN: &str = "urn:ietf:params:xml:ns:keyprov:pskc:pin";

/// What is said of a signature.
const UNCHECKED: &str = "the file's signature, which was not checked (pskctool --verify of version \
    2.6.15 or later does)";

/// The format `pskc`: XML, a package for each token.
#[derive(Debug)]
pub(super) struct Pskc;

impl Format for Pskc {
    fn name(&self) -> &'static str {
        "pskc"
    }

    fn summary(&self) -> &'static str {
        "Portable Symmetric Key Containers (RFC 6030), also encrypted"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    fn sniff(&self, text: &str) -> bool {
        first_line(text).starts_with('<')
    }

    fn parse(&self, text: &str, aids: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        parse(text, aids.keys, found)
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "<?xml version=\"1.0\"?>\n\
         <KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n\
         <KeyPackage><Key Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\">\
         <Data><Secret><PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue></Secret></Data>\
         <UserId>UID=alice</UserId></Key></KeyPackage></KeyContainer>\n"
    }
}

/// Reads a file. A key whose user is known but which is no good fails that
/// user alone.
///
/// # Errors
/// [`FormatError`] where it is not such a file from beginning to end, or its key is not there
/// or wrong.
fn parse(text: &str, keys: &dyn KeySource, found: &mut Found<'_>) -> Result<(), FormatError> {
    // What is true of a package can come after it, and so the file is read twice: packages
    // that are kept would be larger than the file.
    let mut pins = BTreeSet::new();
    let Container { encryption, signature } = reader::read(text, &mut |package| {
        if package.is_pin() {
            pins.insert(package.device().map(str::to_owned));
        }
    })?;
    let lock = Lock::new(encryption, keys);
    let mut opened = Ok(());
    reader::read(text, &mut |mut package| {
        if package.is_pin() || opened.is_err() {
            return;
        }
        match signature {
            Signature::None => {}
            Signature::Unchecked => package.leave(UNCHECKED),
        }
        // A PIN of no device goes with each.
        let device = package.device().map(str::to_owned);
        if pins.contains(&None) || pins.contains(&device) {
            package.leave("its PIN: here the system's password is asked for");
        }
        opened = package.into_entry(&lock).map(&mut *found);
    })?;
    opened
}

/// All that such a file has, at once.
#[cfg(test)]
fn all(text: &str, keys: &dyn KeySource) -> Result<Vec<ForeignEntry>, FormatError> {
    let mut all = Vec::new();
    parse(text, keys, &mut |entry| all.push(entry))?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use pam_onetime::account::TokenState;
    use pam_onetime::code::{Algorithm, MovingFactor, Period, Step};

    use super::*;
    use crate::formats::NoKeys;

    const SECRET: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=";

    fn key(algorithm: &str, parameters: &str, data: &str, rest: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <KeyContainer Version=\"1.0\" xmlns=\"{NAMESPACE}\">\n<KeyPackage>\n\
             <DeviceInfo><SerialNo>1</SerialNo><UserId>UID=carol</UserId></DeviceInfo>\n\
             <Key Id=\"1\" Algorithm=\"{algorithm}\"><Issuer>A &amp; B</Issuer>\n\
             <AlgorithmParameters>{parameters}</AlgorithmParameters>\n\
             <Data><Secret><PlainValue>{SECRET}\n </PlainValue></Secret>{data}</Data>{rest}\n\
             </Key></KeyPackage></KeyContainer>\n"
        )
    }

    fn one(text: &str) -> ForeignEntry {
        let mut all = all(text, &NoKeys).unwrap();
        assert_eq!(all.len(), 1);
        all.pop().unwrap()
    }

    const EIGHT: &str = "<ResponseFormat Encoding=\"DECIMAL\" Length=\"8\"/>";

    #[test]
    fn a_time_key_is_read_with_all_its_values() {
        let data = "<Time><PlainValue>56666666</PlainValue></Time>\
                    <TimeInterval><PlainValue>60</PlainValue></TimeInterval>\
                    <TimeDrift><PlainValue>-4</PlainValue></TimeDrift>";
        let suite = format!("<Suite>HMAC-SHA256</Suite>{EIGHT}");
        let read = one(&key(TOTP, &suite, data, "<UserId>UID=alice,DC=example</UserId>"));
        assert_eq!(read.user.as_deref(), Some("alice"), "the key's own goes before the device's");
        let found = read.token.unwrap();
        assert_eq!(found.token.kind, MovingFactor::Totp { period: Period::try_from(60).unwrap() });
        assert_eq!((found.token.algorithm, u64::from(found.token.digits)), (Algorithm::Sha256, 8));
        assert_eq!(found.state, TokenState { next: Step(56_666_667), drift: -4, resync: Step(0) });
        assert_eq!(found.issuer.as_deref(), Some("A & B"));
        assert_eq!(found.token.secret.bits(), 160);
    }

    #[test]
    fn a_counter_key_is_read_with_any_prefix_and_the_devices_user() {
        let text = key(HOTP, EIGHT, "<Counter><PlainValue>57</PlainValue></Counter>", "")
            .replace("xmlns=", "xmlns:k=")
            .replace("</", "\u{1}")
            .replace('<', "<k:")
            .replace('\u{1}', "</k:")
            .replace("<k:?xml", "<?xml");
        let read = one(&text);
        assert_eq!(read.user.as_deref(), Some("carol"));
        let found = read.token.unwrap();
        assert_eq!((found.token.kind, found.state.next), (MovingFactor::Hotp, Step(57)));
    }

    #[test]
    fn a_suite_is_read_in_every_spelling() {
        for (suite, algorithm) in [
            ("HMAC-SHA1", Algorithm::Sha1),
            ("HMAC-SHA-1", Algorithm::Sha1),
            ("HmacSHA256", Algorithm::Sha256),
            ("HMACSHA256", Algorithm::Sha256),
            ("hmac-sha-256", Algorithm::Sha256),
            (" SHA512\n", Algorithm::Sha512),
            ("sha-512", Algorithm::Sha512),
        ] {
            let read = one(&key(TOTP, &format!("<Suite>{suite}</Suite>{EIGHT}"), "", ""));
            assert_eq!(read.token.unwrap().token.algorithm, algorithm, "{suite}");
        }
        let read = one(&key(HOTP, &format!("<Suite>SHA256</Suite>{EIGHT}"), "", ""));
        assert!(read.token.unwrap().warnings.join("").contains("SHA1 alone"));
    }

    #[test]
    fn a_pin_that_goes_with_a_key_is_left_behind_with_a_word() {
        let token = key(
            HOTP,
            EIGHT,
            "",
            "<Policy><PINPolicy PINKeyId=\"2\" PINUsageMode=\"Local\"/></Policy>",
        );
        let pin = "<KeyPackage><DeviceInfo><SerialNo>1</SerialNo></DeviceInfo><Key Id=\"2\" \
             Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:pin\"><Data><Secret><PlainValue>MTIzNA==\
             </PlainValue></Secret></Data></Key></KeyPackage>";
        let read = one(&token.replace("</KeyContainer>", &format!("{pin}</KeyContainer>")));
        let left = read.token.unwrap().not_carried_over.join("\n");
        assert!(
            left.contains("its PIN") && !left.contains("1234") && !left.contains("MTI"),
            "{left}"
        );
        let other = pin.replace(">1<", ">9<");
        let read = one(&token.replace("</KeyContainer>", &format!("{other}</KeyContainer>")));
        assert!(!read.token.unwrap().not_carried_over.join("\n").contains("its PIN"));
    }

    #[test]
    fn a_key_without_a_user_is_named_by_serial_number_and_line() {
        let text = key(HOTP, EIGHT, "", "").replace("<UserId>UID=carol</UserId>", "");
        let read = one(&text);
        assert_eq!(
            (read.user, read.labels),
            (None, vec!["1".to_owned(), "1".to_owned(), "line 3".to_owned()])
        );
    }

    #[test]
    fn what_is_not_carried_over_is_named() {
        let policy = "<Policy><ExpiryDate>2030-01-01T00:00:00Z</ExpiryDate>\
                      <PINPolicy PINUsageMode=\"Prepend\"/><KeyUsage>OTP</KeyUsage>\
                      <NumberOfTransactions>9</NumberOfTransactions></Policy>";
        let left = one(&key(HOTP, EIGHT, "", policy)).token.unwrap().not_carried_over.join("\n");
        for what in ["ExpiryDate 2030", "PIN policy", "NumberOfTransactions", "serial number"] {
            assert!(left.contains(what), "{what}: {left}");
        }
    }

    #[test]
    fn a_key_that_is_no_good_fails_its_user_and_quotes_no_secret() {
        let encrypted = key(TOTP, EIGHT, "", "").replace(
            &format!("<PlainValue>{SECRET}\n </PlainValue>"),
            "<EncryptedValue><x:CipherData xmlns:x=\"urn:x\"/></EncryptedValue>",
        );
        let policy = |inner: &str| key(TOTP, EIGHT, "", &format!("<Policy>{inner}</Policy>"));
        let secret = format!("<Secret><PlainValue>{SECRET}</PlainValue></Secret>");
        for (text, what) in [
            (encrypted, "are encrypted"),
            (policy("<x:y xmlns:x=\"urn:x\"/>"), "not known here"),
            (key(TOTP, EIGHT, &secret, ""), "given twice"),
            (key(TOTP, EIGHT, "", "<UserId>carol</UserId><UserId>bob</UserId>"), "given twice"),
            (key(TOTP, EIGHT, "", "").replace("</Key>", "</Key><Key Id=\"2\"/>"), "two keys"),
            (key("urn:ietf:params:xml:ns:keyprov:pskc:ocra", EIGHT, "", ""), "not supported"),
            (key(TOTP, &EIGHT.replace('8', "9"), "", ""), "9 digits"),
            (key(TOTP, &EIGHT.replace("DECIMAL", "BASE64"), "", ""), "not decimal"),
            (key(TOTP, &EIGHT.replace("/>", " CheckDigits=\"true\"/>"), "", ""), "check digits"),
            (key(TOTP, "<Suite>MD5</Suite>", "", ""), "unknown Suite"),
            (key(TOTP, "<Suite>HMAC-SHA224</Suite>", "", ""), "unknown Suite"),
            (key(TOTP, "<x:T0 xmlns:x=\"urn:x\">9</x:T0>", "", ""), "not known here"),
            (key(TOTP, &EIGHT.replace("DECIMAL", "ALPHANUMERIC"), "", ""), "not decimal"),
            (key(TOTP, &EIGHT.replace("DECIMAL", "HEXADECIMAL"), "", ""), "not decimal"),
            (key(TOTP, &EIGHT.repeat(2), "", ""), "given twice"),
            (key(TOTP, EIGHT, "", "").replace("MTIz", "MT-z"), "not base64"),
            (key(TOTP, EIGHT, "", "").replace(SECRET, "MTIz"), "24 bits"),
            (
                key(TOTP, EIGHT, "", "")
                    .replace("<Secret>", "<Sekret>")
                    .replace("</Secret>", "</Sekret>"),
                "no secret",
            ),
            (policy("<KeyUsage>Encrypt</KeyUsage>"), "not for one-time codes"),
            (policy("<PINPolicy PINUsageMode=\"Algorithmic\"/>"), "depend on a PIN"),
            (
                key(TOTP, EIGHT, "<TimeInterval><PlainValue>5</PlainValue></TimeInterval>", ""),
                "5 s",
            ),
            (key(HOTP, EIGHT, "<Counter><PlainValue>x</PlainValue></Counter>", ""), "not a number"),
        ] {
            let read = one(&text);
            assert_eq!(read.user.as_deref(), Some("carol"));
            let error = read.token.unwrap_err().to_string();
            assert!(error.contains(what), "{what}: {error}");
            assert!(!error.contains("MTIz"), "{error}");
        }
    }

    #[test]
    fn what_is_not_such_a_file_to_its_end_is_refused_whole() {
        let good = key(TOTP, EIGHT, "", "");
        let bomb = format!(
            "<!DOCTYPE x [<!ENTITY a \"{}\"><!ENTITY b \"&a;&a;&a;\">]>\n{good}",
            "x".repeat(1000)
        );
        let deep = good.replace("<Data>", &format!("<Data>{}", "<x>".repeat(100_000)));
        for (text, what) in [
            (String::new(), "ends before"),
            ("hello".to_owned(), "outside of the XML"),
            ("<html></html>".to_owned(), "must be KeyContainer"),
            (good.replace(NAMESPACE, "urn:other"), "must be KeyContainer"),
            (format!("{good}{good}"), ""),
            (bomb, "document type"),
            (good.replace("A &amp; B", "&file;"), "none is expanded"),
            (good.replace(TOTP, "&file;"), "entity"),
            (deep, "too deeply"),
            (good.replace(SECRET, &"A".repeat(10_000_000)), "longer than 4096"),
            (good.replace("</Data>", "</Date>"), "not well-formed"),
        ] {
            let error = all(&text, &NoKeys).unwrap_err().to_string();
            assert!(error.starts_with("line ") && error.contains(what), "{what}: {error}");
            assert!(error.len() < 200);
        }
        for end in 0..good.trim_end().len() {
            let error = all(good.get(..end).unwrap(), &NoKeys).unwrap_err().to_string();
            assert!(error.starts_with("line "), "{end}: {error}");
        }
    }
}
