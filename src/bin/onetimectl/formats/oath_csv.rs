//! The seed files of token vendors and of privacyIDEA as CSV: a token a line, with serial
//! number, key, type, digits and time step, by the names in a header or in this order. A
//! key that could be read in two ways, and a type that is not said, are refused: a wrong
//! guess would lock its user out.

use std::borrow::Cow;

use csv::StringRecord;
use data_encoding::HEXLOWER_PERMISSIVE;
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, CodeError, Digits, MovingFactor, Period, Secret, Step, Token};
use zeroize::Zeroizing;

use super::{
    Aids, BOUND_OF_MANY, ForeignEntry, ForeignToken, Format, FormatError, Found, Users, first_line,
    lines, separated::Records,
};

/// Bytes; the longest key that is a key has 128 of them, in hexadecimal.
const MAX_KEY: usize = 1024;
/// What helps where a key can be read in two ways.
const NAME_ENCODING: &str =
    "add a header that says it, such as: serial,key_hex,type,digits,step (or key_base32)";
/// What helps where the type is not said.
const NAME_TYPE: &str = "add a column `type` with TOTP or HOTP";
/// What helps where the columns are not known.
const NAME_COLUMNS: &str = "add a header: serial,key,type,digits,step";
/// What helps where a counter token has a fifth value without a name.
const NAME_FIFTH: &str = "add a header: serial,key,type,digits,counter";

/// The format `oath-csv`: a token on each line.
#[derive(Debug)]
pub(super) struct OathCsv;

impl Format for OathCsv {
    fn name(&self) -> &'static str {
        "oath-csv"
    }

    fn summary(&self) -> &'static str {
        "seeds of hardware tokens as CSV: serial, key, type, digits, step"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    fn sniff(&self, text: &str) -> bool {
        let mut record = StringRecord::new();
        let read = records(first_line(text)).read(&mut record);
        if !read.is_ok_and(|line| line.is_some()) || record.len() < 2 {
            return false;
        }
        let of_token = |field: &str| matches!(kind_word(field), Kind::Time | Kind::Counter);
        Header::read(&record).is_some()
            || (record.get(2).is_some_and(of_token)
                && record.get(1).is_some_and(|key| Encodings::of(key) != Encodings::NEITHER))
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        parse(text, found)
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "serial,key,type,digits,step,user\n\
         S1,3132333435363738393031323334353637383930,TOTP,6,30,alice\n"
    }
}

/// What a column is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Serial,
    User,
    Key(Option<Encoding>),
    Type,
    Digits,
    Step,
    Counter,
    Algorithm,
    Issuer,
    /// It has nothing to do with the codes.
    Other,
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Hex,
    Base32,
}

/// Which ways of writing a key could be meant by a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Encodings {
    hex: bool,
    base32: bool,
}

impl Encodings {
    const NEITHER: Self = Self { hex: false, base32: false };

    fn of(key: &str) -> Self {
        let plain = plain(key);
        if plain.is_empty() || plain.len() > MAX_KEY {
            return Self::NEITHER;
        }
        let hex = plain.len().is_multiple_of(2) && plain.bytes().all(|b| b.is_ascii_hexdigit());
        // Base64 has both cases in one key; base32 has one.
        let lower = plain.bytes().any(|b| b.is_ascii_lowercase());
        let upper = plain.bytes().any(|b| b.is_ascii_uppercase());
        let base32 = !(lower && upper) && Secret::from_base32(&plain).is_ok();
        Self { hex, base32 }
    }
}

/// A key without what only groups its letters.
fn plain(key: &str) -> Zeroizing<String> {
    let key = key.strip_prefix("0x").or_else(|| key.strip_prefix("0X")).unwrap_or(key);
    Zeroizing::new(key.chars().filter(|c| !matches!(c, ' ' | '-' | ':')).collect())
}

