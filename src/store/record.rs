//! A record as a file's text: a line with a checksum, then TOML. docs/FILEFORMAT.md
//! has its fields.

use std::fmt::{self, Write};

use serde::Deserialize;
use serde::de::{Deserializer, Error, IntoDeserializer, Visitor};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_writer::TomlWrite;
use zeroize::Zeroizing;

use crate::account::{
    Generation, Hash, MAX_RECOVERY_CODES, Record, Recovery, Salt, Timestamp, TokenId, Uid, UserName,
};
use crate::code::{Algorithm, Digits, MovingFactor, Period, Secret, Token};
use crate::config::TokenKind;
use crate::fields::{self, WholeNumber, Word};

/// The version of the format that this code reads and writes.
const FORMAT: u8 = 1;

/// Longer than any record: a text that grows leaves copies of a secret behind.
const ROOM: usize = 4096;

/// What is said of a field that is not as it should be. Which one it is would help
/// nobody: records are not written by hand, and the checksum was right.
const FIELD: &str = "a field is missing, unknown or out of range";

/// The text of a record's file.
///
/// # Errors
/// A time that TOML cannot write.
pub(super) fn to_text(record: &Record) -> Result<Zeroizing<String>, fmt::Error> {
    let mut body = Zeroizing::new(String::with_capacity(ROOM));
    write(&mut body, record)?;
    Ok(Zeroizing::new(with_checksum(&body)))
}

/// A text below the line with its checksum.
pub(super) fn with_checksum(body: &str) -> String {
    format!("checksum = \"crc32:{:08x}\"\n{body}", super::checksum(body.as_bytes()))
}

/// What is below the line with the checksum, if that is right.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn body_of(text: &str) -> Result<&str, &'static str> {
    let (first, body) = text.split_once('\n').ok_or("it is empty or cut off")?;
    let checksum = first
        .strip_prefix("checksum = \"crc32:")
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or("its first line is not the checksum")?;
    if checksum != format!("{:08x}", super::checksum(body.as_bytes())) {
        return Err("its checksum does not match its text");
    }
    Ok(body)
}

fn write(body: &mut String, record: &Record) -> fmt::Result {
    line(body, "format", FORMAT)?;
    line(body, "user", record.user.as_str())?;
    match record.uid {
        Uid::Is(uid) => line(body, "uid", uid)?,
        Uid::Any => line(body, "uid", "any")?,
    }
    line(body, "generation", record.generation.to_string())?;
    line(body, "issuer", record.issuer.as_str())?;
    line(body, "issued_at", time(record.issued_at)?)?;
    if let Some(deadline) = record.deadline {
        line(body, "deadline", time(deadline)?)?;
    }
    for (id, token) in &record.tokens {
        body.write_str("\n[[token]]\n")?;
        line(body, "id", id.get())?;
        line(body, "kind", token.kind.name())?;
        line(body, "algorithm", token.algorithm.name())?;
        line(body, "digits", token.digits.get())?;
        if let MovingFactor::Totp { period } = token.kind {
            line(body, "period", period.get())?;
        }
        line(body, "secret", token.secret.to_base32().as_str())?;
    }
    if let Some(recovery) = &record.recovery {
        body.write_str("\n[recovery]\n")?;
        line(body, "set", recovery.set)?;
        line(body, "salt", recovery.salt.to_string())?;
        let hashes: Vec<_> = recovery.hashes.iter().map(ToString::to_string).collect();
        line(body, "hashes", hashes)?;
    }
    Ok(())
}

pub(super) fn line(
    body: &mut String,
    key: &str,
    value: impl toml_writer::WriteTomlValue,
) -> fmt::Result {
    write!(body, "{key} = ")?;
    body.value(value)?;
    body.newline()
}

/// TOML's integers have a sign.
fn time(time: Timestamp) -> Result<i64, fmt::Error> {
    i64::try_from(time.0).map_err(|_| fmt::Error)
}

/// The record in `text`. The error never quotes the text: it holds a secret.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn from_text(text: &str) -> Result<Record, &'static str> {
    let mut table = DeTable::parse(body_of(text)?).map_err(|_| "it is not TOML")?;
    if !table.get_mut().remove("format").is_some_and(is_ours) {
        return Err("it has another format than this version reads");
    }
    // What serde says may quote the text.
    RawRecord::deserialize(toml::Deserializer::from(table)).map_err(|_| FIELD)?.try_into()
}

