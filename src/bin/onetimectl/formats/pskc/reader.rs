//! Walks the XML of a PSKC file. Nothing outside of the file is read, no entity
//! is expanded but the five of XML itself, and depth and lengths are bounded.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::reader::NsReader;
use zeroize::Zeroizing;

use super::encryption::Encryption;
use super::package::Package;
use super::{FormatError, NAMESPACE};

/// Elements within each other; nothing in PSKC lies so deep.
const MAX_DEPTH: usize = 24;
/// Bytes; no value of a key is so long.
pub(super) const MAX_VALUE: usize = 4096;

/// What the namespaces of the parts that are about encryption begin with: XML Encryption 1.0 and
/// 1.1, XML Signature, PKCS #5 in each of its versions.
const OF_ENCRYPTION: [&str; 4] = [
    "http://www.w3.org/2001/04/xmlenc#",
    "http://www.w3.org/2009/xmlenc11#",
    "http://www.w3.org/2000/09/xmldsig#",
    "http://www.rsasecurity.com/rsalabs/pkcs/schemas/pkcs-5",
];

/// What a file says beside its KeyPackages.
pub(super) struct Container {
    pub(super) encryption: Encryption,
    pub(super) signature: Signature,
}

/// Reads how a file is encrypted, and hands each of its KeyPackages to `found` as it comes.
///
/// # Errors
/// [`FormatError`] where it is not such a file from beginning to end.
pub(super) fn read(text: &str, found: &mut dyn FnMut(Package)) -> Result<Container, FormatError> {
    let mut xml = NsReader::from_str(text);
    xml.config_mut().expand_empty_elements = true;
    let reader = Reader {
        xml,
        position: Position { text, at: 0, line: 1 },
        path: Vec::new(),
        value: Zeroizing::new(String::with_capacity(MAX_VALUE)),
        encryption: Encryption::default(),
        package: Package::default(),
        found,
        root: Root::Awaited,
        signature: Signature::None,
    };
    reader.read()
}

/// Whether the root element has begun: there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Awaited,
    Begun,
}

/// Whether the file is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    None,
    Unchecked,
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

struct Reader<'a, 'f> {
    xml: NsReader<&'a [u8]>,
    position: Position<'a>,
    /// The elements that are open, from the root on. Of elements in other
    /// namespaces, and of those that do not matter, the name is left empty.
    path: Vec<&'static str>,
    /// The text in the innermost of them.
    value: Zeroizing<String>,
    encryption: Encryption,
    /// The KeyPackage that is open.
    package: Package,
    found: &'f mut dyn FnMut(Package),
    root: Root,
    signature: Signature,
}

