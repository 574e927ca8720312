//! What the app Aegis exports without a password: JSON, a vault of entries.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Parameters, Text};
use super::{Aids, BOUND_OF_MANY, ForeignEntry, Format, FormatError, Found, Users};

/// The format `aegis`: a vault in plain.
#[derive(Debug)]
pub(super) struct Aegis;

#[derive(Deserialize)]
struct File<'a> {
    /// The vault; a text where it is encrypted.
    #[serde(borrow)]
    db: &'a RawValue,
}

#[derive(Deserialize)]
struct Vault<'a> {
    #[serde(borrow)]
    entries: &'a RawValue,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    uuid: Option<Text<'a>>,
    name: Option<Text<'a>>,
    issuer: Option<Text<'a>>,
    info: Info<'a>,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    secret: Option<Text<'a>>,
    algo: Option<Text<'a>>,
    digits: Option<u64>,
    period: Option<u64>,
    counter: Option<u64>,
}

impl Format for Aegis {
    fn name(&self) -> &'static str {
        "aegis"
    }

    fn summary(&self) -> &'static str {
        "a vault of the app Aegis, in plain"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    fn sniff(&self, text: &str) -> bool {
        json::has_keys(text, &["\"db\"", "\"header\""])
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        let file: File<'_> = json::whole(text, "Aegis")?;
        if file.db.get().starts_with('"') {
            return Err(json::encrypted());
        }
        let vault: Vault<'_> = serde_json::from_str(file.db.get())
            .map_err(|_| FormatError::new(1, "not a vault as Aegis writes it"))?;
        let read = |entry: Entry<'_>, line| Some(entry.read(line));
        json::entries(text, vault.entries, "Aegis", read, found)
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "{\"version\": 1, \"header\": {\"slots\": null, \"params\": null}, \"db\": {\"version\": 3,\n\
         \"entries\": [{\"type\": \"totp\", \"uuid\": \"u-1\", \"name\": \"alice\", \"issuer\": \"host\",\n\
         \"info\": {\"secret\": \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\", \"algo\": \"SHA1\", \"digits\": 6,\n\
         \"period\": 30}}]}}\n"
    }
}

impl Entry<'_> {
    fn read(&self, line: usize) -> ForeignEntry {
        let Self { r#type, uuid, name, issuer, info } = self;
        let (name, issuer) = (name.as_deref(), issuer.as_deref());
        let token = Parameters {
            kind: Some(r#type),
            secret: info.secret.as_deref(),
            algorithm: info.algo.as_deref(),
            digits: info.digits,
            period: info.period,
            counter: info.counter,
            issuer,
        };
        token.entry(name, json::labels(&[uuid.as_deref()], issuer, name), line)
    }
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;
    use jiff::tz::TimeZone;
    use pam_onetime::code::{Algorithm, MovingFactor, Step};

    #[test]
    fn counters_and_other_digests_are_read_and_a_steam_token_fails_alone() {
        let sample = Aegis.sample();
        let (before, rest) = sample.split_once("{\"type\"").unwrap();
        let (entry, after) = rest.split_once("]}}").unwrap();
        let entry = format!("{{\"type\"{entry}");
        let hotp = entry.replace("totp", "hotp").replace("\"period\": 30", "\"counter\": 57");
        let hotp = hotp.replace("SHA1", "SHA512").replace("alice", "bob");
        let steam = entry.replace("totp", "steam").replace("alice", "carol");
        let motp = entry.replace("SHA1", "MD5").replace("alice", "dave");
        let text = format!("{before}{entry},{hotp},{steam},{motp}]}}}}{after}");
        let all = all(&Aegis, &text, &TimeZone::UTC).unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].labels, ["u-1", "host:alice"]);
        let bob = all[1].token.as_ref().unwrap();
        assert_eq!((bob.token.kind, bob.state.next), (MovingFactor::Hotp, Step(57)));
        assert_eq!(bob.token.algorithm, Algorithm::Sha512);
        for (entry, user, what) in [(&all[2], "carol", "Steam"), (&all[3], "dave", "algorithm")] {
            assert_eq!(entry.user.as_deref(), Some(user));
            let error = entry.token.as_ref().unwrap_err();
            assert!(error.line > 1 && error.what.contains(what), "{error}");
        }
    }

    #[test]
    fn an_encrypted_vault_is_recognized_and_refused_with_the_way_out() {
        let text =
            "{\"version\": 1, \"header\": {\"slots\": [], \"params\": {}}, \"db\": \"c2VjcmV0\"}";
        assert!(Aegis.sniff(text));
        let error = all(&Aegis, text, &TimeZone::UTC).unwrap_err();
        assert_eq!(error.what, "it is encrypted");
        assert!(error.remedy.is_some_and(|remedy| remedy.contains("shred")));
    }
}