fn is_ours(format: Spanned<DeValue<'_>>) -> bool {
    u8::deserialize(format.into_deserializer()) == Ok(FORMAT)
}

/// A record as TOML has it, without its format. Every field must be there and no other
/// may: what is absent or unknown is damage, not a default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecord {
    #[serde(deserialize_with = "user")]
    user: UserName,
    #[serde(deserialize_with = "uid")]
    uid: Uid,
    generation: Word<Generation>,
    issuer: String,
    issued_at: Time,
    deadline: Option<Time>,
    /// An empty list is not the same as a field that is missing.
    #[serde(default)]
    token: Vec<fields::Table<RawToken>>,
    recovery: Option<fields::Table<RawRecovery>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawToken {
    id: u8,
    kind: TokenKind,
    algorithm: Algorithm,
    digits: Digits,
    period: Option<Period>,
    secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecovery {
    set: u32,
    salt: Word<Salt>,
    hashes: Vec<Word<Hash>>,
}

/// A time that can be written again: TOML's integers have a sign.
struct Time(Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let last = i64::MAX.unsigned_abs();
        let seconds = WholeNumber { min: 0, max: last }.read(deserializer)?;
        Ok(Self(Timestamp(seconds)))
    }
}

fn user<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UserName, D::Error> {
    UserName::new(String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A number, or `"any"`.
fn uid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uid, D::Error> {
    struct NumberOrAny;

    impl Visitor<'_> for NumberOrAny {
        type Value = Uid;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a uid or \"any\"")
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<Uid, E> {
            u32::try_from(number).map(Uid::Is).map_err(E::custom)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Uid, E> {
            if text == "any" { Ok(Uid::Any) } else { Err(E::custom("not any")) }
        }
    }

    deserializer.deserialize_any(NumberOrAny)
}

impl TryFrom<RawRecord> for Record {
    type Error = &'static str;

    fn try_from(raw: RawRecord) -> Result<Self, &'static str> {
        let tokens = raw.token.into_iter().map(|fields::Table(token)| token.try_into());
        let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
        if tokens.is_empty() || !tokens.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err("its tokens have no ascending ids");
        }
        let recovery = raw.recovery.map(|fields::Table(recovery)| recovery.try_into());
        Ok(Self {
            user: raw.user,
            uid: raw.uid,
            generation: raw.generation.0,
            issuer: raw.issuer,
            issued_at: raw.issued_at.0,
            deadline: raw.deadline.map(|Time(deadline)| deadline),
            tokens,
            recovery: recovery.transpose()?,
        })
    }
}

impl TryFrom<RawToken> for (TokenId, Token) {
    type Error = &'static str;

    fn try_from(raw: RawToken) -> Result<Self, &'static str> {
        let RawToken { id, kind, algorithm, digits, period, secret } = raw;
        let id = TokenId::new(id).ok_or(FIELD)?;
        let kind = match (kind, period) {
            (TokenKind::Totp, Some(period)) => MovingFactor::Totp { period },
            (TokenKind::Hotp, None) => MovingFactor::Hotp,
            (TokenKind::Totp, None) | (TokenKind::Hotp, Some(_)) => {
                return Err("a totp token has a period, a hotp token has none");
            }
        };
        Ok((id, Token { secret, algorithm, digits, kind }))
    }
}

impl TryFrom<RawRecovery> for Recovery {
    type Error = &'static str;