impl Column {
    /// By a name in any case and with any signs between its words.
    fn named(name: &str) -> Self {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
        let (word, encoding) = match plain.strip_suffix("hex") {
            Some(word) => (word, Some(Encoding::Hex)),
            None => match plain.strip_suffix("base32") {
                Some(word) => (word, Some(Encoding::Base32)),
                None => (plain.as_str(), None),
            },
        };
        match word {
            "secret" | "secretkey" | "key" | "seed" | "otpkey" | "otpseed" | "otpsecret"
            | "tokenseed" | "tokenkey" | "sharedsecret" | "hmackey" => return Self::Key(encoding),
            "" if encoding.is_some() => return Self::Key(encoding),
            _ => {}
        }
        match plain.as_str() {
            "serial" | "serialnumber" | "serialno" | "serialnr" | "sn" | "tokenserial"
            | "tokenserialnumber" | "tokensn" | "deviceserial" | "deviceserialnumber" => {
                Self::Serial
            }
            "user" | "username" | "userid" | "login" | "upn" | "owner" | "account" => Self::User,
            "type" | "otptype" | "tokentype" | "mode" | "otpmode" | "otp" => Self::Type,
            "digits" | "otpdigits" | "length" | "otplength" | "otplen" | "codelength"
            | "numberofdigits" => Self::Digits,
            "step" | "timestep" | "period" | "interval" | "timeinterval" | "seconds"
            | "otpinterval" => Self::Step,
            "counter" | "movingfactor" | "eventcounter" | "hotpcounter" | "count" => Self::Counter,
            "algorithm" | "algo" | "hash" | "hashalgorithm" | "hashlib" | "hmac" | "digest"
            | "hashalgo" | "hmacalgorithm" => Self::Algorithm,
            "issuer" => Self::Issuer,
            _ => Self::Other,
        }
    }
}

/// What the columns are about.
struct Header(Vec<Column>);

impl Header {
    /// Without a header: the order of the vendors and of privacyIDEA.
    fn usual() -> Self {
        use Column::{Digits, Key, Serial, Step, Type};
        Self(vec![Serial, Key(None), Type, Digits, Step])
    }

    /// `None`: the line is no header.
    fn read(record: &StringRecord) -> Option<Self> {
        let columns: Vec<_> = record.iter().map(Column::named).collect();
        let has = |wanted: fn(&Column) -> bool| columns.iter().any(wanted);
        let names = has(|column| matches!(column, Column::Serial | Column::User));
        (names && has(|column| matches!(column, Column::Key(_)))).then_some(Self(columns))
    }

    /// Whether a column is there twice, so that nobody knows which is meant.
    fn is_ambiguous(&self) -> bool {
        let same = |one: &Column, other: &Column| match (one, other) {
            (Column::Other, _) => false,
            (Column::Key(_), Column::Key(_)) => true,
            (one, other) => one == other,
        };
        let mut rest = self.0.as_slice();
        while let Some((one, others)) = rest.split_first() {
            if others.iter().any(|other| same(one, other)) {
                return true;
            }
            rest = others;
        }
        false
    }

    /// How the key of this file is written, if the header says it.
    fn encoding(&self) -> Option<Encoding> {
        self.0
            .iter()
            .find_map(|column| if let Column::Key(encoding) = column { *encoding } else { None })
    }

    /// What a line has in a column, if it is not blank.
    fn get<'a>(&self, record: &'a StringRecord, wanted: Column) -> Option<&'a str> {
        let is = |column: &Column| match (column, wanted) {
            (Column::Key(_), Column::Key(_)) => true,
            (column, wanted) => *column == wanted,
        };
        let place = self.0.iter().position(is)?;
        record.get(place).filter(|field| !field.is_empty())
    }
}

/// What moves a token on, by the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Time,
    Counter,
    Unknown,
}

fn kind_word(word: &str) -> Kind {
    let letters = word.chars().filter(char::is_ascii_alphanumeric);
    let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    match plain.as_str() {
        "totp" | "oathtotp" | "time" | "timebased" => Kind::Time,
        "hotp" | "oathhotp" | "event" | "eventbased" | "counter" => Kind::Counter,
        _ => Kind::Unknown,
    }
}

fn records(text: &str) -> Records<'_> {
    let first = first_line(text);
    let separator = first.bytes().find(|byte| b",;\t".contains(byte)).unwrap_or(b',');
    Records::of(text, separator)
}

