//! A record's file. What is accepted has all its values in their ranges, is written
//! again, and is the same when that is read; what is refused is never quoted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pam_onetime::account::{MAX_RECOVERY_CODES, MAX_TOKENS};
use pam_onetime::code::MovingFactor;
use pam_onetime::store::fuzzing::{file_name, read_record, user_of, write_record};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(text);
    // Behind a checksum that is right lies the rest.
    read(&format!("checksum = \"crc32:{:08x}\"\n{text}", crc32fast::hash(data)));
});

fn read(text: &str) {
    let record = match read_record(text) {
        Ok(record) => record,
        Err(what) => return assert!(what.len() < 80 && !what.contains('\n')),
    };
    assert!((1..=MAX_TOKENS).contains(&record.tokens.len()));
    assert!(record.tokens.is_sorted_by(|(a, _), (b, _)| a < b));
    for (_, token) in &record.tokens {
        assert!((6..=8).contains(&token.digits.get()));
        assert!((80..=512).contains(&token.secret.bits()));
        if let MovingFactor::Totp { period } = token.kind {
            assert!((15..=300).contains(&period.get()));
        }
        assert!(!format!("{token:?}").contains(token.secret.to_base32().as_str()));
    }
    assert!(record.recovery.as_ref().is_none_or(|it| it.hashes.len() <= MAX_RECOVERY_CODES));
    if let Some(name) = file_name(&record.user) {
        assert!(!name.contains(['/', '.', '\0']) && name.len() < 256);
        assert_eq!(user_of(&name).as_ref(), Some(&record.user));
    }
    let written = write_record(&record).expect("what was read can be written");
    assert_eq!(read_record(&written).as_ref(), Ok(&record));
}