    fn try_from(raw: RawRecovery) -> Result<Self, &'static str> {
        if raw.hashes.len() > MAX_RECOVERY_CODES {
            return Err("it has too many recovery codes");
        }
        let hashes = raw.hashes.into_iter().map(|Word(hash)| hash).collect();
        Ok(Self { set: raw.set, salt: raw.salt.0, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::record;

    fn totp() -> Record {
        record(MovingFactor::Totp { period: Period::default() })
    }

    /// One with everything in it that a record can have.
    fn full() -> Record {
        let token = |id| (id, totp().tokens[0].1.clone());
        Record {
            user: UserName::new("Al \"ice\" \\ \u{fc}").unwrap(),
            uid: Uid::Any,
            issuer: "it's \"us\"".to_owned(),
            deadline: Some(Timestamp(5)),
            tokens: TokenId::all().map(token).collect(),
            recovery: Some(Recovery {
                set: 7,
                salt: Salt([3; 16]),
                hashes: vec![Hash([5; 32]); 8],
            }),
            ..totp()
        }
    }

    /// The body under its checksum.
    fn sealed(body: &str) -> String {
        format!("checksum = \"crc32:{:08x}\"\n{body}", super::super::checksum(body.as_bytes()))
    }

    fn body(record: &Record) -> String {
        to_text(record).unwrap().split_once('\n').unwrap().1.to_owned()
    }

    fn read_body(body: &str) -> Result<Record, &'static str> {
        from_text(&sealed(body))
    }

    #[test]
    fn a_record_comes_back_from_its_text_as_it_was() {
        for record in [record(MovingFactor::Hotp), totp(), full()] {
            let text = to_text(&record).unwrap();
            assert_eq!(from_text(&text), Ok(record), "{}", *text);
        }
    }

    #[test]
    fn another_reader_of_toml_finds_in_a_record_what_was_written() {
        let table: toml::Table = toml::from_str(&body(&full())).unwrap();
        let keys: Vec<_> = table.keys().map(String::as_str).collect();
        let expected = [
            "deadline",
            "format",
            "generation",
            "issued_at",
            "issuer",
            "recovery",
            "token",
            "uid",
            "user",
        ];
        assert_eq!(keys, expected);
        assert_eq!(table["user"].as_str(), Some(full().user.as_str()));
        assert_eq!(table["issuer"].as_str(), Some("it's \"us\""));
        assert_eq!(table["uid"].as_str(), Some("any"));
        assert_eq!(table["deadline"].as_integer(), Some(5));
        assert_eq!(table["recovery"]["hashes"][7].as_str(), Some("05".repeat(32).as_str()));
        let tokens = table["token"].as_array().unwrap();
        assert_eq!(tokens.len(), 4);
        assert_eq!(tokens[3]["id"].as_integer(), Some(4));
        assert_eq!(tokens[3]["period"].as_integer(), Some(30));
        let secret = totp().tokens[0].1.secret.to_base32();
        assert_eq!(tokens[0]["secret"].as_str(), Some(secret.as_str()));
    }

    #[test]
    fn a_record_with_a_field_missing_twice_unknown_or_out_of_range_is_refused() {
        let text = body(&Record { uid: Uid::Is(2001), ..full() });
        assert!(read_body(&text).is_ok());
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("deadline")) {
            assert!(read_body(&text.replacen(line, "", 1)).is_err(), "without {line}");
            assert!(
                read_body(&text.replacen(line, &format!("{line}\n{line}"), 1)).is_err(),
                "{line}"
            );
        }
        for (from, to) in [
            ("format = 1", "format = 2"),
            ("format = 1", "format = 1\nextra = 1"),
            ("format = 1", "format = \"1\""),
            ("id = 1", "id = 0"),
            ("id = 4", "id = 5"),
            ("id = 1", "id = 1\nextra = 1"),
            ("period = 30", "period = 14"),
            ("digits = 6", "digits = 9"),
            ("digits = 6", "digits = -6"),
            ("totp", "hotp"),
            ("totp", "motp"),
            ("SHA1", "MD5"),
            ("uid = 2001", "uid = -1"),
            ("uid = 2001", "uid = 4294967296"),
            ("uid = 2001", "uid = \"all\""),
            ("issued_at = ", "issued_at = -"),
            ("deadline = 5", "deadline = 9223372036854775808"),
            ("uid = 2001", "uid = 18446744073709551616"),
            ("deadline = 5", "deadline = 1.5"),
            ("0707", "070"),
            ("[recovery]", "[recover]"),
            ("[recovery]", "[[recovery]]"),
            ("[[token]]", "[token]"),
            ("set = 7", "set = 7\nextra = 7"),
            ("set = 7", "set = 4294967296"),
            ("hashes = [\"05", "hashes = [\"5"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(read_body(&changed).is_err(), "{from} -> {to}");
        }
        assert!(read_body(&body(&totp()).replace("alice", "")).is_err());
        assert_eq!(read_body("format = "), Err("it is not TOML"));
        let other = text.replacen("format = 1", "format = 2", 1);
        assert_eq!(read_body(&other), Err("it has another format than this version reads"));
    }

    #[test]
    fn a_record_s_tables_may_be_written_in_any_of_toml_s_ways_but_not_by_position() {
        let hotp = record(MovingFactor::Hotp);
        let text = body(&hotp);
        let (top, token) = text.split_once("\n[[token]]\n").unwrap();
        let inline = format!("{top}\ntoken = [{{ {} }}]\n", token.trim_end().replace('\n', ", "));
        assert_eq!(read_body(&inline), Ok(hotp));
        let values = token.lines().map(|line| line.split_once(" = ").unwrap().1);
        let values = values.collect::<Vec<_>>().join(", ");
        let by_position = format!("{top}\ntoken = [[{values}]]\n");
        assert_eq!(read_body(&by_position), Err(FIELD), "{by_position}");
    }

    #[test]
    fn a_uid_is_a_number_or_any() {
        use serde::de::value::{self, BoolDeserializer, I64Deserializer, StrDeserializer};
        assert_eq!(uid(I64Deserializer::<value::Error>::new(5)), Ok(Uid::Is(5)));
        assert_eq!(uid(StrDeserializer::<value::Error>::new("any")), Ok(Uid::Any));
        let error = uid(BoolDeserializer::<value::Error>::new(true)).unwrap_err().to_string();
        assert_eq!(error, "invalid type: boolean `true`, expected a uid or \"any\"");
    }

    #[test]
    fn a_record_holds_one_to_four_tokens_by_ascending_id() {
        for count in 1..=4 {
            let tokens = full().tokens.into_iter().take(count).collect();
            assert!(read_body(&body(&Record { tokens, ..full() })).is_ok(), "{count}");
        }
        let none = Record { tokens: Vec::new(), ..totp() };
        let mut descending = full();
        descending.tokens.reverse();
        let mut twice = totp();
        twice.tokens.extend(totp().tokens);
        for wrong in [none, descending, twice] {
            assert_eq!(read_body(&body(&wrong)), Err("its tokens have no ascending ids"));
        }
    }

    #[test]
    fn a_totp_token_without_a_period_or_a_hotp_token_with_one_is_refused_as_such() {
        let totp = body(&totp());
        for wrong in [totp.replace("period = 30\n", ""), totp.replace("totp", "hotp")] {
            let expected = Err("a totp token has a period, a hotp token has none");
            assert_eq!(read_body(&wrong), expected, "{wrong}");
        }
    }

    #[test]
    fn a_record_holds_no_more_recovery_codes_than_the_state_can_strike_out() {
        let with = |count| {
            let hashes = vec![Hash([5; 32]); count];
            let recovery = Some(Recovery { set: 1, salt: Salt([3; 16]), hashes });
            read_body(&body(&Record { recovery, ..record(MovingFactor::Hotp) }))
        };
        assert!(with(16).is_ok());
        assert_eq!(with(17), Err("it has too many recovery codes"));
    }

    #[test]
    fn a_time_that_toml_cannot_hold_is_not_written() {
        let last = i64::MAX.unsigned_abs();
        assert!(to_text(&Record { issued_at: Timestamp(last), ..totp() }).is_ok());
        assert!(to_text(&Record { issued_at: Timestamp(last + 1), ..totp() }).is_err());
        assert!(to_text(&Record { deadline: Some(Timestamp(u64::MAX)), ..totp() }).is_err());
    }

    #[test]
    fn a_record_cut_off_anywhere_is_refused() {
        let text = to_text(&record(MovingFactor::Hotp)).unwrap();
        assert_eq!(from_text(&text), Ok(record(MovingFactor::Hotp)));
        for length in 0..text.len() {
            assert!(from_text(&text[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_record_with_any_bit_flipped_is_refused() {
        let text = to_text(&record(MovingFactor::Hotp)).unwrap();
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
        let text = to_text(&record(MovingFactor::Hotp)).unwrap();
        let secret = record(MovingFactor::Hotp).tokens[0].1.secret.to_base32().to_string();
        assert!(text.contains(&secret));
        for damaged in [text.replace("hotp", "totp"), text.replace("secret", "sekret")] {
            assert!(!from_text(&damaged).unwrap_err().contains(&secret));
        }
        // The same behind a checksum that is right, where toml and serde speak.
        let body = body(&record(MovingFactor::Hotp));
        for (from, to) in [
            ("hotp", "totp"),
            ("secret = ", "sekret = "),
            ("secret = ", "digits = "),
            ("secret = ", "secret "),
            ("secret = \"", "secret = \"!"),
            ("algorithm = \"SHA1\"\n", ""),
        ] {
            let error = read_body(&body.replace(from, to)).unwrap_err();
            assert!(!error.contains(&secret), "{error}");
        }
    }
}