/// Calls back for each line that is no header, with its number.
fn each(
    text: &str,
    mut with: impl FnMut(&Header, usize, &StringRecord),
) -> Result<(), FormatError> {
    let mut header = Header::usual();
    let mut records = records(text);
    let mut record = StringRecord::new();
    let mut first = true;
    while let Some(line) = records.read(&mut record)? {
        if std::mem::take(&mut first)
            && let Some(read) = Header::read(&record)
        {
            if read.is_ambiguous() {
                return Err(FormatError::new(line, "two columns of the header mean the same")
                    .with_remedy(NAME_COLUMNS));
            }
            header = read;
            continue;
        }
        if record.iter().any(|field| !field.is_empty()) {
            with(&header, line, &record);
        }
    }
    Ok(())
}

/// Reads a file.
///
/// # Errors
/// It is not CSV, or its header means two things.
fn parse(text: &str, found: &mut Found<'_>) -> Result<(), FormatError> {
    for line in lines(text) {
        line?;
    }
    // Keys that can be read in one way only say how the others are meant.
    let mut sure = Encodings::NEITHER;
    each(text, |header, _, record| {
        let key = header.get(record, Column::Key(None)).unwrap_or_default();
        match (Encodings::of(key), header.encoding()) {
            (_, Some(_)) => {}
            (Encodings { hex: true, base32: false }, None) => sure.hex = true,
            (Encodings { hex: false, base32: true }, None) => sure.base32 = true,
            (_, None) => {}
        }
    })?;
    each(text, |header, line, record| found(entry(header, line, record, sure)))
}

fn entry(header: &Header, line: usize, record: &StringRecord, sure: Encodings) -> ForeignEntry {
    let user = header.get(record, Column::User).map(str::to_owned);
    let serial = header.get(record, Column::Serial).map(str::to_owned);
    let nameless = (user.is_none() && serial.is_none()).then(|| format!("line {line}"));
    let token = token(header, record, sure).map_err(|(what, remedy)| {
        let error = FormatError::new(line, what);
        remedy.map_or(error.clone(), |remedy| error.with_remedy(remedy))
    });
    ForeignEntry { user, labels: serial.into_iter().chain(nameless).collect(), token }
}

/// What is wrong with a line, and what helps.
type Fault = (Cow<'static, str>, Option<&'static str>);

fn fault(error: &CodeError) -> Fault {
    (error.to_string().into(), None)
}

fn secret(key: &str, said: Option<Encoding>, sure: Encodings) -> Result<Secret, Fault> {
    let encodings = Encodings::of(key);
    let encoding = match (said, encodings, sure) {
        (Some(said), _, _) => said,
        (None, Encodings { hex: true, base32: false }, _) => Encoding::Hex,
        (None, Encodings { hex: false, base32: true }, _) => Encoding::Base32,
        (None, Encodings { hex: true, .. }, Encodings { hex: true, base32: false }) => {
            Encoding::Hex
        }
        (None, Encodings { base32: true, .. }, Encodings { hex: false, base32: true }) => {
            Encoding::Base32
        }
        (None, Encodings { hex: true, base32: true }, _) => {
            let what = "its key can be read as hexadecimal and as base32";
            return Err((what.into(), Some(NAME_ENCODING)));
        }
        (None, Encodings { hex: false, base32: false }, _) => {
            return Err(("its key is neither hexadecimal nor base32".into(), None));
        }
    };
    let plain = plain(key);
    match encoding {
        Encoding::Base32 => Secret::from_base32(&plain).map_err(|error| fault(&error)),
        Encoding::Hex => {
            let bytes = HEXLOWER_PERMISSIVE
                .decode(plain.as_bytes())
                .map_err(|_| Fault::from(("its key is not hexadecimal".into(), None)))?;
            Secret::from_bytes(bytes).map_err(|error| fault(&error))
        }
    }
}

