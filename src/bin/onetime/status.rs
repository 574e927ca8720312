//! What there is to say of the account, as text or as JSON.

use std::io::Write;

use pam_onetime::account::Timestamp;
use pam_onetime::relay::OwnStatus;
use serde::Serialize;

/// The version of the JSON, that of `onetimectl --json`.
const VERSION: u8 = 1;

/// A line of JSON, with the names and the meaning of `onetimectl --json status`.
#[derive(Serialize)]
struct JsonStatus<'s> {
    version: u8,
    otp: bool,
    activated: bool,
    recovery_codes_left: Option<u32>,
    locked_until: Option<&'s str>,
}

pub(crate) fn print(status: OwnStatus, json: bool) -> anyhow::Result<()> {
    let text = if json { as_json(status)? } else { as_text(status) };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn as_json(status: OwnStatus) -> anyhow::Result<String> {
    let OwnStatus { otp, activated, recovery_codes_left, locked_until } = status;
    let until = locked_until.map(|time| Timestamp(time).to_rfc_3339());
    let row = JsonStatus {
        version: VERSION,
        otp,
        activated,
        recovery_codes_left,
        locked_until: until.as_deref(),
    };
    Ok(serde_json::to_string(&row)? + "\n")
}

fn as_text(status: OwnStatus) -> String {
    let OwnStatus { otp, activated, recovery_codes_left, locked_until } = status;
    let codes = match (otp, activated) {
        (false, _) => "off: the password is enough",
        (true, false) => "issued, but not set up: log in and give a first code",
        (true, true) => "on: a login needs password and code",
    };
    let recovery = match recovery_codes_left {
        None => "none were issued".to_owned(),
        Some(left) => format!("{left} left"),
    };
    let mut text = format!("One-time codes: {codes}\n");
    if otp {
        text.push_str(&format!("Recovery codes: {recovery}\n"));
    }
    if let Some(until) = locked_until {
        let until = Timestamp(until).to_minute();
        text.push_str(&format!("Locked after too many wrong codes until {until}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_names_of_onetimectl_and_its_times() {
        let status = OwnStatus {
            otp: true,
            activated: true,
            recovery_codes_left: Some(7),
            locked_until: Some(1_700_000_000),
        };
        assert_eq!(
            as_json(status).unwrap(),
            "{\"version\":1,\"otp\":true,\"activated\":true,\"recovery_codes_left\":7,\
             \"locked_until\":\"2023-11-14T22:13:20Z\"}\n"
        );
        let longest = OwnStatus {
            recovery_codes_left: Some(u32::MAX),
            locked_until: Some(u64::MAX),
            ..OwnStatus::default()
        };
        assert!(as_json(longest).is_ok());
    }

    #[test]
    fn the_text_says_each_state() {
        let off = OwnStatus::default();
        assert_eq!(as_text(off), "One-time codes: off: the password is enough\n");
        let pending = OwnStatus { otp: true, ..off };
        assert!(as_text(pending).contains("not set up"));
        let active = OwnStatus {
            activated: true,
            recovery_codes_left: Some(3),
            locked_until: Some(1_700_000_000),
            ..pending
        };
        let text = as_text(active);
        assert!(text.contains("3 left") && text.contains("until 2023-11-14 22:13 UTC"), "{text}");
    }
}
