//! A record as a file's text: a line with a checksum, then TOML.

use zeroize::Zeroizing;

use crate::account::Record;

/// The text of a record's file.
///
/// # Errors
/// What TOML cannot write; none is known for a record.
pub(super) fn to_text(record: &Record) -> Result<Zeroizing<String>, toml::ser::Error> {
    let body = Zeroizing::new(toml::to_string(record)?);
    let checksum = super::checksum(body.as_bytes());
    Ok(Zeroizing::new(format!("checksum = \"crc32:{checksum:08x}\"\n{}", *body)))
}

/// The record in `text`. The error never quotes the text: it holds a secret.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn from_text(text: &str) -> Result<Record, &'static str> {
    let (first, body) = text.split_once('\n').ok_or("it is empty or cut off")?;
    let checksum = first
        .strip_prefix("checksum = \"crc32:")
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or("its first line is not the checksum")?;
    if checksum != format!("{:08x}", super::checksum(body.as_bytes())) {
        return Err("its checksum does not match its text");
    }
    toml::from_str(body).map_err(|_| "a field is missing, unknown or out of range")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::record;
    use crate::code::Kind;

    #[test]
    fn a_record_cut_off_anywhere_is_refused() {
        let text = to_text(&record(Kind::Hotp)).unwrap();
        assert_eq!(from_text(&text), Ok(record(Kind::Hotp)));
        for length in 0..text.len() {
            assert!(from_text(&text[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_refused() {
        let text = to_text(&record(Kind::Hotp)).unwrap();
        for index in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.as_bytes().to_vec();
                bytes[index] ^= 1 << bit;
                if let Ok(changed) = String::from_utf8(bytes) {
                    assert!(from_text(&changed).is_err(), "byte {index} bit {bit}");
                }
            }
        }
    }

    #[test]
    fn what_is_said_of_a_damaged_record_never_quotes_it() {
        let text = to_text(&record(Kind::Hotp)).unwrap();
        let secret = record(Kind::Hotp).tokens[0].1.secret.to_base32().to_string();
        assert!(text.contains(&secret));
        for damaged in [text.replace("hotp", "totp"), text.replace("secret", "sekret")] {
            assert!(!from_text(&damaged).unwrap_err().contains(&secret));
        }
    }
}