fn token(header: &Header, record: &StringRecord, sure: Encodings) -> Result<ForeignToken, Fault> {
    let get = |column| header.get(record, column);
    if record.iter().skip(header.0.len()).any(|field| !field.is_empty()) {
        return Err(("it has more fields than there are columns".into(), Some(NAME_COLUMNS)));
    }
    let key = get(Column::Key(None)).ok_or(("it has no key".into(), None))?;
    let secret = secret(key, header.encoding(), sure)?;
    let algorithm = match get(Column::Algorithm) {
        Some(name) => super::algorithm(name).ok_or_else(|| fault(&CodeError::Algorithm))?,
        None => Algorithm::default(),
    };
    let digits = match get(Column::Digits) {
        Some(digits) => digits.parse::<Digits>().map_err(|error| fault(&error))?,
        None => Digits::default(),
    };
    let mut state = TokenState::default();
    let mut warnings = Vec::new();
    let has_step = header.0.contains(&Column::Step) && get(Column::Step).is_some();
    let kind = match get(Column::Type).map(kind_word) {
        // Only time tokens have a step.
        None if has_step => Kind::Time,
        None => return Err(("it does not say TOTP or HOTP".into(), Some(NAME_TYPE))),
        Some(kind) => kind,
    };
    let kind = match kind {
        Kind::Time => {
            let period = match get(Column::Step) {
                Some(step) => step.parse::<Period>().map_err(|error| fault(&error))?,
                None => Period::default(),
            };
            MovingFactor::Totp { period }
        }
        Kind::Counter => {
            state.next = Step(counter(header, record, &mut warnings)?);
            MovingFactor::Hotp
        }
        Kind::Unknown => {
            return Err(("unknown kind of token: totp and hotp are known".into(), None));
        }
    };
    if get(Column::Algorithm).is_none() && secret.bits() >= 256 {
        warnings.push(
            "its key is as long as for SHA256 or SHA512, and no algorithm is given: it was \
             taken for SHA1 (onetimectl verify checks a code)"
                .to_owned(),
        );
    }
    let mut found = ForeignToken::new(Token { secret, algorithm, digits, kind }, state);
    found.issuer = get(Column::Issuer).map(str::to_owned);
    found.warnings = warnings;
    Ok(found)
}

