//! What a file's encrypted values say, once its key is there: MACs are checked first, and
//! values decrypted then (RFC 6030 section 6). The key is asked for when the first value
//! needs it.

use std::cell::OnceCell;

use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
use zeroize::Zeroizing;

use super::super::{KeyKind, KeySource, WantedKey};
use super::FormatError;
use super::cipher::{Cipher, Digest, KeySize, fragment, shown};
use super::encryption::{Derivation, Encrypted, Encryption, MacMethod};

/// Rounds of PBKDF2: ten seconds of a slow machine. What fuzzes has less time.
const MAX_ITERATIONS: u32 = if cfg!(fuzzing) { 1000 } else { 10_000_000 };
/// Rounds; RFC 8018 section 4.2 asks for so many.
const FEW_ITERATIONS: u32 = 1000;
/// Bytes; a salt has 8 to 64.
const MAX_SALT: usize = 1024;
/// Bytes; a shorter key of MACs could be guessed, or be an empty one that somebody put there.
const MIN_MAC_KEY: usize = 16;

const WRONG: &str = "the key or password is wrong, or the file was altered";
const CHECK_THE_KEY: &str = "check which key or password is the file's, or have it sent again";
const NO_PLAIN: &str =
    "have the keys exported with aes128-cbc and MACs, or in plain, and keep that file safe";
const NO_MAC: &str = "have it written with MACs (MACMethod and ValueMAC, RFC 6030 section 6.1.1)";
const BOUNDED: &str = "have it written within these bounds";

/// Why a value is not to be had.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    /// Nothing of the file is to be trusted, or nothing can be read.
    File(FormatError),
    /// It is of this key alone.
    Key {
        /// As words about it.
        what: String,
        remedy: &'static str,
    },
}

impl Refusal {
    fn key(what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Key { what: what.into(), remedy }
    }
}

/// What opens the encrypted values of a file.
pub(super) struct Lock<'a> {
    encryption: Encryption,
    keys: &'a dyn KeySource,
    opened: OnceCell<Result<Opened, Refusal>>,
}

/// The file's keys.
struct Opened {
    key: Zeroizing<Vec<u8>>,
    size: KeySize,
    /// That of the MACs.
    mac_key: OnceCell<Result<Zeroizing<Vec<u8>>, Refusal>>,
}

/// An encrypted value of a key.
pub(super) struct Sealed<'a> {
    /// The element that it is in, such as `Secret`.
    pub(super) name: &'static str,
    pub(super) value: &'a Encrypted,
    /// Its `ValueMAC`.
    pub(super) mac: Option<&'a str>,
    /// Where the key is.
    pub(super) line: usize,
}

impl<'a> Lock<'a> {
    pub(super) fn new(encryption: Encryption, keys: &'a dyn KeySource) -> Self {
        Self { encryption, keys, opened: OnceCell::new() }
    }

