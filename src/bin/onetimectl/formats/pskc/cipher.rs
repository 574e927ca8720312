//! The algorithms that encrypt values and protect them, by their names (RFC 6030 section 6,
//! RFC 6931): AES in CBC mode, AES key wrap, HMAC, PBKDF2. The crates do the arithmetic.

use aes::cipher::common::InnerInit;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_kw::{AesKw, AesKwp};
use cbc::Decryptor;
use cbc::cipher::block_padding::Iso10126;
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::super::word;

/// Bytes of a block of AES, and of an initialization vector.
const BLOCK: usize = 16;
/// Bytes of a block of key wrap.
const HALF: usize = 8;
/// Bytes; a name of an algorithm is not longer, without what goes before it.
const LONGEST_NAME: usize = 15;

/// What encrypts a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cipher {
    mode: Mode,
    pub(super) size: KeySize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// It says nothing of whether the value was altered.
    Cbc,
    /// RFC 3394, and RFC 5649 for keys that are no multiples of 8 bytes: some call both by
    /// the name of the first.
    KeyWrap,
}

/// Which AES.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeySize {
    Aes128,
    Aes192,
    Aes256,
}

impl KeySize {
    const ALL: [Self; 3] = [Self::Aes128, Self::Aes192, Self::Aes256];

    /// Of a key.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

impl Cipher {
    /// The algorithm of this URI; else what to call it.
    pub(super) fn named(uri: &str) -> Result<Self, String> {
        let name = fragment(uri);
        let plain = plain(name);
        let known = KeySize::ALL.into_iter().find_map(|size| {
            let bits = size.bytes().saturating_mul(8);
            let mode = if plain == format!("AES{bits}CBC") {
                Mode::Cbc
            } else if plain == format!("KWAES{bits}") || plain == format!("KWAES{bits}PAD") {
                Mode::KeyWrap
            } else {
                return None;
            };
            Some(Self { mode, size })
        });
        known.ok_or_else(|| shown(name))
    }

    /// Whether it shows by itself that a value was not altered.
    pub(super) const fn has_integrity(self) -> bool {
        match self.mode {
            Mode::Cbc => false,
            Mode::KeyWrap => true,
        }
    }

    /// Whether a value can have so many bytes once it is encrypted.
    pub(super) const fn fits(self, bytes: usize) -> bool {
        match self.mode {
            Mode::Cbc => bytes >= 2 * BLOCK && bytes.is_multiple_of(BLOCK),
            Mode::KeyWrap => bytes >= 2 * HALF && bytes.is_multiple_of(HALF),
        }
    }

