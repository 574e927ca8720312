//! What `pass show` prints of an entry of the extension pass-otp: a password, then lines of
//! any kind, one of which is an otpauth URI. Nothing but the URI is looked at.

use super::{Aids, Format, FormatError, Found, Users, first_line, lines, otpauth};

/// The format `pass-otp`: one entry, decrypted.
#[derive(Debug)]
pub(super) struct PassOtp;

impl Format for PassOtp {
    fn name(&self) -> &'static str {
        "pass-otp"
    }

    fn summary(&self) -> &'static str {
        "an entry of pass with an otpauth URI, decrypted"
    }

    fn users(&self) -> Users {
        Users::OneByLabel
    }

    /// An entry is a page of text at most.
    fn bound(&self) -> u64 {
        1024 * 1024
    }

    fn sniff(&self, text: &str) -> bool {
        let first = first_line(text);
        otpauth::after_scheme(first).is_none()
            && !first.starts_with(['{', '['])
            && text.lines().skip(1).any(is_uri)
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        let mut only: Option<(usize, &str)> = None;
        for line in lines(text) {
            let (number, line) = line?;
            if !is_uri(line) {
                continue;
            }
            if only.replace((number, line.trim())).is_some() {
                return Err(FormatError::new(number, "a second otpauth URI in one entry")
                    .with_remedy("import a file of the URIs alone: grep ^otpauth://"));
            }
        }
        match only {
            Some((number, line)) => {
                found(otpauth::uri(line, number)?);
                Ok(())
            }
            None => Err(FormatError::new(1, "there is no line with an otpauth URI in it")),
        }
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "hunter2\nurl: https://host\n\
         otpauth://totp/host:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=host\n"
    }
}

fn is_uri(line: &str) -> bool {
    otpauth::after_scheme(line.trim()).is_some()
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::all;
    use super::*;

    #[test]
    fn the_uri_is_found_in_any_line_and_the_password_is_in_no_error() {
        let sample = PassOtp.sample();
        let uri = sample.lines().next_back().unwrap();
        for text in [format!("{uri}\nuser: x\n"), format!("pw\n\n  {uri}  \nnotes"), uri.into()] {
            let all = all(&PassOtp, &text, &TimeZone::UTC).unwrap();
            assert_eq!(all[0].user.as_deref(), Some("alice"), "{text}");
            assert!(all[0].token.is_ok(), "{text}");
        }
        for text in ["hunter2\nuser: x\n", "hunter2", "", &format!("hunter2\n{uri}\n{uri}\n")] {
            let error = all(&PassOtp, text, &TimeZone::UTC).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && !error.contains("GEZD"), "{error}");
        }
        assert!(!PassOtp.sniff("hunter2\nuser: x\n"));
    }
}