    /// A value, in plain.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(super) fn open(&self, sealed: &Sealed<'_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let name = sealed.name;
        if let Some(problem) = self.encryption.problem {
            return Err(Refusal::key(format!("the file {problem}"), NO_PLAIN));
        }
        let (cipher, data) = read(sealed.value)?;
        let mac = match (sealed.mac, &self.encryption.mac) {
            (None, _) if cipher.has_integrity() => None,
            (None, _) => {
                let what = format!("its encrypted {name} has no MAC, and could have been altered");
                return Err(Refusal::key(what, NO_MAC));
            }
            (Some(_), None) => {
                let what =
                    format!("its {name} has a MAC, and the file does not say which (MACMethod)");
                return Err(Refusal::key(what, NO_MAC));
            }
            (Some(mac), Some(method)) => {
                let mac = base64(mac).ok_or_else(|| {
                    Refusal::key(format!("the MAC of its {name} is not base64"), NO_MAC)
                })?;
                Some((digest(method)?, mac))
            }
        };
        // What can be known to be of no use without the key was said before it is asked for.
        let opened = self.opened.get_or_init(|| self.unlock(cipher.size, sealed.line));
        let opened = opened.as_ref().map_err(Clone::clone)?;
        if opened.size != cipher.size {
            let what = format!("its {name} is encrypted with a key of another length than others");
            return Err(Refusal::key(what, NO_PLAIN));
        }
        if let Some((digest, mac)) = mac {
            let key = opened.mac_key.get_or_init(|| self.mac_key(opened, sealed.line));
            if !digest.verifies(key.as_ref().map_err(Clone::clone)?, &data, &mac) {
                return Err(wrong(sealed.line));
            }
        }
        cipher.decrypt(&opened.key, &data).ok_or_else(|| wrong(sealed.line))
    }

    /// What an admin should know of how the file is encrypted.
    pub(super) fn warning(&self) -> Option<String> {
        let derivation = self.encryption.derivation.as_ref()?;
        let few = number(derivation.iterations.as_deref())? < FEW_ITERATIONS;
        few.then(|| {
            format!(
                "the file's password is stretched by fewer than {FEW_ITERATIONS} rounds: whoever \
                 has the file can try many (delete it)"
            )
        })
    }

    /// Gets the key.
    fn unlock(&self, size: KeySize, line: usize) -> Result<Opened, Refusal> {
        let key = match &self.encryption.derivation {
            None => self.shared_key(size, line)?,
            Some(derivation) => self.derived_key(derivation, size, line)?,
        };
        Ok(Opened { key, size, mac_key: OnceCell::new() })
    }

    /// The key that both sides have.
    fn shared_key(&self, size: KeySize, line: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let text = self.ask(KeyKind::Shared, line)?;
        shared_key(&text, size.bytes()).ok_or_else(|| {
            let what =
                format!("a key of {} bytes is needed, and what was given is not one", size.bytes());
            Refusal::File(FormatError::new(line, what).with_remedy(
                "give it in hexadecimal, in base64, or as these bytes, and nothing else",
            ))
        })
    }

    /// The key that a password makes.
    fn derived_key(
        &self,
        derivation: &Derivation,
        size: KeySize,
        line: usize,
    ) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let name = derivation.algorithm.as_deref().map(fragment).unwrap_or_default();
        if !name.eq_ignore_ascii_case("pbkdf2") {
            let what = format!("its key is derived by {}: PBKDF2 is known", shown(name));
            return Err(Refusal::key(what, NO_PLAIN));
        }
        let digest = derivation.prf.as_deref().map_or(Ok(Digest::default()), Digest::named);
        let digest = digest.map_err(|name| {
            let what = format!("its PBKDF2 uses {name}: HMAC with SHA1 or SHA2 is known");
            Refusal::key(what, NO_PLAIN)
        })?;
        let iterations = number(derivation.iterations.as_deref());
        let Some(iterations) = iterations.filter(|count| (1..=MAX_ITERATIONS).contains(count))
        else {
            let what =
                format!("its PBKDF2 must have 1 to {MAX_ITERATIONS} rounds (IterationCount)");
            return Err(Refusal::key(what, BOUNDED));
        };
        let salt = derivation.salt.as_deref().and_then(base64);
        let Some(salt) = salt.filter(|salt| (1..=MAX_SALT).contains(&salt.len())) else {
            let what = format!("its PBKDF2 must have a salt of 1 to {MAX_SALT} bytes in base64");
            return Err(Refusal::key(what, BOUNDED));
        };
        let length = derivation.key_length.as_deref();
        if length.is_some_and(|length| length.trim().parse() != Ok(size.bytes())) {
            let what = format!("its PBKDF2 must make a key of {} bytes (KeyLength)", size.bytes());
            return Err(Refusal::key(what, BOUNDED));
        }
        let password = self.ask(KeyKind::Password, line)?;
        Ok(digest.derive(without_newline(&password), &salt, iterations, size))
    }

    /// The key of the MACs: that of the file, where the file has no other.
    fn mac_key(&self, opened: &Opened, line: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let key = &opened.key;
        let Some(method) = &self.encryption.mac else { return Ok(key.clone()) };
        match (&method.key, &method.reference) {
            (None, None) => Ok(key.clone()),
            (None, Some(name)) if Some(name) == self.encryption.key_name.as_ref() => {
                Ok(key.clone())
            }
            (_, Some(_)) => {
                let what = "the key of its MACs is another than the file's (MACKeyReference)";
                Err(Refusal::key(what, NO_MAC))
            }
            (Some(encrypted), None) => {
                let (cipher, data) = read(encrypted)?;
                if cipher.size != opened.size {
                    let what = "the key of its MACs is encrypted with a key of another length";
                    return Err(Refusal::key(what, NO_MAC));
                }
                let mac_key = cipher.decrypt(key, &data);
                // Too short: what a wrong key makes of it is short in one case of 16.
                mac_key.filter(|key| key.len() >= MIN_MAC_KEY).ok_or_else(|| wrong(line))
            }
        }
    }

    fn ask(&self, kind: KeyKind, line: usize) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let wanted = WantedKey { kind, name: self.encryption.key_name.as_deref() };
        let line = self.encryption.line.unwrap_or(line);
        match self.keys.key(&wanted) {
            Ok(text) if !without_newline(&text).is_empty() => Ok(text),
            Ok(_) => Err(Refusal::File(
                FormatError::new(line, format!("its {wanted} is needed, and nothing was given"))
                    .with_remedy(CHECK_THE_KEY),
            )),
            Err(error) => {
                let remedy = error.remedy;
                let error = FormatError::new(line, format!("its {wanted} is needed{}", error.what));
                Err(Refusal::File(FormatError { remedy, ..error }))
            }
        }
    }
}