    /// The value; `None` where the key cannot be its key.
    pub(super) fn decrypt(self, key: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match (self.mode, self.size) {
            (Mode::Cbc, KeySize::Aes128) => cbc::<Decryptor<Aes128>>(key, data),
            (Mode::Cbc, KeySize::Aes192) => cbc::<Decryptor<Aes192>>(key, data),
            (Mode::Cbc, KeySize::Aes256) => cbc::<Decryptor<Aes256>>(key, data),
            (Mode::KeyWrap, KeySize::Aes128) => key_wrap::<Aes128>(key, data),
            (Mode::KeyWrap, KeySize::Aes192) => key_wrap::<Aes192>(key, data),
            (Mode::KeyWrap, KeySize::Aes256) => key_wrap::<Aes256>(key, data),
        }
    }
}

/// The padding's last byte says how long it is, and the others may be anything (XML
/// Encryption section 5.2): PKCS #5, which RFC 6030 recommends, is one of its kinds.
fn cbc<M: BlockModeDecrypt + KeyIvInit>(key: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (vector, data) = data.split_at_checked(BLOCK)?;
    let mode = M::new_from_slices(key, vector).ok()?;
    let mut value = Zeroizing::new(data.to_vec());
    let length = mode.decrypt_padded::<Iso10126>(&mut value).ok()?.len();
    value.truncate(length);
    Some(value)
}

fn key_wrap<C>(key: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>>
where
    C: BlockCipherDecrypt<BlockSize = U16> + KeyInit,
{
    let cipher = || C::new_from_slice(key).ok();
    let mut value = Zeroizing::new(vec![0; data.len().checked_sub(HALF)?]);
    if AesKw::inner_init(cipher()?).unwrap_key(data, &mut value).is_ok() {
        return Some(value);
    }
    let length = AesKwp::inner_init(cipher()?).unwrap_key(data, &mut value).ok()?.len();
    value.truncate(length);
    Some(value)
}

/// A digest, under HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Digest {
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// The digest under the HMAC of this name, `hmac-sha256`, `HMAC-SHA-256` or
    /// `id-hmacWithSHA256`; else what to call it.
    pub(super) fn named(uri: &str) -> Result<Self, String> {
        let name = fragment(uri);
        let plain = plain(name);
        let hmac = plain.strip_prefix("ID").unwrap_or(&plain).strip_prefix("HMAC");
        match hmac.map(|name| name.strip_prefix("WITH").unwrap_or(name)) {
            Some("SHA1") => Ok(Self::Sha1),
            Some("SHA224") => Ok(Self::Sha224),
            Some("SHA256") => Ok(Self::Sha256),
            Some("SHA384") => Ok(Self::Sha384),
            Some("SHA512") => Ok(Self::Sha512),
            Some(_) | None => Err(shown(name)),
        }
    }

    /// Whether this is the MAC of the data. The time it takes does not say where it differs.
    pub(super) fn verifies(self, key: &[u8], data: &[u8], mac: &[u8]) -> bool {
        match self {
            Self::Sha1 => verifies::<Hmac<Sha1>>(key, data, mac),
            Self::Sha224 => verifies::<Hmac<Sha224>>(key, data, mac),
            Self::Sha256 => verifies::<Hmac<Sha256>>(key, data, mac),
            Self::Sha384 => verifies::<Hmac<Sha384>>(key, data, mac),
            Self::Sha512 => verifies::<Hmac<Sha512>>(key, data, mac),
        }
    }

    /// The key that PBKDF2 (RFC 8018 section 5.2) makes of a password.
    pub(super) fn derive(
        self,
        password: &[u8],
        salt: &[u8],
        iterations: u32,
        size: KeySize,
    ) -> Zeroizing<Vec<u8>> {
        let mut key = Zeroizing::new(vec![0; size.bytes()]);
        match self {
            Self::Sha1 => pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut key),
            Self::Sha224 => pbkdf2_hmac::<Sha224>(password, salt, iterations, &mut key),
            Self::Sha256 => pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut key),
            Self::Sha384 => pbkdf2_hmac::<Sha384>(password, salt, iterations, &mut key),
            Self::Sha512 => pbkdf2_hmac::<Sha512>(password, salt, iterations, &mut key),
        }
        key
    }
}

fn verifies<M: Mac + KeyInit>(key: &[u8], data: &[u8], mac: &[u8]) -> bool {
    <M as KeyInit>::new_from_slice(key)
        .is_ok_and(|hmac| hmac.chain_update(data).verify_slice(mac).is_ok())
}

/// The name of an algorithm, of the URI that stands for it.
pub(super) fn fragment(uri: &str) -> &str {
    let uri = uri.trim();
    uri.rsplit_once('#').map_or(uri, |(_, name)| name)
}

/// A name without what is written in one way or another.
fn plain(name: &str) -> String {
    let signs = |c: &char| !matches!(c, '-' | '_');
    name.chars().filter(signs).map(|c| c.to_ascii_uppercase()).collect()
}

/// What to call an algorithm that is not known here.
pub(super) fn shown(name: &str) -> String {
    match word(name) {
        name if (1..=LONGEST_NAME).contains(&name.len()) => name,
        _ => "an unknown algorithm".to_owned(),
    }
}
