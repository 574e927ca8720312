//! What Bitwarden and Vaultwarden export as plain JSON: logins, of which some have the
//! secret of one-time codes. Passwords in it are not looked at.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json::{self, Parameters, Text};
use super::{Aids, BOUND_OF_MANY, ForeignEntry, Format, FormatError, Found, Users, otpauth};

/// The format `bitwarden`: an export in plain.
#[derive(Debug)]
pub(super) struct Bitwarden;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    encrypted: bool,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    login: Option<Login<'a>>,
}

#[derive(Deserialize)]
struct Login<'a> {
    #[serde(borrow)]
    username: Option<Text<'a>>,
    /// An otpauth URI, a secret in base32, or `steam://` and a secret.
    #[serde(borrow)]
    totp: Option<Text<'a>>,
}

impl Format for Bitwarden {
    fn name(&self) -> &'static str {
        "bitwarden"
    }

    fn summary(&self) -> &'static str {
        "an export of Bitwarden or Vaultwarden, JSON in plain"
    }

    fn users(&self) -> Users {
        Users::ManyByLabel
    }

    fn bound(&self) -> u64 {
        BOUND_OF_MANY
    }

    fn sniff(&self, text: &str) -> bool {
        json::has_keys(text, &["\"encrypted\"", "\"items\""])
            || json::has_keys(text, &["\"encrypted\"", "\"passwordProtected\""])
    }

    fn parse(&self, text: &str, _: &Aids<'_>, found: &mut Found<'_>) -> Result<(), FormatError> {
        let file: File<'_> = json::whole(text, "Bitwarden")?;
        if file.encrypted {
            return Err(json::encrypted());
        }
        let read = |item: Item<'_>, line| item.read(line);
        match file.items {
            Some(items) => json::entries(text, items, "Bitwarden", read, found),
            None => Ok(()),
        }
    }

    #[cfg(test)]
    fn sample(&self) -> &'static str {
        "{\"encrypted\": false, \"folders\": [], \"items\": [{\"id\": \"i-1\", \"type\": 1,\n\
         \"name\": \"host\", \"login\": {\"username\": \"alice\", \"password\": \"hunter2\",\n\
         \"totp\": \"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\"}}]}\n"
    }
}

impl Item<'_> {
    /// `None`: it has no one-time codes.
    fn read(&self, line: usize) -> Option<ForeignEntry> {
        let login = self.login.as_ref()?;
        let totp = json::some(login.totp.as_deref())?;
        let (name, user) = (self.name.as_deref(), json::some(login.username.as_deref()));
        let mut labels = json::labels(&[self.id.as_deref(), name], None, None);
        if otpauth::after_scheme(totp).is_some() {
            let found = match otpauth::uri(totp, line) {
                Ok(found) => found,
                Err(error) => ForeignEntry {
                    user: None,
                    labels: vec![format!("line {line}")],
                    token: Err(error),
                },
            };
            labels.extend(found.labels);
            // The map may go by either name.
            labels.extend(found.user.clone());
            let user = user.map(str::to_owned).or(found.user);
            return Some(ForeignEntry { user, labels, token: found.token });
        }
        let steam =
            totp.get(.."steam://".len()).is_some_and(|it| it.eq_ignore_ascii_case("steam://"));
        let token = Parameters {
            kind: Some(if steam { "steam" } else { "totp" }),
            secret: Some(totp),
            issuer: name,
            ..Parameters::default()
        };
        Some(token.entry(user.or(name), labels, line))
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::all;
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    #[test]
    fn a_secret_may_be_a_uri_a_steam_token_fails_alone_and_other_items_are_no_tokens() {
        let sample = Bitwarden.sample();
        let read = |totp: &str| {
            all(&Bitwarden, &sample.replace(SECRET, totp), &TimeZone::UTC).unwrap().pop()
        };
        let uri = read(&format!("otpauth://totp/Corp:bob?secret={SECRET}&digits=8")).unwrap();
        assert_eq!(uri.user.as_deref(), Some("alice"), "the login's own name");
        assert_eq!(uri.labels, ["i-1", "host", "Corp:bob", "bob"]);
        assert_eq!(u64::from(uri.token.unwrap().token.digits), 8);
        let steam = read(&format!("steam://{SECRET}")).unwrap();
        assert_eq!(steam.user.as_deref(), Some("alice"));
        let error = steam.token.unwrap_err().to_string();
        assert!(error.contains("Steam") && !error.contains("GEZD"), "{error}");
        assert!(read("").is_none(), "no one-time codes");
    }

    #[test]
    fn an_encrypted_export_is_recognized_and_refused_with_the_way_out() {
        for text in [
            "{\"encrypted\": true, \"passwordProtected\": true, \"salt\": \"x\", \"data\": \"2.x\"}",
            "{\"encrypted\": true, \"encKeyValidation_DO_NOT_EDIT\": \"2.x\", \"items\": []}",
        ] {
            assert!(Bitwarden.sniff(text));
            let error = all(&Bitwarden, text, &TimeZone::UTC).unwrap_err();
            assert!(error.what == "it is encrypted" && error.remedy.is_some(), "{error}");
        }
    }
}