/// The digest of the file's MACs.
fn digest(method: &MacMethod) -> Result<Digest, Refusal> {
    Digest::named(method.algorithm.as_deref().unwrap_or_default()).map_err(|name| {
        let what = format!("its MACs are {name}: HMAC with SHA1 or SHA2 is known");
        Refusal::key(what, NO_MAC)
    })
}

fn wrong(line: usize) -> Refusal {
    Refusal::File(FormatError::new(line, WRONG).with_remedy(CHECK_THE_KEY))
}

/// How a value is encrypted, and its bytes.
fn read(encrypted: &Encrypted) -> Result<(Cipher, Vec<u8>), Refusal> {
    if let Some(problem) = encrypted.problem {
        return Err(Refusal::key(format!("the file {problem}"), NO_PLAIN));
    }
    let Some(method) = &encrypted.method else {
        let what = "its values are encrypted, and the file does not say how";
        return Err(Refusal::key(what, NO_PLAIN));
    };
    let cipher = Cipher::named(method).map_err(|name| {
        let what =
            format!("its values are encrypted with {name}: AES-CBC and AES key wrap are known");
        Refusal::key(what, NO_PLAIN)
    })?;
    let data = encrypted.value.as_deref().and_then(base64);
    match data.filter(|data| cipher.fits(data.len())) {
        Some(data) => Ok((cipher, data)),
        None => {
            let what = "an encrypted value is no base64 of as many bytes as its algorithm makes";
            Err(Refusal::key(what, NO_PLAIN))
        }
    }
}

/// A key as it is written, by its length: in hexadecimal, in base64, or as it is. These are
/// of different lengths for each key that AES has.
fn shared_key(text: &[u8], bytes: usize) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() == bytes {
        return Some(Zeroizing::new(text.to_vec()));
    }
    let text = without_newline(text);
    if text.len() == bytes {
        return Some(Zeroizing::new(text.to_vec()));
    }
    let letters = |ignored: fn(&u8) -> bool| -> Zeroizing<Vec<u8>> {
        let mut kept = Zeroizing::new(Vec::with_capacity(text.len()));
        kept.extend(text.iter().copied().filter(|byte| !ignored(byte)));
        kept
    };
    let hexadecimal = letters(|byte| byte.is_ascii_whitespace() || *byte == b':');
    let base64 = letters(|byte| byte.is_ascii_whitespace() || *byte == b'=');
    let decoded = HEXLOWER_PERMISSIVE.decode(&hexadecimal).ok().map(Zeroizing::new);
    let decoded = decoded.filter(|key| key.len() == bytes);
    decoded.or_else(|| {
        let key = Zeroizing::new(BASE64_NOPAD.decode(&base64).ok()?);
        Some(key).filter(|key| key.len() == bytes)
    })
}

/// Without the newline that an editor puts at the end.
fn without_newline(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let letters: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(&letters).ok()
}

