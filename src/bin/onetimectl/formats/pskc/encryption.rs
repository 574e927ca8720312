//! How values are encrypted (RFC 6030 section 6): what `EncryptionKey`, `MACMethod` and each
//! `EncryptedValue` say, element by element, as it is written. `lock` knows what it means.

use quick_xml::events::BytesStart;

use super::package::attribute;

const TWICE: &str = "says twice how its values are encrypted";

/// What a file says of its key and of its MACs.
#[derive(Default)]
pub(super) struct Encryption {
    /// Where `EncryptionKey` begins, if it does.
    pub(super) line: Option<usize>,
    pub(super) key_name: Option<String>,
    pub(super) derivation: Option<Derivation>,
    pub(super) mac: Option<MacMethod>,
    /// The first thing that makes the key useless here, as words after "the file".
    pub(super) problem: Option<&'static str>,
}

/// `KeyDerivationMethod`: how a password becomes the key.
#[derive(Default)]
pub(super) struct Derivation {
    pub(super) algorithm: Option<String>,
    pub(super) salt: Option<String>,
    pub(super) iterations: Option<String>,
    pub(super) key_length: Option<String>,
    pub(super) prf: Option<String>,
}

/// `MACMethod`: how a value shows that it was not altered.
#[derive(Default)]
pub(super) struct MacMethod {
    pub(super) algorithm: Option<String>,
    pub(super) key: Option<Encrypted>,
    pub(super) reference: Option<String>,
}

/// A value that is encrypted.
#[derive(Default)]
pub(super) struct Encrypted {
    pub(super) method: Option<String>,
    /// In base64.
    pub(super) value: Option<String>,
    /// What makes it useless here, as words after "the file".
    pub(super) problem: Option<&'static str>,
}

impl Encryption {
    /// An element of the file begins, in this line.
    ///
    /// # Errors
    /// What is not well-formed in it.
    pub(super) fn begin(
        &mut self,
        path: &[&'static str],
        start: &BytesStart<'_>,
        line: usize,
    ) -> Result<(), &'static str> {
        match path.strip_prefix(&["KeyContainer"]) {
            Some(["EncryptionKey"]) => match self.line {
                None => self.line = Some(line),
                Some(_) => self.fail(TWICE),
            },
            Some(["EncryptionKey", "X509Data" | "EncryptedKey" | "KeyValue"]) => {
                self.fail("is encrypted for the owner of a certificate or private key");
            }
            Some(["EncryptionKey", "DerivedKey", rest @ ..]) => {
                let derivation = self.derivation.get_or_insert_default();
                let place = match rest {
                    ["KeyDerivationMethod"] => &mut derivation.algorithm,
                    ["KeyDerivationMethod", "PBKDF2-params", "PRF"] => &mut derivation.prf,
                    _ => return Ok(()),
                };
                if place.is_some() {
                    self.fail(TWICE);
                } else {
                    *place = attribute(start, "Algorithm")?;
                }
            }
            Some(["MACMethod"]) if self.mac.is_some() => self.fail(TWICE),
            Some(["MACMethod"]) => {
                let algorithm = attribute(start, "Algorithm")?;
                self.mac = Some(MacMethod { algorithm, ..MacMethod::default() });
            }
            Some(["MACMethod", "MACKey", rest @ ..]) => {
                let Some(mac) = &mut self.mac else { return Ok(()) };
                match (rest, &mut mac.key) {
                    ([], Some(_)) => self.fail(TWICE),
                    ([], None) => mac.key = Some(Encrypted::default()),
                    (rest, Some(key)) => key.begin(rest, start)?,
                    (_, None) => {}
                }
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// An element of the file ends.
    pub(super) fn end(&mut self, path: &[&'static str], value: &str) {
        let place = match path.strip_prefix(&["KeyContainer"]) {
            // Of several names of one key, the first is enough.
            Some(
                ["EncryptionKey", "KeyName"] | ["EncryptionKey", "DerivedKey", "MasterKeyName"],
            ) => {
                self.key_name.get_or_insert_with(|| value.to_owned());
                return;
            }
            Some(
                ["EncryptionKey", "DerivedKey", "KeyDerivationMethod", "PBKDF2-params", rest @ ..],
            ) => {
                let derivation = self.derivation.get_or_insert_default();
                match rest {
                    ["Salt", "Specified"] => &mut derivation.salt,
                    ["IterationCount"] => &mut derivation.iterations,
                    ["KeyLength"] => &mut derivation.key_length,
                    // Some write it as text, others as an attribute.
                    ["PRF"] if !value.is_empty() => &mut derivation.prf,
                    _ => return,
                }
            }
            Some(["MACMethod", rest @ ..]) => match (rest, &mut self.mac) {
                (["MACKey", rest @ ..], Some(MacMethod { key: Some(key), .. })) => {
                    return key.end(rest, value);
                }
                (["MACKeyReference"], Some(mac)) => &mut mac.reference,
                (_, _) => return,
            },
            Some(_) | None => return,
        };
        match place {
            None => *place = Some(value.to_owned()),
            Some(_) => self.fail(TWICE),
        }
    }

    fn fail(&mut self, problem: &'static str) {
        self.problem.get_or_insert(problem);
    }
}

impl Encrypted {
    /// An element of the value begins.
    ///
    /// # Errors
    /// What is not well-formed in it.
    pub(super) fn begin(
        &mut self,
        path: &[&'static str],
        start: &BytesStart<'_>,
    ) -> Result<(), &'static str> {
        match path {
            ["EncryptionMethod"] if self.method.is_some() => self.fail(TWICE),
            ["EncryptionMethod"] => self.method = attribute(start, "Algorithm")?,
            ["CipherData", "CipherReference"] => {
                self.fail("has its encrypted values elsewhere (CipherReference)");
            }
            _ => {}
        }
        Ok(())
    }

    /// An element of the value ends.
    pub(super) fn end(&mut self, path: &[&'static str], value: &str) {
        match path {
            ["CipherData", "CipherValue"] if self.value.is_some() => self.fail(TWICE),
            ["CipherData", "CipherValue"] => self.value = Some(value.to_owned()),
            _ => {}
        }
    }

    fn fail(&mut self, problem: &'static str) {
        self.problem.get_or_insert(problem);
    }
}
