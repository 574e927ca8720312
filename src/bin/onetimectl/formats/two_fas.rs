//! What the app 2FAS exports without a password: JSON, a list of services.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Parameters, Text};
use super::{Aids, BOUND_OF_MANY, ForeignEntry, Format, FormatError, Found, Users};

/// The format `2fas`: a backup in plain.
#[derive(Debug)]
pub(super) struct TwoFas;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(borrow)]
    services: Option<&'a RawValue>,
    #[serde(borrow)]
    services_encrypted: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Service<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    secret: Option<Text<'a>>,
    #[serde(borrow, default)]
    otp: Otp<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Otp<'a> {
    #[serde(borrow)]
    label: Option<Text<'a>>,
    account: Option<Text<'a>>,
    issuer: Option<Text<'a>>,
    algorithm: Option<Text<'a>>,
    /// Older backups have none: their tokens are by time.
    token_type: Option<Text<'a>>,
    digits: Option<u64>,
    period: Option<u64>,
    counter: Option<u64>,
}

impl Format for TwoFas {
    fn name(&self) -> &'static str {
        "2fas"
    }

    fn summary(&self) -> &'static str {
        "a backup of the app 2FAS, in plain"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    fn sniff(&self, text: &str) -> bool {
        json::has_keys(text, &["\"services\"", "\"schemaVersion\""])
            || json::has_keys(text, &["\"servicesEncrypted\""])
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        let file: File<'_> = json::whole(text, "2FAS")?;
        if file.services_encrypted.is_some() {
            return Err(json::encrypted());
        }
        let read = |service: Service<'_>, line| Some(service.read(line));
        match file.services {
            Some(services) => json::entries(text, services, "2FAS", read, found),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "{\"schemaVersion\": 4, \"appOrigin\": \"android\", \"services\": [{\"name\": \"host\",\n\
         \"secret\": \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\", \"otp\": {\"label\": \"host:alice\",\n\
         \"account\": \"alice\", \"issuer\": \"host\", \"digits\": 6, \"period\": 30,\n\
         \"algorithm\": \"SHA1\", \"tokenType\": \"TOTP\"}}]}\n"
    }
}

impl Service<'_> {
    fn read(&self, line: usize) -> ForeignEntry {
        let Self { name, secret, otp } = self;
        let (account, issuer) = (otp.account.as_deref(), otp.issuer.as_deref());
        let token = Parameters {
            kind: otp.token_type.as_deref(),
            secret: secret.as_deref(),
            algorithm: otp.algorithm.as_deref(),
            digits: otp.digits,
            period: otp.period,
            counter: otp.counter,
            issuer: issuer.or(name.as_deref()),
        };
        // A token that was typed in has no account, and perhaps a label.
        let names = [otp.label.as_deref(), name.as_deref()];
        let user = json::some(account).or(otp.label.as_deref()).or(name.as_deref());
        token.entry(user, json::labels(&names, issuer, account), line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use jiff::tz::TimeZone;
    use pam_onetime::code::{MovingFactor, Step};

    #[test]
    fn an_old_backup_a_counter_and_tokens_that_are_not_supported_are_read_one_by_one() {
        let sample = TwoFas.sample();
        let old = sample.replace(", \"tokenType\": \"TOTP\"", "");
        let old = all(&TwoFas, &old, &TimeZone::UTC).unwrap();
        assert!(matches!(old[0].token.as_ref().unwrap().token.kind, MovingFactor::Totp { .. }));
        let hotp = sample.replace("\"TOTP\"", "\"HOTP\", \"counter\": 9");
        let hotp = all(&TwoFas, &hotp, &TimeZone::UTC).unwrap();
        assert_eq!(hotp[0].token.as_ref().unwrap().state.next, Step(9));
        for (from, to) in
            [("TOTP", "STEAM"), ("SHA1", "SHA224"), ("\"digits\": 6", "\"digits\": 5")]
        {
            let all = all(&TwoFas, &sample.replace(from, to), &TimeZone::UTC).unwrap();
            assert_eq!(all[0].user.as_deref(), Some("alice"), "{to}");
            assert!(all[0].token.is_err(), "{to}");
        }
    }

    #[test]
    fn an_encrypted_backup_is_recognized_and_refused_with_the_way_out() {
        let text =
            "{\"schemaVersion\": 4, \"services\": [], \"servicesEncrypted\": \"YQ==:YQ==:YQ==\"}";
        assert!(TwoFas.sniff(text));
        let error = all(&TwoFas, text, &TimeZone::UTC).unwrap_err();
        assert!(error.what == "it is encrypted" && error.remedy.is_some(), "{error}");
    }
}