/// Where a counter token is. A step without a name could be the counter: privacyIDEA and
/// vendors differ.
fn counter(
    header: &Header,
    record: &StringRecord,
    warnings: &mut Vec<String>,
) -> Result<u64, Fault> {
    let named = header.0.len() != Header::usual().0.len() || header.0 != Header::usual().0;
    if let Some(counter) = header.get(record, Column::Counter) {
        return counter.parse().map_err(|_| ("the counter is not a number".into(), None));
    }
    match header.get(record, Column::Step) {
        None | Some("0") => {}
        Some(_) if named => {}
        Some(_) => {
            let what = "its fifth field may be a counter or a time step, which it does not have";
            return Err((what.into(), Some(NAME_FIFTH)));
        }
    }
    warnings.push("the line has no counter: it begins at 0".to_owned());
    Ok(0)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn parse(text: &str) -> Result<Vec<ForeignEntry>, FormatError> {
        super::super::all(&OathCsv, text, &TimeZone::UTC)
    }

    const HEX: &str = "3132333435363738393031323334353637383930";
    const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    /// Hexadecimal and base32 at once.
    const BOTH: &str = "ABCDEF234567ABCDEF234567ABCDEF23";

    fn one(text: &str) -> ForeignEntry {
        let mut all = parse(text).unwrap();
        assert_eq!(all.len(), 1, "{text}");
        all.pop().unwrap()
    }

    #[test]
    fn columns_are_known_by_their_usual_names_in_any_order_and_without_a_header() {
        for text in [
            format!("S1,{HEX},TOTP,8,60\n"),
            format!("# vendor\n\nS1, {HEX} ,totp, 8, 60\r\n"),
            format!("Serial Number;Seed;OTP Type;OTP Length;Time Step\nS1;{HEX};TOTP;8;60\n"),
            format!("\u{20}digits\tinterval\tSECRET KEY\tserialno\n8\t60\t{BASE32}\tS1\n"),
            format!("manufacturer,sn,key_hex,type,digits,period\nX,S1,0x{HEX},TOTP,8,60\n"),
            "serial,secret (base32),type,digits,step\nS1,gezd gnbv gy3t qojq gezd gnbv gy3t qojq,TOTP,8,60".to_owned(),
        ] {
            let entry = one(&text);
            assert_eq!((entry.user, entry.labels), (None, vec!["S1".to_owned()]), "{text}");
            let found = entry.token.unwrap();
            let period = Period::try_from(60).unwrap();
            assert_eq!(found.token.kind, MovingFactor::Totp { period }, "{text}");
            assert_eq!(u64::from(found.token.digits), 8, "{text}");
            let expected = Secret::from_base32(BASE32).unwrap();
            assert!(found.token.secret.is_same_key(&expected), "{text}");
        }
        let entra = one(&format!(
            "upn,serial number,secret key,time interval,manufacturer,model\n\
             alice@example.org,2300,{BASE32},30,Token2,c200\n"
        ));
        assert_eq!(entra.user.as_deref(), Some("alice@example.org"));
        assert_eq!(entra.labels, ["2300"]);
        assert!(entra.token.is_ok());
    }

    #[test]
    fn a_line_behind_comments_and_blank_lines_is_named_by_its_number() {
        for text in [
            "# seeds\n\nserial,key,type\n# a\n\nS1,,TOTP\n",
            "# seeds\r\n\r\nserial,key,type\r\n# a\r\n\r\nS1,,TOTP",
        ] {
            let all = parse(text).unwrap();
            let error = all.first().unwrap().token.as_ref().unwrap_err();
            assert_eq!(error.to_string(), "line 6: it has no key", "{text:?}");
        }
    }

    #[test]
    fn a_key_that_can_be_read_in_two_ways_is_refused_unless_the_file_decides() {
        let read = |text: &str| parse(text).unwrap().pop().unwrap().token;
        let line = format!("S9,{BOTH},TOTP,6,30\n");
        let error = read(&line).unwrap_err();
        assert!(error.what.contains("hexadecimal and as base32"), "{error}");
        assert!(error.remedy.is_some_and(|remedy| remedy.contains("key_hex")));
        let bits = |text: String| read(&text).map(|found| found.token.secret.bits()).ok();
        assert_eq!(bits(format!("S1,{HEX},TOTP,6,30\n{line}")), Some(128));
        assert_eq!(bits(format!("S1,{BASE32},TOTP,6,30\n{line}")), Some(160));
        assert_eq!(bits(format!("S1,{HEX},TOTP\nS2,{BASE32},TOTP\n{line}")), None);
        assert_eq!(bits(format!("serial,key_hex,type\nS9,{BOTH},TOTP\n")), Some(128));
        assert_eq!(bits(format!("serial,key base32,type\nS9,{BOTH},TOTP\n")), Some(160));
        // Base64 is neither.
        assert_eq!(bits("S1,MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0,TOTP\n".to_owned()), None);
    }

    #[test]
    fn counters_and_digests_are_read_and_what_is_not_said_is_not_guessed() {
        let found =
            one(&format!("serial,key,type,counter,algorithm\nS1,{HEX},HOTP,57,HmacSHA256\n"));
        let found = found.token.unwrap();
        assert_eq!((found.token.kind, found.state.next), (MovingFactor::Hotp, Step(57)));
        assert_eq!(found.token.algorithm, Algorithm::Sha256);
        let found = one(&format!("S1,{HEX},HOTP,6,0\n")).token.unwrap();
        assert!(found.warnings[0].contains("no counter"), "{:?}", found.warnings);
        let long = one(&format!("S1,{HEX}{HEX},TOTP,6,30\n")).token.unwrap();
        assert!(long.warnings[0].contains("SHA256"), "{:?}", long.warnings);
        for (line, what) in [
            (format!("S1,{HEX}"), "TOTP or HOTP"),
            (format!("S1,{HEX},HOTP,6,30"), "fifth field"),
            (format!("S1,{HEX},OCRA,OCRA-1:HOTP-SHA1-6:QN08"), ""),
            (format!("S1,{HEX},TOTP,6,30,SHA256"), "more fields"),
            (format!("S1,{HEX},TOTP,9,30"), "9 digits"),
            (format!("S1,{HEX},TOTP,6,5"), "period"),
            (format!("S1,{HEX}x,TOTP"), "neither"),
            ("S1,,TOTP".to_owned(), "no key"),
        ] {
            let all = parse(&format!("{line}\nS2,{HEX},TOTP,6,30\n")).unwrap();
            assert!(all[1].token.is_ok(), "{line}");
            let error = all[0].token.as_ref().unwrap_err();
            assert!(error.line == 1 && error.what.contains(what), "{line}: {error}");
            assert!(!error.what.contains("3132"), "{error}");
        }
        assert!(parse(&format!("serial,key,secret\nS1,{HEX},{HEX}\n")).is_err());
        assert_eq!(one(&format!(",{HEX},TOTP\n")).labels, ["line 1"]);
    }
}
