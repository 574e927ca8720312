//! What a KeyPackage says, element by element, and the token that this makes, once `lock`
//! has opened what is encrypted of it.

use data_encoding::BASE64;
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;
use zeroize::Zeroizing;

use super::super::{ForeignToken, word};
use super::encryption::Encrypted;
use super::lock::{Lock, Refusal, Sealed};
use super::reader::MAX_VALUE;
use super::user_id::user_of;
use super::{ForeignEntry, FormatError, HOTP, PIN, TOTP};

/// No package has so much to say that is not carried over.
const MOST_NOTES: usize = 32;
const TWICE: &str = "one of its values is given twice";
/// What writes encrypted numbers as digits could be taken for something else.
const IN_PLAIN: &str = "have this value written in plain: it is no secret";
/// Bytes; digits in fewer can be a number in binary, too.
const AMBIGUOUS_BELOW: usize = 4;

/// A KeyPackage. Values are kept as they are written: whether they are right
/// matters only if they are used.
#[derive(Default)]
pub(super) struct Package {
    line: usize,
    user: Option<String>,
    device_user: Option<String>,
    serial: Option<String>,
    key_id: Option<String>,
    issuer: Option<String>,
    algorithm: Option<String>,
    suite: Option<String>,
    length: Option<String>,
    secret: Option<SecretValue>,
    counter: Option<String>,
    /// The interval of the last code, and its length in seconds.
    time: Option<String>,
    interval: Option<String>,
    drift: Option<String>,
    /// What is encrypted, by the element that it is in, such as `Secret`: each once.
    encrypted: Vec<(&'static str, Encrypted)>,
    /// `ValueMAC`s, in the same way: each twice at most, which is an error.
    macs: Vec<(&'static str, String)>,
    usage: Usage,
    has_key: bool,
    /// The first thing that makes the key useless here.
    problem: Option<String>,
    not_carried_over: Vec<String>,
    warnings: Vec<String>,
}

/// A secret as the file has it.
enum SecretValue {
    Base64(Zeroizing<String>),
    /// It was encrypted.
    Bytes(Zeroizing<Vec<u8>>),
}

/// What the key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Usage {
    #[default]
    Unsaid,
    Otp,
    Others,
}

impl Package {
    /// One that begins in this line.
    pub(super) fn at(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    /// An element of the package begins.
    ///
    /// # Errors
    /// What is not well-formed in it.
    pub(super) fn begin(
        &mut self,
        path: &[&'static str],
        start: &BytesStart<'_>,
    ) -> Result<(), &'static str> {
        let Some(place) = path.strip_prefix(&["KeyContainer", "KeyPackage"]) else {
            return Ok(());
        };
        match place {
            ["Key"] if self.has_key => self.fail("the package has two keys"),
            ["Key"] => {
                self.has_key = true;
                self.algorithm = attribute(start, "Algorithm")?;
                self.key_id = attribute(start, "Id")?;
            }
            // RFC 6030 section 5: such a key must not be used.
            ["Key", "Policy", ""] => self.fail("its policy has a part that is not known here"),
            ["DeviceInfo", "" | "SerialNo"] => {
                self.leave("what the file says of the device, such as its serial number");
            }
            ["Key" | "DeviceInfo", "Extensions"] | ["Extensions"] => self.leave("extensions"),
            ["Key", "AlgorithmParameters", "ResponseFormat"] if self.length.is_some() => {
                self.fail(TWICE)
            }
            // Whatever it is, the codes depend on it.
            ["Key", "AlgorithmParameters", ""] => {
                self.fail("its AlgorithmParameters have a part that is not known here");
            }
            ["Key", "AlgorithmParameters", "ResponseFormat"] => {
                self.length = attribute(start, "Length")?;
                if attribute(start, "Encoding")?
                    .is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("DECIMAL"))
                {
                    self.fail("its codes are not decimal");
                }
                if attribute(start, "CheckDigits")?
                    .is_some_and(|value| !matches!(value.trim(), "false" | "0"))
                {
                    self.fail("its codes have check digits");
                }
            }
            [
                "Key",
                "Data",
                name @ ("Secret" | "Counter" | "Time" | "TimeInterval" | "TimeDrift"),
                "EncryptedValue",
            ] => {
                if self.encrypted.iter().any(|(of, _)| of == name) {
                    self.fail(TWICE);
                } else {
                    self.encrypted.push((*name, Encrypted::default()));
                }
            }
            ["Key", "Data", name, "EncryptedValue", rest @ ..] => {
                if let Some((_, value)) = self.encrypted.last_mut().filter(|(of, _)| of == name) {
                    value.begin(rest, start)?;
                }
            }
            ["Key", "Policy", "PINPolicy"] => match attribute(start, "PINUsageMode")?.as_deref() {
                Some("Algorithmic") => self.fail("its codes depend on a PIN"),
                Some(_) | None => self
                    .not_carried_over
                    .push("the PIN policy: here the system's password is asked for".to_owned()),
            },
            _ => {}
        }
        Ok(())
    }

