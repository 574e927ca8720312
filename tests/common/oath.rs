//! Codes from a second implementation: the real oathtool computes what a user's
//! phone would show. The secret goes in by standard input, never by argument.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::process::finish;

#[derive(Clone, Copy, Debug)]
pub enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

/// How a TOTP code is made, with the defaults of RFC 6238.
#[derive(Clone, Copy, Debug)]
pub struct TotpOptions {
    pub algorithm: Algorithm,
    pub digits: u32,
    /// Length of a time step, in seconds.
    pub period: u64,
    /// Which step's code: 0 the current one, -1 the one before.
    pub offset_steps: i64,
}

impl Default for TotpOptions {
    fn default() -> Self {
        Self { algorithm: Algorithm::Sha1, digits: 6, period: 30, offset_steps: 0 }
    }
}

/// The code of the current time step, with at least 5 s left to use it (or a third
/// of the period, if that is less).
pub fn code(secret_base32: &str, options: TotpOptions) -> String {
    let margin = Duration::from_secs(5.min(options.period / 3));
    let mut now = since_epoch();
    let left = Duration::from_secs(options.period - now.as_secs() % options.period)
        - Duration::from_nanos(now.subsec_nanos().into());
    if left < margin {
        // Not a sleep in the hope that something has happened by then: the event
        // waited for *is* the clock's next step, and its moment is known exactly.
        std::thread::sleep(left);
        now += left;
    }
    code_at(secret_base32, options, now.as_secs())
}

/// The code of the time step that contains `now`, in seconds since the epoch.
pub fn code_at(secret_base32: &str, options: TotpOptions, now: u64) -> String {
    let moment = i128::from(now) + i128::from(options.offset_steps) * i128::from(options.period);
    let algorithm = match options.algorithm {
        Algorithm::Sha1 => "sha1",
        Algorithm::Sha256 => "sha256",
        Algorithm::Sha512 => "sha512",
    };
    oathtool(
        secret_base32,
        &[
            format!("--totp={algorithm}"),
            format!("--digits={}", options.digits),
            format!("--time-step-size={}s", options.period),
            format!("--now=@{moment}"),
        ],
    )
}

/// The code of an HOTP counter (RFC 4226).
pub fn hotp_code(secret_base32: &str, counter: u64, digits: u32) -> String {
    oathtool(
        secret_base32,
        &["--hotp".into(), format!("--digits={digits}"), format!("--counter={counter}")],
    )
}

/// A user's phone: codes computed here, where a campaign needs more of them than
/// programs can be started. A campaign confirms some of them by oathtool.
pub struct Phone(totp_rs::Totp);

impl Phone {
    /// With SHA-1 and 6 digits.
    pub fn new(secret_base32: &str) -> Self {
        let alphabet = base32::Alphabet::Rfc4648 { padding: false };
        let secret = base32::decode(alphabet, secret_base32).expect("a secret in base32");
        // A step of one second makes the builder's time a counter.
        Self(totp_rs::Builder::new().with_secret(secret).with_step_duration(1).build_noncompliant())
    }

    /// The code of a counter, or of a time step.
    pub fn code(&self, step: u64) -> String {
        self.0.generate(step).to_string()
    }
}

fn oathtool(secret_base32: &str, options: &[String]) -> String {
    super::preflight();
    let mut command = Command::new("oathtool");
    command.arg("--base32").args(options).arg("-");
    finish(&mut command, secret_base32.as_bytes()).ok().trim().to_owned()
}

pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock stands after 1970")
}
