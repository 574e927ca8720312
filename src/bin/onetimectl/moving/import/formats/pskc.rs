//! Portable Symmetric Key Containers (RFC 6030): XML with a key in each
//! KeyPackage. Plain values only. Nothing outside of the file is read, no
//! entity is expanded but the five of XML itself, and depth and lengths are
//! bounded.

use data_encoding::BASE64;
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, Kind, Period, Secret, Step, Token};
use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use zeroize::Zeroizing;

use super::{Found, Imported, Malformed, word};

/// The namespace of PSKC.
pub(crate) const NAMESPACE: &str = "urn:ietf:params:xml:ns:keyprov:pskc";
/// The algorithms that make one-time codes of 6 to 8 digits.
pub(crate) const TOTP: &str = "urn:ietf:params:xml:ns:keyprov:pskc:totp";
pub(crate) const HOTP: &str = "urn:ietf:params:xml:ns:keyprov:pskc:hotp";

const TWICE: &str = "one of its values stands twice";
/// Nothing in PSKC lies so deep.
const MAX_DEPTH: usize = 24;
/// No value of a key is so long.
const MAX_VALUE: usize = 4096;

/// Reads a file. A key whose user is known but which is no good fails that
/// user alone.
///
/// # Errors
/// [`Malformed`] where it is not such a file from beginning to end.
pub(crate) fn parse(text: &str) -> Result<Vec<Imported>, Malformed> {
    Reader { xml: NsReader::from_str(text), position: Position { text, at: 0, line: 1 } }.read()
}

/// Which line the reader has come to.
struct Position<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Position<'_> {
    fn line(&mut self, offset: u64) -> usize {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.text.len());
        let passed = self.text.as_bytes().get(self.at..offset).unwrap_or_default();
        self.line = self.line.saturating_add(passed.iter().filter(|byte| **byte == b'\n').count());
        self.at = self.at.max(offset);
        self.line
    }
}

struct Reader<'a> {
    xml: NsReader<&'a [u8]>,
    position: Position<'a>,
}

