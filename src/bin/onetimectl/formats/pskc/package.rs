//! What a KeyPackage says, element by element, and the token that this makes.

use data_encoding::BASE64;
use pam_onetime::account::TokenState;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Period, Secret, Step, Token};
use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;
use zeroize::Zeroizing;

use super::super::{ForeignToken, word};
use super::user_id::user_of;
use super::{ForeignEntry, FormatError, HOTP, PIN, TOTP};

const TWICE: &str = "one of its values is given twice";

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
    secret: Option<Zeroizing<String>>,
    counter: Option<String>,
    /// The interval of the last code, and its length in seconds.
    time: Option<String>,
    interval: Option<String>,
    drift: Option<String>,
    usages: Vec<String>,
    has_key: bool,
    /// The first thing that makes the key useless here.
    problem: Option<String>,
    not_carried_over: Vec<String>,
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
            ["Key", "Data", .., "ValueMAC"] => self.leave("a MAC, which was not checked"),
            ["Key", "AlgorithmParameters", "ResponseFormat"] if self.length.is_some() => self.fail(TWICE),
            // Whatever it is, the codes depend on it.
            ["Key", "AlgorithmParameters", ""] => {
                self.fail("its AlgorithmParameters have a part that is not known here");
            }
            ["Key", "AlgorithmParameters", "ResponseFormat"] => {
                self.length = attribute(start, "Length")?;
                if attribute(start, "Encoding")?.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("DECIMAL")) {
                    self.fail("its codes are not decimal");
                }
                if attribute(start, "CheckDigits")?.is_some_and(|value| !matches!(value.trim(), "false" | "0"))
                {
                    self.fail("its codes have check digits");
                }
            }
            ["Key", "Data", .., "EncryptedValue"] => self.fail(
                "its values are encrypted: have the keys exported in plain, and keep that file safe",
            ),
            ["Key", "Policy", "PINPolicy"] => match attribute(start, "PINUsageMode")?.as_deref() {
                Some("Algorithmic") => self.fail("its codes depend on a PIN"),
                Some(_) | None => self.not_carried_over.push(
                    "the PIN policy: here the system's password is asked for".to_owned(),
                ),
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
                    None => self.secret = Some(plain),
                    Some(_) => self.fail(TWICE),
                };
            }
            ["Key", "Policy", "KeyUsage"] => return self.usages.push(value.to_owned()),
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
        if !self.not_carried_over.iter().any(|note| note == what) {
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

    /// Whether both are of one device, as far as the file says.
    pub(super) fn is_of_device(&self, other: &Self) -> bool {
        self.serial.is_none() || self.serial == other.serial
    }

    /// The package as one token, or why that is impossible.
    pub(super) fn into_entry(self) -> ForeignEntry {
        let line = self.line;
        let user = self.user.as_deref().or(self.device_user.as_deref()).map(user_of);
        let nameless = (!matches!(user, Some(Ok(_)))).then(|| format!("line {line}"));
        let named = [&self.serial, &self.key_id, &nameless].into_iter().flatten();
        let labels = named.filter(|label| !label.is_empty()).cloned().collect();
        let token = self.token().map_err(|error| FormatError::new(line, error));
        match user {
            Some(Err(error)) => {
                ForeignEntry { user: None, labels, token: Err(FormatError::new(line, error)) }
            }
            Some(Ok(user)) => ForeignEntry { user: Some(user), labels, token },
            None => ForeignEntry { user: None, labels, token },
        }
    }

    fn token(self) -> Result<ForeignToken, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if !self.usages.is_empty() && !self.usages.iter().any(|usage| usage == "OTP") {
            return Err("the key is not for one-time codes (KeyUsage)".to_owned());
        }
        let secret = self.secret.as_ref().ok_or("the key has no secret")?;
        let secret = BASE64
            .decode(secret.as_bytes())
            .map_err(|_| "the secret is not base64".to_owned())
            .and_then(|bytes| Secret::from_bytes(bytes).map_err(|error| error.to_string()))?;
        let mut warnings = Vec::new();
        let digits = match &self.length {
            Some(length) => length.trim().parse::<Digits>().map_err(|error| error.to_string())?,
            None => {
                warnings
                    .push("the key does not give the length of its codes: 6 is assumed".to_owned());
                Digits::default()
            }
        };
        let (kind, state) = match self.algorithm.as_deref().map(str::trim) {
            Some(TOTP) => self.by_time()?,
            Some(HOTP) => self.by_counter(&mut warnings)?,
            Some(_) => {
                return Err("the key's algorithm is not supported: totp and hotp are".to_owned());
            }
            None => return Err("the key names no algorithm".to_owned()),
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

/// The algorithm of a Suite; none is HMAC-SHA1.
fn algorithm(suite: &str) -> Result<Algorithm, &'static str> {
    match suite.trim() {
        "" => Ok(Algorithm::default()),
        suite => super::super::algorithm(suite)
            .ok_or("unknown Suite: HMAC-SHA1, HMAC-SHA256 and HMAC-SHA512 are known"),
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Result<Option<String>, &'static str> {
    for (count, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| "an attribute is not well-formed")?;
        if count > 32 {
            return Err("an element has too many attributes");
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