impl Reader<'_, '_> {
    fn read(mut self) -> Result<Container, FormatError> {
        loop {
            let (name, event) = match self.xml.read_resolved_event() {
                Ok((space, event)) => (name(&self.path, &space, &event), event),
                // Its own words could quote the file.
                Err(_) => return Err(self.error("not well-formed XML")),
            };
            match event {
                Event::Start(start) => self.start(name, &start)?,
                Event::Text(text) => self.append(&text.xml10_content())?,
                Event::CData(text) => self.append(&text.xml10_content())?,
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::End(_) => self.end(),
                Event::DocType(_) => {
                    return Err(self.error("a document type declaration is not accepted"));
                }
                Event::Eof if self.path.is_empty() && self.root == Root::Begun => {
                    let Self { encryption, signature, .. } = self;
                    return Ok(Container { encryption, signature });
                }
                Event::Eof => return Err(self.error("it ends before the XML does")),
                Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
    }

    /// An element begins.
    fn start(&mut self, name: &'static str, start: &BytesStart<'_>) -> Result<(), FormatError> {
        if self.path.is_empty() && (name != "KeyContainer" || self.root == Root::Begun) {
            return Err(self.error("not a PSKC file: the root must be KeyContainer"));
        }
        if self.path.len() >= MAX_DEPTH {
            return Err(self.error("elements are nested too deeply"));
        }
        self.root = Root::Begun;
        if self.path.len() == 1 && start.local_name().as_ref() == "Signature" {
            self.signature = Signature::Unchecked;
        }
        self.path.push(name);
        self.value.clear();
        let line = self.line();
        if self.path == ["KeyContainer", "KeyPackage"] {
            self.package = Package::at(line);
        }
        let begun = self.package.begin(&self.path, start);
        let begun = begun.and_then(|()| self.encryption.begin(&self.path, start, line));
        begun.map_err(|what| FormatError::new(line, what))
    }

    /// A reference to a character or an entity.
    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), FormatError> {
        let character = match reference.resolve_char_ref() {
            Ok(Some(character)) => Some(character),
            Ok(None) => resolve_predefined_entity(&reference.xml10_content())
                .and_then(|text| text.chars().next()),
            Err(_) => None,
        };
        match character {
            Some(character) => self.append(character.encode_utf8(&mut [0; 4])),
            None => Err(self.error("an entity that is not XML's own: none is expanded here")),
        }
    }

    /// Adds to the value of the element that is open, if it is one of a key's.
    fn append(&mut self, text: &str) -> Result<(), FormatError> {
        if self.path.is_empty() {
            return match text.trim() {
                "" => Ok(()),
                _ => Err(self.error("not a PSKC file: there is text outside of the XML")),
            };
        }
        if self.path.last().is_some_and(|name| name.is_empty()) {
            return Ok(());
        }
        // It never grows beyond what was reserved: no copies are left behind.
        if self.value.len().saturating_add(text.len()) > MAX_VALUE {
            return Err(self.error(&format!("a value is longer than {MAX_VALUE} bytes")));
        }
        self.value.push_str(text);
        Ok(())
    }

    /// The innermost element ends.
    fn end(&mut self) {
        if self.path == ["KeyContainer", "KeyPackage"] {
            (self.found)(std::mem::take(&mut self.package));
        } else {
            self.package.end(&self.path, self.value.trim());
            self.encryption.end(&self.path, self.value.trim());
        }
        self.path.pop();
        self.value.clear();
    }

    fn line(&mut self) -> usize {
        self.position.line(self.xml.buffer_position())
    }

    fn error(&mut self, what: &str) -> FormatError {
        FormatError::new(self.line(), what)
    }
}

/// The name of an element that begins, if it is one of those that matter, in this place.
fn name(path: &[&'static str], space: &ResolveResult<'_>, event: &Event<'_>) -> &'static str {
    let Event::Start(start) = event else { return "" };
    let local = start.local_name();
    let is_about_encryption =
        path.iter().any(|name| matches!(*name, "EncryptionKey" | "MACMethod" | "EncryptedValue"));
    match space {
        ResolveResult::Bound(Namespace(NAMESPACE)) if !is_about_encryption => known(local.as_ref()),
        // The figures of RFC 6030 have some of them in no namespace.
        ResolveResult::Bound(Namespace(NAMESPACE)) | ResolveResult::Unbound
            if is_about_encryption =>
        {
            known_of_encryption(local.as_ref())
        }
        ResolveResult::Bound(Namespace(uri))
            if is_about_encryption && OF_ENCRYPTION.iter().any(|start| uri.starts_with(start)) =>
        {
            known_of_encryption(local.as_ref())
        }
        ResolveResult::Bound(_) | ResolveResult::Unbound | ResolveResult::Unknown(_) => "",
    }
}

/// The names that matter.
fn known(name: &str) -> &'static str {
    const NAMES: [&str; 31] = [
        "KeyContainer",
        "EncryptionKey",
        "MACMethod",
        "KeyPackage",
        "DeviceInfo",
        "SerialNo",
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

/// The names that matter in what is about encryption.
fn known_of_encryption(name: &str) -> &'static str {
    const NAMES: [&str; 19] = [
        "KeyName",
        "X509Data",
        "EncryptedKey",
        "KeyValue",
        "DerivedKey",
        "MasterKeyName",
        "KeyDerivationMethod",
        "PBKDF2-params",
        "Salt",
        "Specified",
        "IterationCount",
        "KeyLength",
        "PRF",
        "MACKey",
        "MACKeyReference",
        "EncryptionMethod",
        "CipherData",
        "CipherValue",
        "CipherReference",
    ];
    NAMES.into_iter().find(|known| *known == name).unwrap_or("")
}
