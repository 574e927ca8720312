//! Tokens as key packages of PSKC (RFC 6030), with values in plain.

use std::fmt::Write;

use data_encoding::BASE64;
use pam_onetime::account::Account;
use pam_onetime::code::{Algorithm, MovingFactor};
use quick_xml::escape::escape;
use zeroize::Zeroizing;

use crate::formats::pskc::{self, user_id::user_id};

/// Bytes; enough for what is written of one token.
const ENOUGH: usize = 4096;

/// What is before the packages, and after them.
pub(super) fn container() -> [String; 2] {
    let namespace = pskc::NAMESPACE;
    let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let begin = format!("{xml}\n<KeyContainer Version=\"1.0\" xmlns=\"{namespace}\">\n");
    [begin, "</KeyContainer>\n".to_owned()]
}

/// A KeyPackage for each token.
pub(super) fn packages(account: &Account) -> Result<Vec<Zeroizing<String>>, std::fmt::Error> {
    let Account { record, state } = account;
    let user = record.user.as_str();
    let mut packages = Vec::new();
    for (id, token) in &record.tokens {
        let at = state.token(*id);
        let algorithm = match token.kind {
            MovingFactor::Totp { .. } => pskc::TOTP,
            MovingFactor::Hotp => pskc::HOTP,
        };
        // Reserved at once: a string that grows leaves copies behind.
        let mut xml = Zeroizing::new(String::with_capacity(ENOUGH));
        let name = format!("{user}-{}", id.get());
        writeln!(xml, "  <KeyPackage>")?;
        writeln!(xml, "    <Key Id=\"{}\" Algorithm=\"{algorithm}\">", escape(name.as_str()))?;
        writeln!(xml, "      <Issuer>{}</Issuer>", escape(record.issuer.as_str()))?;
        writeln!(xml, "      <AlgorithmParameters>")?;
        match token.algorithm {
            Algorithm::Sha1 => {}
            other @ (Algorithm::Sha256 | Algorithm::Sha512) => {
                writeln!(xml, "        <Suite>HMAC-{other}</Suite>")?;
            }
        }
        writeln!(
            xml,
            "        <ResponseFormat Encoding=\"DECIMAL\" Length=\"{}\"/>",
            token.digits
        )?;
        writeln!(xml, "      </AlgorithmParameters>")?;
        let secret = Zeroizing::new(BASE64.encode(token.secret.as_bytes()));
        writeln!(xml, "      <Data>")?;
        value(&mut xml, "Secret", &secret)?;
        match token.kind {
            MovingFactor::Hotp => value(&mut xml, "Counter", &at.next.0.to_string())?,
            MovingFactor::Totp { period } => {
                // The schema has it in 32 bits; no present step is beyond that.
                let last = at.next.minus(1).0;
                if last > 0 && i32::try_from(last).is_ok() {
                    value(&mut xml, "Time", &last.to_string())?;
                }
                value(&mut xml, "TimeInterval", &period.to_string())?;
                value(&mut xml, "TimeDrift", &at.drift.to_string())?;
            }
        }
        writeln!(xml, "      </Data>")?;
        writeln!(xml, "      <UserId>{}</UserId>", escape(user_id(user)))?;
        writeln!(xml, "    </Key>\n  </KeyPackage>")?;
        packages.push(xml);
    }
    Ok(packages)
}

fn value(xml: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(xml, "        <{name}><PlainValue>{value}</PlainValue></{name}>")
}