/// A KeyPackage as it is being read.
#[derive(Default)]
struct Package {
    line: usize,
    user: Option<String>,
    device_user: Option<String>,
    issuer: Option<String>,
    algorithm: Option<String>,
    suite: Option<String>,
    length: Option<String>,
    secret: Option<Zeroizing<String>>,
    counter: Option<String>,
    time: Option<String>,
    interval: Option<String>,
    drift: Option<String>,
    usages: Vec<String>,
    has_key: bool,
    /// The first thing that makes the key useless here.
    problem: Option<String>,
    left: Vec<String>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<Vec<Imported>, Malformed> {
        self.xml.config_mut().expand_empty_elements = true;
        // Of elements in other namespaces the name is left empty.
        let mut path: Vec<&'static str> = Vec::new();
        let mut value = Zeroizing::new(String::with_capacity(MAX_VALUE));
        let (mut packages, mut package) = (Vec::new(), Package::default());
        let (mut seen_root, mut signed) = (false, false);
        loop {
            let read = self.xml.read_resolved_event();
            let (space, event) = match read {
                Ok((ResolveResult::Bound(Namespace(space)), event)) => (Some(space), event),
                Ok((ResolveResult::Unbound | ResolveResult::Unknown(_), event)) => (None, event),
                // Its own words could quote the file.
                Err(_) => return Err(self.malformed("not well-formed XML")),
            };
            match event {
                Event::Start(start) => {
                    let name = match space {
                        Some(NAMESPACE) => known(start.local_name().as_ref()),
                        Some(_) | None => "",
                    };
                    if path.is_empty() && (name != "KeyContainer" || seen_root) {
                        return Err(self.malformed("no PSKC file: the root must be KeyContainer"));
                    }
                    if path.len() >= MAX_DEPTH {
                        return Err(self.malformed("elements are nested too deeply"));
                    }
                    seen_root = true;
                    signed |= path.len() == 1 && start.local_name().as_ref() == "Signature";
                    path.push(name);
                    value.clear();
                    let line = self.position.line(self.xml.buffer_position());
                    if path == ["KeyContainer", "KeyPackage"] {
                        package = Package { line, ..Package::default() };
                    }
                    package.begin(&path, &start).map_err(|what| Malformed::new(line, what))?;
                }
                Event::Text(text) => self.append(&path, &mut value, &text.xml10_content())?,
                Event::CData(text) => self.append(&path, &mut value, &text.xml10_content())?,
                Event::GeneralRef(name) => {
                    let character = match name.resolve_char_ref() {
                        Ok(Some(character)) => Some(character),
                        Ok(None) => resolve_predefined_entity(&name.xml10_content())
                            .and_then(|text| text.chars().next()),
                        Err(_) => None,
                    };
                    let character = character.ok_or_else(|| {
                        self.malformed("an entity that is not XML's own: none is expanded here")
                    })?;
                    self.append(&path, &mut value, character.encode_utf8(&mut [0; 4]))?;
                }
                Event::End(_) => {
                    if path == ["KeyContainer", "KeyPackage"] {
                        packages.push(std::mem::take(&mut package));
                    } else {
                        package.end(&path, value.trim());
                    }
                    path.pop();
                    value.clear();
                }
                Event::DocType(_) => {
                    return Err(self.malformed("a document type declaration is not accepted"));
                }
                Event::Eof if path.is_empty() && seen_root => break,
                Event::Eof => return Err(self.malformed("it ends before the XML does")),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        if signed {
            for package in &mut packages {
                package.left.push(
                    "the file's signature, which was not checked (pskctool --verify does)"
                        .to_owned(),
                );
            }
        }
        Ok(packages.into_iter().map(Package::into_imported).collect())
    }

    fn malformed(&mut self, what: &str) -> Malformed {
        Malformed::new(self.position.line(self.xml.buffer_position()), what)
    }

    /// Adds to the value of the element that is open, if it is one of a key's.
    fn append(
        &mut self,
        path: &[&'static str],
        value: &mut Zeroizing<String>,
        text: &str,
    ) -> Result<(), Malformed> {
        if path.is_empty() {
            return match text.trim() {
                "" => Ok(()),
                _ => Err(self.malformed("no PSKC file: there is text outside of the XML")),
            };
        }
        if path.last().is_some_and(|name| name.is_empty()) {
            return Ok(());
        }
        // It never grows beyond what was reserved: no copies are left behind.
        if value.len().saturating_add(text.len()) > MAX_VALUE {
            return Err(self.malformed("a value is longer than 4096 bytes"));
        }
        value.push_str(text);
        Ok(())
    }
}

/// The names that matter.
fn known(name: &str) -> &'static str {
    const NAMES: [&str; 28] = [
        "KeyContainer",
        "KeyPackage",
        "DeviceInfo",
        "Key",
        "Issuer",
        "UserId",
        "AlgorithmParameters",
        "Suite",
        "ChallengeFormat",
        "ResponseFormat",
        "Data",
        "Secret",
        "Counter",
        "Time",
        "TimeInterval",
        "TimeDrift",
        "PlainValue",
        "EncryptedValue",
        "ValueMAC",
        "Policy",
        "StartDate",
        "ExpiryDate",
        "PINPolicy",
        "KeyUsage",
        "NumberOfTransactions",
        "KeyReference",
        "KeyProfileId",
        "Extensions",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("")
}

impl Package {
    fn begin(&mut self, path: &[&'static str], start: &BytesStart<'_>) -> Result<(), &'static str> {
        let Some(place) = path.strip_prefix(&["KeyContainer", "KeyPackage"]) else {
            return Ok(());
        };
        match place {
            ["Key"] if self.has_key => self.fail("the package has two keys"),
            ["Key"] => {
                self.has_key = true;
                self.algorithm = attribute(start, "Algorithm")?;
            }
            // RFC 6030 section 5: such a key must not be used.
            ["Key", "Policy", ""] => self.fail("its policy has a part that is not known here"),
            ["DeviceInfo", ""] => {
                self.leave("what the file says of the device, such as its serial number");
            }
            ["Key" | "DeviceInfo", "Extensions"] | ["Extensions"] => self.leave("extensions"),
            ["Key", "Data", .., "ValueMAC"] => self.leave("a MAC, which was not checked"),
            ["Key", "AlgorithmParameters", "ResponseFormat"] => {
                self.length = attribute(start, "Length")?;
                if attribute(start, "Encoding")?.is_some_and(|encoding| encoding != "DECIMAL") {
                    self.fail("its codes are not decimal");
                }
                if attribute(start, "CheckDigits")?.is_some_and(|value| value != "false" && value != "0")
                {
                    self.fail("its codes have check digits");
                }
            }
            ["Key", "Data", .., "EncryptedValue"] => self.fail(
                "its values are encrypted: have the keys exported in plain, and keep that file safe",
            ),
            ["Key", "Policy", "PINPolicy"] => match attribute(start, "PINUsageMode")?.as_deref() {
                Some("Algorithmic") => self.fail("its codes depend on a PIN"),
                Some(_) | None => self.left.push(
                    "the PIN policy: here the system's password is asked for".to_owned(),
                ),
            },
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, path: &[&'static str], value: &str) {
        let Some(place) = path.strip_prefix(&["KeyContainer", "KeyPackage"]) else {
            return;
        };
        let field = match place {
            ["Key", "UserId"] => &mut self.user,
            ["DeviceInfo", "UserId"] => &mut self.device_user,
            ["Key", "Issuer"] => &mut self.issuer,
            ["Key", "AlgorithmParameters", "Suite"] => &mut self.suite,
            ["Key", "Data", "Counter", "PlainValue"] => &mut self.counter,
            ["Key", "Data", "Time", "PlainValue"] => &mut self.time,
            ["Key", "Data", "TimeInterval", "PlainValue"] => &mut self.interval,
            ["Key", "Data", "TimeDrift", "PlainValue"] => &mut self.drift,
            ["Key", "Data", "Secret", "PlainValue"] => {
                let mut plain = Zeroizing::new(String::with_capacity(value.len()));
                plain.extend(value.chars().filter(|letter| !letter.is_ascii_whitespace()));
                return match self.secret {
                    None => self.secret = Some(plain),
                    Some(_) => self.fail(TWICE),
                };
            }
            ["Key", "Policy", "KeyUsage"] => return self.usages.push(value.to_owned()),
            ["Key", "Policy", "NumberOfTransactions"] => {
                return self.leave("NumberOfTransactions: keys here are not counted");
            }
            ["Key", "Policy", name @ ("StartDate" | "ExpiryDate")]
            | ["DeviceInfo", name @ ("StartDate" | "ExpiryDate")] => {
                return self.leave(&format!("{name} {}: keys here do not expire", word(value)));
            }
            _ => return,
        };
        match field {
            None => *field = Some(value.to_owned()),
            Some(_) => self.fail(TWICE),
        }
    }

    /// Said once, however often it occurs.
    fn leave(&mut self, what: &str) {
        if !self.left.iter().any(|left| left == what) {
            self.left.push(what.to_owned());
        }
    }

    fn fail(&mut self, problem: &str) {
        self.problem.get_or_insert_with(|| problem.to_owned());
    }

    fn into_imported(self) -> Imported {
        let line = self.line;
        let user = self.user.as_deref().or(self.device_user.as_deref()).map(user_of);
        let found = self.token().map_err(|error| Malformed::new(line, error));
        match user {
            Some(Err(error)) => Imported { user: None, found: Err(Malformed::new(line, error)) },
            Some(Ok(user)) => Imported { user: Some(user), found },
            None => Imported { user: None, found },
        }
    }

    fn token(self) -> Result<Found, String> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        if !self.usages.is_empty() && !self.usages.iter().any(|usage| usage == "OTP") {
            return Err("the key is not for one-time codes (KeyUsage)".to_owned());
        }
        let secret = self.secret.ok_or("the key has no secret")?;
        let secret = BASE64
            .decode(secret.as_bytes())
            .map_err(|_| "the secret is not base64".to_owned())
            .and_then(|bytes| Secret::from_bytes(bytes).map_err(|error| error.to_string()))?;
        let mut warnings = Vec::new();
        let digits = match self.length {
            Some(length) => length.parse::<Digits>().map_err(|error| error.to_string())?,
            None => {
                warnings.push("the key names no length of its codes: taken for 6".to_owned());
                Digits::default()
            }
        };
        let mut state = TokenState::default();
        let mut left = self.left;
        let kind = match self.algorithm.as_deref() {
            Some(TOTP) => {
                let period = match self.interval {
                    Some(interval) => {
                        interval.parse::<Period>().map_err(|error| error.to_string())?
                    }
                    None => Period::default(),
                };
                if let Some(drift) = self.drift {
                    state.drift = drift.parse().map_err(|_| "TimeDrift is not a number")?;
                }
                match self.time.as_deref() {
                    None | Some("0") => {}
                    Some(step) => {
                        let step = step.parse().map_err(|_| "Time is not a number of intervals")?;
                        state.next = Step(step).plus(1);
                    }
                }
                Kind::Totp { period }
            }
            Some(HOTP) => {
                match self.counter {
                    Some(counter) => {
                        state.next = Step(counter.parse().map_err(|_| "Counter is not a number")?);
                    }
                    None => warnings.push("the key has no counter: it begins at 0".to_owned()),
                }
                Kind::Hotp
            }
            Some(_) => {
                return Err(
                    "the key's algorithm is none of ours: PSKC's totp and hotp are".to_owned()
                );
            }
            None => return Err("the key names no algorithm".to_owned()),
        };
        let algorithm = match self.suite.as_deref() {
            None | Some("") => Algorithm::default(),
            Some(suite) => {
                suite.trim_start_matches("HMAC-").replace('-', "").parse::<Algorithm>().map_err(
                    |_| "unknown Suite: HMAC-SHA1, HMAC-SHA256 and HMAC-SHA512 are known",
                )?
            }
        };
        let mut found = Found::new(Token { secret, algorithm, digits, kind }, state);
        found.issuer = self.issuer;
        found.left.append(&mut left);
        found.warnings = warnings;
        Ok(found)
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, &'static str> {
    for (count, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| "an attribute is not well-formed")?;
        if count > 32 {
            return Err("an element has too many attributes");
        }
        if attribute.key.as_ref() == name {
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| "an attribute has an entity that is not XML's own")?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

/// The user's name in a UserId, which RFC 6030 has as a distinguished name
/// (RFC 4514) and others as the name itself.
fn user_of(id: &str) -> Result<String, &'static str> {
    let mut parts = vec![String::new()];
    let mut letters = id.chars();
    while let Some(letter) = letters.next() {
        let part = match letter {
            ',' | '+' => {
                parts.push(String::new());
                continue;
            }
            '\\' => letters.next().ok_or("the UserId ends in the middle of an escape")?,
            letter => letter,
        };
        if let Some(last) = parts.last_mut() {
            last.push(part);
        }
    }
    let named = parts.iter().find_map(|part| {
        let (kind, name) = part.split_once('=')?;
        kind.trim().eq_ignore_ascii_case("UID").then(|| name.trim().to_owned())
    });
    match (named, parts.as_slice()) {
        (Some(name), _) if !name.is_empty() => Ok(name),
        (None, [name]) if !name.contains('=') && !name.is_empty() => Ok(name.clone()),
        _ => Err("the UserId is a distinguished name without a UID (--user names the user)"),
    }
}

/// The UserId of a user: [`user_of`] reads it.
pub(crate) fn user_id(user: &str) -> String {
    let mut id = "UID=".to_owned();
    for letter in user.chars() {
        if matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#' | ' ') {
            id.push('\\');
        }
        id.push(letter);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    fn one(text: &str) -> Imported {
        let mut all = parse(text).unwrap();
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
        let found = read.found.unwrap();
        assert_eq!(found.token.kind, Kind::Totp { period: Period::try_from(60).unwrap() });
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
        let found = read.found.unwrap();
        assert_eq!((found.token.kind, found.state.next), (Kind::Hotp, Step(57)));
    }

    #[test]
    fn what_is_not_carried_over_is_named() {
        let policy = "<Policy><ExpiryDate>2030-01-01T00:00:00Z</ExpiryDate>\
                      <PINPolicy PINUsageMode=\"Prepend\"/><KeyUsage>OTP</KeyUsage>\
                      <NumberOfTransactions>9</NumberOfTransactions></Policy>";
        let left = one(&key(HOTP, EIGHT, "", policy)).found.unwrap().left.join("\n");
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
            (key(TOTP, EIGHT, &secret, ""), "stands twice"),
            (key(TOTP, EIGHT, "", "<UserId>carol</UserId><UserId>bob</UserId>"), "stands twice"),
            (key(TOTP, EIGHT, "", "").replace("</Key>", "</Key><Key Id=\"2\"/>"), "two keys"),
            (key("urn:ietf:params:xml:ns:keyprov:pskc:ocra", EIGHT, "", ""), "none of ours"),
            (key(TOTP, &EIGHT.replace('8', "9"), "", ""), "9 digits"),
            (key(TOTP, &EIGHT.replace("DECIMAL", "BASE64"), "", ""), "not decimal"),
            (key(TOTP, &EIGHT.replace("/>", " CheckDigits=\"true\"/>"), "", ""), "check digits"),
            (key(TOTP, "<Suite>MD5</Suite>", "", ""), "unknown Suite"),
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
            let error = read.found.unwrap_err().to_string();
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
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.starts_with("line ") && error.contains(what), "{what}: {error}");
            assert!(error.len() < 200);
        }
        for end in 0..good.trim_end().len() {
            let error = parse(good.get(..end).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with("line "), "{end}: {error}");
        }
    }

    #[test]
    fn a_user_id_is_a_name_or_a_distinguished_name_with_a_uid() {
        for (id, user) in [
            ("alice", Some("alice")),
            ("UID=alice", Some("alice")),
            ("CN=Alice A,uid=alice,DC=example", Some("alice")),
            ("UID=a\\,b", Some("a,b")),
            ("CN=alice", None),
            ("UID=", None),
            ("", None),
            ("a\\", None),
        ] {
            assert_eq!(user_of(id).ok().as_deref(), user, "{id}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_name_comes_back_from_its_user_id(name in "[^\\s\\pC][^\\pC]{0,20}[^\\s\\pC]") {
            prop_assert_eq!(user_of(&user_id(&name)), Ok(name));
        }
    }
}
