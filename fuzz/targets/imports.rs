//! Files of other programs, as onetimectl import reads them. A token that is accepted
//! fits a record, and as an otpauth URI is the same token again; what is refused is reported
//! in one line with its number, and quotes nothing that could be a secret.
#![no_main]

#[allow(dead_code)]
#[path = "../../src/bin/onetimectl/formats/mod.rs"]
mod formats;

use formats::{
    Aids, FORMATS, ForeignEntry, ForeignToken, FormatError, KeyError, KeyKind, KeySource,
    WantedKey, by_name,
};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use pam_onetime::account::UserName;
use pam_onetime::code::MovingFactor;
use pam_onetime::config::is_issuer;
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::store::fuzzing::{read_record, write_record};
use pam_onetime_fuzz::record;
use zeroize::Zeroizing;

fuzz_target!(|text: &str| {
    for format in FORMATS {
        let _looks_like_it = format.sniff(text);
        let aids = Aids { zone: TimeZone::UTC, keys: &KeysOfRfc6030 };
        let parsed = format.parse(text, &aids, &mut |entry| accepted(entry, text));
        if let Err(error) = parsed {
            refused(&error, text);
        }
    }
});

/// The key and the password of the figures of RFC 6030, which are among the seeds.
struct KeysOfRfc6030;

impl KeySource for KeysOfRfc6030 {
    fn key(&self, wanted: &WantedKey<'_>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let key: &[u8] = match wanted.kind {
            KeyKind::Shared => b"12345678901234567890123456789012",
            KeyKind::Password => b"qwerty",
        };
        Ok(Zeroizing::new(key.to_vec()))
    }
}

/// Long words that a refusal may have: names of RFC 6030, XML Encryption and PKCS #5, and not
/// what a file says.
const NAMES: [&str; 4] =
    ["AlgorithmParameters", "EncryptionMethod", "KeyDerivationMethod", "NumberOfTransactions"];

fn refused(FormatError { line, what, .. }: &FormatError, text: &str) {
    assert!((1..=text.lines().count() + 1).contains(line), "line {line}");
    assert!(what.len() < 160 && !what.contains(|c: char| c.is_control()), "{what}");
    for word in what.split(|c: char| !c.is_ascii_alphanumeric()) {
        let is_known = NAMES.contains(&word) || word.parse::<u64>().is_ok();
        assert!(word.len() < 16 || is_known, "is it a secret? {what}");
    }
}

fn accepted(ForeignEntry { user, token, .. }: ForeignEntry, text: &str) {
    let ForeignToken { token, state, issuer, not_carried_over, warnings } = match token {
        Ok(token) => token,
        Err(error) => return refused(&error, text),
    };
    for note in not_carried_over.iter().chain(&warnings) {
        assert!(!note.contains(|c: char| c.is_control()), "{note}");
    }
    let mut record = record([token.clone()]);
    if let Some(user) = user.and_then(|user| UserName::new(user).ok()) {
        record.user = user;
    }
    if let Some(issuer) = issuer.filter(|issuer| is_issuer(issuer)) {
        record.issuer = issuer;
    }
    let written = write_record(&record).expect("what was read can be written");
    assert_eq!(read_record(&written).as_ref(), Ok(&record));

    let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
    let uri = Enrollment::of(&invitation).next().expect("one token").uri_from(state.next);
    let otpauth = by_name("otpauth").expect("a format");
    let mut again = None;
    let aids = Aids { zone: TimeZone::UTC, keys: &KeysOfRfc6030 };
    let parsed = otpauth.parse(&uri, &aids, &mut |entry| again = Some(entry));
    parsed.expect("our own URI");
    let again = again.expect("one").token.expect("our own token");
    assert_eq!(again.token, token);
    if token.kind == MovingFactor::Hotp {
        assert_eq!(again.state.next, state.next);
    }
}