fn number(text: Option<&str>) -> Option<u32> {
    text?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::{ForeignEntry, KeyError};
    use super::super::all;
    use super::*;

    /// The values of figures 6 and 7 of RFC 6030.
    const BY_KEY: &str = include_str!("../../../../../fuzz/corpus/imports/pskc_key.xml");
    const BY_PASSWORD: &str = include_str!("../../../../../fuzz/corpus/imports/pskc_password.xml");
    const KEY: &str = "12345678901234567890123456789012";
    const PASSWORD: &str = "qwerty";
    const SECRET: &[u8] = b"12345678901234567890";
    const PACKAGE_IN_PLAIN: &str = "<KeyPackage><Key Id=\"p\" \
        Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\"><Data><Secret><PlainValue>\
        MTIzNDU2Nzg5MDEyMzQ1Njc4OTE=</PlainValue></Secret></Data><UserId>bob</UserId></Key>\
        </KeyPackage></KeyContainer>";

    /// A key, and how often and by what name it was asked for.
    struct Asked<'a>(&'a [u8], std::cell::RefCell<Vec<String>>);

    impl KeySource for Asked<'_> {
        fn key(&self, wanted: &WantedKey<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
            self.1.borrow_mut().push(wanted.to_string());
            Ok(Zeroizing::new(self.0.to_vec()))
        }
    }

    fn with(key: &[u8], text: &str) -> (Result<Vec<ForeignEntry>, FormatError>, Vec<String>) {
        let keys = Asked(key, std::cell::RefCell::default());
        let all = all(text, &keys);
        (all, keys.1.into_inner())
    }

    fn secrets(key: &str, text: &str) -> Vec<Vec<u8>> {
        let all = with(key.as_bytes(), text).0.unwrap();
        let secret = |entry: ForeignEntry| entry.token.unwrap().token.secret.as_bytes().to_vec();
        all.into_iter().map(secret).collect()
    }

    /// What is said of the key, where the file is read.
    fn refused(key: &str, text: &str) -> String {
        let (all, _) = with(key.as_bytes(), text);
        let error = all.unwrap().remove(0).token.unwrap_err();
        assert!(error.remedy.is_some(), "{error}");
        error.to_string()
    }

    fn wrong(key: &[u8], text: &str) -> bool {
        with(key, text).0.is_err_and(|error| error.what == WRONG && error.remedy.is_some())
    }

    #[test]
    fn the_figures_of_rfc_6030_are_opened_by_their_key_and_password() {
        assert_eq!(secrets(KEY, BY_KEY), [SECRET]);
        assert_eq!(secrets(PASSWORD, BY_PASSWORD), [SECRET]);
        assert_eq!(with(KEY.as_bytes(), BY_KEY).1, ["key `Pre-shared-key`"]);
        assert_eq!(with(PASSWORD.as_bytes(), BY_PASSWORD).1, ["password `MyPassword1`"]);
    }

    #[test]
    fn a_key_is_read_in_hexadecimal_in_base64_and_as_bytes_by_its_length() {
        let hex = HEXLOWER_PERMISSIVE;
        for bytes in [16_usize, 24, 32] {
            let raw: Vec<u8> = (0..bytes).map(|byte| u8::try_from(byte * 7 + 3).unwrap()).collect();
            let base64 = BASE64.encode(&raw);
            let colons: Vec<_> =
                hex.encode(&raw).as_bytes().chunks(2).map(<[u8]>::to_vec).collect();
            for text in [
                raw.clone(),
                [raw.as_slice(), b"\n"].concat(),
                hex.encode(&raw).into_bytes(),
                hex.encode(&raw).to_uppercase().into_bytes(),
                format!("{}\r\n", hex.encode(&raw)).into_bytes(),
                colons.join(&b':'),
                base64.clone().into_bytes(),
                format!("{}\n", base64.trim_end_matches('=')).into_bytes(),
            ] {
                assert_eq!(shared_key(&text, bytes).as_deref(), Some(&raw), "{text:?}");
            }
            let ends_in_newline = [&raw[1..], b"\n"].concat();
            assert_eq!(shared_key(&ends_in_newline, bytes).as_deref(), Some(&ends_in_newline));
            for text in [&b""[..], b"0", &raw[1..], &base64.as_bytes()[4..], b"qwerty"] {
                assert_eq!(shared_key(text, bytes), None, "{text:?}");
            }
        }
        // 32 digits are a key in hexadecimal, or one as it is.
        assert_eq!(shared_key(KEY.as_bytes(), 16).map(|key| key.len()), Some(16));
        assert_eq!(shared_key(KEY.as_bytes(), 32).as_deref().unwrap(), KEY.as_bytes());
    }

    #[test]
    fn a_wrong_key_and_each_change_to_what_is_encrypted_fail_the_file() {
        let other = KEY.replace('1', "2");
        assert!(wrong(other.as_bytes(), BY_KEY));
        for password in ["qwertz", "qwerty ", "Qwerty", "\nqwerty"] {
            assert!(wrong(password.as_bytes(), BY_PASSWORD), "{password}");
        }
        // Whatever a wrong key makes of the key of the MACs.
        for number in 0_u16..300 {
            let key = format!("{number:016}");
            assert!(wrong(key.as_bytes(), BY_KEY), "{number}");
        }
        for value in [
            "ESIzRFVmd4iZABEiM0RVZgKn6WjLaTC1sbeBMSvIhRejN9vJa2BOlSaMrR7I5wSX",
            "AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv",
            "Su+NvtQfmvfJzF6bmQiJqoLRExc=",
        ] {
            let bytes = BASE64.decode(value.as_bytes()).unwrap();
            for place in 0..bytes.len() {
                let mut altered = bytes.clone();
                altered[place] ^= 1;
                let text = BY_KEY.replace(value, &BASE64.encode(&altered));
                assert!(wrong(KEY.as_bytes(), &text), "{value}: {place}");
            }
        }
        // Nobody can choose the MAC's key: one that is too short is none.
        let empty = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let (start, rest) = BY_KEY.split_once("ESIz").unwrap();
        let rest = rest.split_once("\n</xenc").unwrap().1;
        let own = format!("{start}{empty}\n</xenc{rest}");
        assert!(wrong(KEY.as_bytes(), &own));
    }

    #[test]
    fn a_key_that_is_no_key_and_a_password_that_is_empty_are_said_to_be() {
        for (key, text, what) in [
            ("secret", BY_KEY, "a key of 16 bytes is needed"),
            ("", BY_KEY, "key `Pre-shared-key` is needed, and nothing was given"),
            ("\n", BY_PASSWORD, "password `MyPassword1` is needed, and nothing was given"),
        ] {
            let error = with(key.as_bytes(), text).0.unwrap_err();
            assert!(error.what.contains(what) && error.remedy.is_some(), "{error}");
        }
        let error = all(BY_KEY, &super::super::super::NoKeys).unwrap_err();
        assert!(error.what.contains("key `Pre-shared-key` is needed"), "{error}");
    }

    #[test]
    fn what_is_not_supported_is_named_and_no_key_is_asked_for() {
        let mac = "<ValueMAC>Su+NvtQfmvfJzF6bmQiJqoLRExc=\n</ValueMAC>";
        let method =
            "xenc:EncryptionMethod Algorithm=\"http://www.w3.org/2001/04/xmlenc#aes128-cbc\"";
        let x509 = "<ds:X509Data><ds:X509Certificate>MIIB</ds:X509Certificate></ds:X509Data>";
        let gcm = BY_KEY.replace("2001/04/xmlenc#aes128-cbc", "2009/xmlenc11#aes128-gcm");
        for (text, what) in [
            (BY_KEY.replace(mac, ""), "encrypted Secret has no MAC"),
            (BY_KEY.replace("MACMethod", "MacMethod"), "(MACMethod)"),
            (BY_KEY.replace("hmac-sha1", "hmac-md5"), "MACs are hmac-md5"),
            (BY_KEY.replace("aes128-cbc", "tripledes-cbc"), "encrypted with tripledes-cbc"),
            (gcm, "encrypted with aes128-gcm"),
            (BY_KEY.replace(method, "xenc:X"), "does not say how"),
            (BY_KEY.replace("<ds:KeyName>Pre-shared-key</ds:KeyName>", x509), "certificate"),
            (BY_KEY.replace("CipherValue", "CipherReference"), "elsewhere (CipherReference)"),
            (BY_KEY.replace("AAECAwQFBgcI", "AAECAwQF"), "no base64 of as many bytes"),
            (BY_KEY.replace("AAECAw", "AAEC-w"), "no base64 of as many bytes"),
            (
                BY_KEY.replace(
                    "</ds:KeyName></EncryptionKey>",
                    "</ds:KeyName></EncryptionKey><EncryptionKey/>",
                ),
                "says twice",
            ),
        ] {
            let said = refused(KEY, &text);
            assert!(said.contains(what), "{what}: {said}");
            assert_eq!(with(KEY.as_bytes(), &text).1, [""; 0], "{what}");
        }
        let reference = "<MACKeyReference>other</MACKeyReference></MACMethod>";
        let said = refused(KEY, &BY_KEY.replace("</MACMethod>", reference));
        assert!(said.contains("MACKeyReference"), "{said}");
    }

    #[test]
    fn the_work_that_a_file_asks_for_is_bounded_before_the_password_is_asked_for() {
        let long = BASE64.encode(&[0; MAX_SALT + 1]);
        for (old, new, what) in [
            (">1000<", ">0<", "1 to 10000000 rounds"),
            (">1000<", ">10000001<", "1 to 10000000 rounds"),
            (">1000<", ">99999999999999999999<", "1 to 10000000 rounds"),
            (">1000<", "><", "1 to 10000000 rounds"),
            (">16<", ">32<", "a key of 16 bytes"),
            (">16<", ">4294967296<", "a key of 16 bytes"),
            ("Ej7/PEpyEpw=", "", "salt of 1 to 1024 bytes"),
            ("Ej7/PEpyEpw=", &long, "salt of 1 to 1024 bytes"),
            ("#pbkdf2", "#scrypt", "derived by scrypt"),
            ("<PRF/>", "<PRF Algorithm=\"#hmac-md5\"/>", "PBKDF2 uses hmac-md5"),
        ] {
            let text = BY_PASSWORD.replace(old, new);
            let said = refused(PASSWORD, &text);
            assert!(said.contains(what), "{what}: {said}");
            assert_eq!(with(PASSWORD.as_bytes(), &text).1, [""; 0], "{what}");
        }
    }

    #[test]
    fn parameters_are_read_in_each_namespace_and_spelling() {
        for (old, new) in [
            ("<PRF/>", ""),
            ("<PRF/>", "<PRF Algorithm=\"http://www.w3.org/2000/09/xmldsig#hmac-sha1\"/>"),
            ("<PRF/>", "<PRF>http://www.w3.org/2000/09/xmldsig#hmac-sha1</PRF>"),
            ("<PRF/>", "<PRF Algorithm=\"#id-hmacWithSHA1\"/>"),
            ("<KeyLength>16</KeyLength>", ""),
            ("pkcs5:PBKDF2-params", "xenc11:PBKDF2-params"),
            ("pkcs-5v2-0#", "pkcs-5#"),
            ("pkcs-5v2-0#", "pkcs-5v2-1#"),
            ("<KeyLength>16</KeyLength>", "<pskc:KeyLength> 16 </pskc:KeyLength>"),
            (
                "<IterationCount>1000</IterationCount>",
                "<pkcs5:IterationCount>1000</pkcs5:IterationCount>",
            ),
            (
                "<Specified>Ej7/PEpyEpw=</Specified>",
                "<xenc11:Specified>Ej7/\nPEpyEpw=</xenc11:Specified>",
            ),
        ] {
            assert!(BY_PASSWORD.contains(old), "{old}");
            assert_eq!(secrets(PASSWORD, &BY_PASSWORD.replace(old, new)), [SECRET], "{new}");
        }
    }

    #[test]
    fn keys_in_plain_and_encrypted_ones_are_in_one_file_and_a_key_is_asked_for_once() {
        let package = BY_KEY.split_once("<KeyPackage>").unwrap().1;
        let package = package.strip_suffix("</KeyContainer>\n").unwrap();
        let text =
            BY_KEY.replace("</KeyContainer>", &format!("<KeyPackage>{package}{PACKAGE_IN_PLAIN}"));
        let (all, asked) = with(KEY.as_bytes(), &text);
        assert_eq!((all.unwrap().len(), asked.len()), (3, 1));
        let signed = text.replace("</KeyContainer>", "<ds:Signature/></KeyContainer>");
        for entry in with(KEY.as_bytes(), &signed).0.unwrap() {
            let left = entry.token.unwrap().not_carried_over.join("\n");
            assert!(left.contains("signature, which was not checked"), "{left}");
        }
        // A PIN, and what is no one-time code, need no key.
        let pin = BY_KEY.replace("pskc:hotp", "pskc:pin");
        assert_eq!(with(b"", &pin).0.unwrap().len(), 0);
        let other = BY_KEY.replace("pskc:hotp", "pskc:ocra");
        let (all, asked) = with(b"", &other);
        let said = all.unwrap().remove(0).token.unwrap_err().to_string();
        assert!(said.contains("not supported") && asked.is_empty(), "{said}");
    }

    #[test]
    fn without_a_key_of_their_own_macs_are_by_the_key_of_the_file() {
        let (start, rest) = BY_KEY.split_once("<MACKey>").unwrap();
        let rest = rest.split_once("</MACKey>").unwrap().1;
        let own = "N8Agsfe5A7WQFswmdvL/MHdd3y0=";
        let text = format!("{start}{rest}").replace("Su+NvtQfmvfJzF6bmQiJqoLRExc=", own);
        assert_eq!(secrets(KEY, &text), [SECRET]);
        let reference = "<MACKeyReference>Pre-shared-key</MACKeyReference></MACMethod>";
        assert_eq!(secrets(KEY, &text.replace("</MACMethod>", reference)), [SECRET]);
        assert!(wrong(KEY.replace('1', "2").as_bytes(), &text));
    }

    #[test]
    fn key_wrap_needs_no_mac_and_its_keys_are_those_of_rfc_3394() {
        let mac = "<ValueMAC>Su+NvtQfmvfJzF6bmQiJqoLRExc=\n</ValueMAC>";
        let (start, rest) = BY_KEY.split_once("<MACMethod").unwrap();
        let rest = rest.split_once("</MACMethod>").unwrap().1;
        let bare = format!("{start}{rest}").replace(mac, "");
        let cipher = "AAECAwQFBgcICQoLDA0OD+cIHItlB3Wra1DUpxVvOx2lef1VmNPCMl8jwZqIUqGv";
        let text = bare.replace("aes128-cbc", "kw-aes128");
        let text = text.replace(cipher, "H6aLCoEStEeu80vY+1p7gp0+hiNx0s/l");
        let key = "000102030405060708090a0b0c0d0e0f";
        let secret = HEXLOWER_PERMISSIVE.decode(b"00112233445566778899aabbccddeeff").unwrap();
        assert_eq!(secrets(key, &text), [secret]);
        assert!(wrong(KEY.as_bytes(), &text));
    }

    #[test]
    fn an_encrypted_number_is_read_in_binary_and_where_digits_could_be_meant_it_is_refused() {
        use super::super::package::number;
        for (name, bytes, value) in [
            ("Counter", &[0][..], "0"),
            ("Counter", &[0, 0, 0, 0, 0, 0, 1, 2], "258"),
            ("Counter", &[0x3b, 0xfe, 0xb1, 0x48, 0x80, 0x8d, 0xd6], "16887061004979670"),
            ("Counter", &[0xff; 8], "18446744073709551615"),
            ("Counter", b"1000", "1000"),
            ("TimeInterval", &[30], "30"),
            ("TimeInterval", b"30", "30"),
            ("TimeInterval", b"<", "60"),
            ("Time", b"0", "0"),
            ("TimeDrift", b"-1000", "-1000"),
        ] {
            assert_eq!(number(name, bytes).unwrap(), value, "{name} {bytes:?}");
        }
        for (name, bytes, what) in [
            ("Counter", &b"5"[..], "read as 5 and as 53"),
            ("TimeDrift", b"-5", "read as -5 and as 11573"),
            ("Counter", &[1; 9], "not a number"),
            ("Counter", b"", "not a number"),
        ] {
            let Err(Refusal::Key { what: said, .. }) = number(name, bytes) else {
                panic!("{bytes:?}")
            };
            assert!(said.contains(what), "{said}");
        }
    }
}