    /// An element of the package ends.
    pub(super) fn end(&mut self, path: &[&'static str], value: &str) {
        let Some(place) = path.strip_prefix(&["KeyContainer", "KeyPackage"]) else {
            return;
        };
        let field = match place {
            ["Key", "UserId"] => &mut self.user,
            ["DeviceInfo", "UserId"] => &mut self.device_user,
            ["DeviceInfo", "SerialNo"] => &mut self.serial,
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
                    None => self.secret = Some(SecretValue::Base64(plain)),
                    Some(_) => self.fail(TWICE),
                };
            }
            ["Key", "Data", name, "EncryptedValue", rest @ ..] => {
                if let Some((_, encrypted)) = self.encrypted.last_mut().filter(|(of, _)| of == name)
                {
                    encrypted.end(rest, value);
                }
                return;
            }
            ["Key", "Data", name, "ValueMAC"] => {
                if self.macs.iter().filter(|(of, _)| of == name).count() < 2 {
                    self.macs.push((*name, value.to_owned()));
                }
                return;
            }
            ["Key", "Policy", "KeyUsage"] => {
                return match (self.usage, value) {
                    (_, "OTP") => self.usage = Usage::Otp,
                    (Usage::Otp, _) => {}
                    (Usage::Unsaid | Usage::Others, _) => self.usage = Usage::Others,
                };
            }
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

    /// Notes what is not carried over: once, however often it occurs.
    pub(super) fn leave(&mut self, what: &str) {
        let is_room = self.not_carried_over.len() < MOST_NOTES;
        if is_room && !self.not_carried_over.iter().any(|note| note == what) {
            self.not_carried_over.push(what.to_owned());
        }
    }

    fn fail(&mut self, problem: &str) {
        self.problem.get_or_insert_with(|| problem.to_owned());
    }

    /// Whether it holds a PIN and no token (RFC 6030 section 10.2 and figure 5).
    pub(super) fn is_pin(&self) -> bool {
        self.algorithm.as_deref().is_some_and(|algorithm| algorithm.trim() == PIN)
    }

    /// The device that it is of, as far as the file says.
    pub(super) fn device(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// The package as one token, or why that is impossible.
    ///
    /// # Errors
    /// The key of the file is not there or wrong, or the file was altered.
    pub(super) fn into_entry(mut self, lock: &Lock<'_>) -> Result<ForeignEntry, FormatError> {
        let line = self.line;
        let decrypted = match self.decrypt(lock) {
            Err(Refusal::File(error)) => return Err(error),
            Err(Refusal::Key { what, remedy }) => {
                Err(FormatError::new(line, what).with_remedy(remedy))
            }
            Ok(()) => Ok(()),
        };
        let user = self.user.as_deref().or(self.device_user.as_deref()).map(user_of);
        let nameless = (!matches!(user, Some(Ok(_)))).then(|| format!("line {line}"));
        let named = [&self.serial, &self.key_id, &nameless].into_iter().flatten();
        let labels = named.filter(|label| !label.is_empty()).cloned().collect();
        let token = || self.token().map_err(|error| FormatError::new(line, error));
        let token = decrypted.and_then(|()| token());
        Ok(match user {
            Some(Err(error)) => {
                ForeignEntry { user: None, labels, token: Err(FormatError::new(line, error)) }
            }
            Some(Ok(user)) => ForeignEntry { user: Some(user), labels, token },
            None => ForeignEntry { user: None, labels, token },
        })
    }

    /// Opens what is encrypted, if the key can be used here at all.
    ///
    /// # Errors
    /// [`Refusal`].
    fn decrypt(&mut self, lock: &Lock<'_>) -> Result<(), Refusal> {
        let is_token = matches!(self.algorithm.as_deref().map(str::trim), Some(TOTP | HOTP));
        let encrypted = std::mem::take(&mut self.encrypted);
        let macs = std::mem::take(&mut self.macs);
        if macs.iter().any(|(name, _)| encrypted.iter().all(|(of, _)| of != name)) {
            self.leave("a MAC of a value in plain, which was not checked");
        }
        if self.problem.is_some() || !is_token || encrypted.is_empty() {
            return Ok(());
        }
        for &(name, ref value) in &encrypted {
            let mut of_it = macs.iter().filter(|(of, _)| *of == name);
            let (mac, other) = (of_it.next().map(|(_, mac)| mac.as_str()), of_it.next());
            if other.is_some() {
                self.fail(TWICE);
                return Ok(());
            }
            let opened = lock.open(&Sealed { name, value, mac, line: self.line })?;
            self.take(name, opened)?;
        }
        self.warnings.extend(lock.warning());
        Ok(())
    }

    /// Takes a value that was encrypted for what the element of this name says.
    fn take(&mut self, name: &'static str, value: Zeroizing<Vec<u8>>) -> Result<(), Refusal> {
        let place = match name {
            "Secret" => {
                match self.secret {
                    None => self.secret = Some(SecretValue::Bytes(value)),
                    Some(_) => self.fail(TWICE),
                }
                return Ok(());
            }
            "Counter" => &mut self.counter,
            "Time" => &mut self.time,
            "TimeInterval" => &mut self.interval,
            "TimeDrift" => &mut self.drift,
            // It has no meaning here, in plain neither.
            _ => return Ok(()),
        };
        match place {
            None => *place = Some(number(name, &value)?),
            Some(_) => self.fail(TWICE),
        }
        Ok(())
    }

    fn token(self) -> Result<ForeignToken, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        match self.usage {
            Usage::Unsaid | Usage::Otp => {}
            Usage::Others => return Err("the key is not for one-time codes (KeyUsage)".to_owned()),
        }
        let mut warnings = self.warnings.clone();
        let (kind, state) = match self.algorithm.as_deref().map(str::trim) {
            Some(TOTP) => self.by_time()?,
            Some(HOTP) => self.by_counter(&mut warnings)?,
            Some(_) => {
                return Err("the key's algorithm is not supported: totp and hotp are".to_owned());
            }
            None => return Err("the key names no algorithm".to_owned()),
        };
        let secret = match self.secret.as_ref().ok_or("the key has no secret")? {
            SecretValue::Bytes(bytes) => bytes.to_vec(),
            SecretValue::Base64(text) => {
                BASE64.decode(text.as_bytes()).map_err(|_| "the secret is not base64".to_owned())?
            }
        };
        let secret = Secret::from_bytes(secret).map_err(|error| error.to_string())?;
        let digits = match &self.length {
            Some(length) => length.trim().parse::<Digits>().map_err(|error| error.to_string())?,
            None => {
                warnings
                    .push("the key does not give the length of its codes: 6 is assumed".to_owned());
                Digits::default()
            }
        };
        let algorithm = algorithm(self.suite.as_deref().unwrap_or_default())?;
        if algorithm != Algorithm::Sha1 && kind == MovingFactor::Hotp {
            warnings.push(format!(
                "a counter token with {algorithm}: RFC 4226 has SHA1 alone, and some programs \
                 compute that (onetimectl verify checks a code)"
            ));
        }
        let token = Token { secret, algorithm, digits, kind };
        let not_carried_over = self.not_carried_over;
        Ok(ForeignToken { token, state, issuer: self.issuer, not_carried_over, warnings })
    }

    fn by_time(&self) -> Result<(MovingFactor, TokenState), String> {
        let period = match &self.interval {
            Some(interval) => interval.parse::<Period>().map_err(|error| error.to_string())?,
            None => Period::default(),
        };
        let mut state = TokenState::default();
        if let Some(drift) = &self.drift {
            state.drift = drift.parse().map_err(|_| "TimeDrift is not a number")?;
        }
        match self.time.as_deref() {
            None | Some("0") => {}
            Some(step) => {
                let step = step.parse().map_err(|_| "Time is not a number of intervals")?;
                state.next = Step(step).plus(1);
            }
        }
        Ok((MovingFactor::Totp { period }, state))
    }

    fn by_counter(&self, warnings: &mut Vec<String>) -> Result<(MovingFactor, TokenState), String> {
        let mut state = TokenState::default();
        match &self.counter {
            Some(counter) => {
                state.next = Step(counter.parse().map_err(|_| "Counter is not a number")?);
            }
            None => warnings.push("the key has no counter: it begins at 0".to_owned()),
        }
        Ok((MovingFactor::Hotp, state))
    }
}

/// A number that was encrypted, as decimal digits. Writers have it in binary, with the
/// highest byte first, and some readers expect digits: where both could be meant, and it
/// matters, it is refused.
pub(super) fn number(name: &str, bytes: &[u8]) -> Result<String, Refusal> {
    let digits = std::str::from_utf8(bytes).ok().map(str::trim);
    let digits = digits.filter(|text| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok());
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let binary = match bytes.get(zeros..).unwrap_or_default() {
        significant if bytes.is_empty() || significant.len() > size_of::<u64>() => None,
        significant => {
            let add = |number: u64, byte: &u8| number.wrapping_shl(8) | u64::from(*byte);
            Some(significant.iter().fold(0, add).to_string())
        }
    };
    match (digits, binary) {
        (None, Some(binary)) => Ok(binary),
        (Some(digits), _) if bytes.len() >= AMBIGUOUS_BELOW => Ok(digits.to_owned()),
        // Both are of long before any code.
        (Some(digits), _) if name == "Time" => Ok(digits.to_owned()),
        (Some(digits), Some(binary)) if name == "TimeInterval" => {
            Ok(if digits.parse::<Period>().is_ok() { digits.to_owned() } else { binary })
        }
        (Some(digits), Some(binary)) => {
            let what = format!("its encrypted {name} can be read as {digits} and as {binary}");
            Err(Refusal::Key { what, remedy: IN_PLAIN })
        }
        (_, None) => {
            let what = format!("its encrypted {name} is not a number");
            Err(Refusal::Key { what, remedy: IN_PLAIN })
        }
    }
}

/// The algorithm of a Suite; none is HMAC-SHA1.
fn algorithm(suite: &str) -> Result<Algorithm, &'static str> {
    match suite.trim() {
        "" => Ok(Algorithm::default()),
        suite => super::super::algorithm(suite)
            .ok_or("unknown Suite: HMAC-SHA1, HMAC-SHA256 and HMAC-SHA512 are known"),
    }
}

/// The value of an attribute of an element.
///
/// # Errors
/// What is not well-formed in it.
pub(super) fn attribute(
    start: &BytesStart<'_>,
    name: &str,
) -> Result<Option<String>, &'static str> {
    for (count, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| "an attribute is not well-formed")?;
        if count > 32 {
            return Err("an element has too many attributes");
        }
        if attribute.key.as_ref() == name && attribute.value.len() > MAX_VALUE {
            return Err("an attribute is too long");
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
