//! `onetimectl export`: writes tokens for another system, as otpauth URIs or
//! as PSKC (RFC 6030). What it prints is secret.

use std::fmt::Write;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use data_encoding::BASE64;
use pam_onetime::account::Account;
use pam_onetime::code::{Algorithm, MovingFactor};
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::store::Store;
use quick_xml::escape::escape;
use serde::Serialize;
use serde::ser::SerializeSeq;
use zeroize::Zeroizing;

use crate::cli::{Cli, ExportFormat};
use crate::context::Context;
use crate::formats::pskc::{self, user_id::user_id};
use crate::people::{Origin, People, User};
use crate::say::report::{self, Row};
use crate::say::{self, Form};

/// Bytes; enough for what is written of one token.
const ENOUGH: usize = 4096;

/// The tokens of one user, as either format has them.
#[derive(Serialize)]
struct UserExport {
    #[serde(serialize_with = "plain")]
    uris: Vec<Zeroizing<String>>,
    #[serde(skip)]
    packages: Vec<Zeroizing<String>>,
}

fn plain<S: serde::Serializer>(
    texts: &[Zeroizing<String>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut all = serializer.serialize_seq(Some(texts.len()))?;
    texts.iter().try_for_each(|text| all.serialize_element(text.as_str()))?;
    all.end()
}

/// Without users: everybody.
pub(crate) fn run(
    context: &Context,
    users: &[String],
    format: ExportFormat,
) -> anyhow::Result<ExitCode> {
    if context.form == Form::Json && format == ExportFormat::Pskc {
        Cli::command().error(ErrorKind::ArgumentConflict, "--json needs --format otpauth").exit();
    }
    let store = context.store()?;
    if std::io::stdout().is_terminal() {
        say::warn("what follows are secrets: whoever sees them can make every code");
    }
    let people = match users {
        [] => People::enabled(&store)?,
        _ => People::of(users.to_vec(), Origin::Named)?,
    };
    let row = |name: &String| Row::of(&people, name, |user| export(&store, user));
    let rows: Vec<_> = people.names().iter().map(row).collect();
    if context.form == Form::Text {
        write(format, rows.iter().filter_map(|row| row.result.as_ref().ok()))?;
    }
    report::finish(context.form, rows)
}

/// Prints all of them as one file.
fn write<'a>(
    format: ExportFormat,
    users: impl Iterator<Item = &'a UserExport>,
) -> std::io::Result<()> {
    match format {
        ExportFormat::Otpauth => {
            for uri in users.flat_map(|user| &user.uris) {
                say::write(uri)?;
                say::write("\n")?;
            }
        }
        ExportFormat::Pskc => {
            let mut packages = users.flat_map(|user| &user.packages).peekable();
            // A container without keys would be none.
            if packages.peek().is_none() {
                return Ok(());
            }
            say::write(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<KeyContainer Version=\"1.0\" xmlns=\"",
            )?;
            say::write(pskc::NAMESPACE)?;
            say::write("\">\n")?;
            for package in packages {
                say::write(package)?;
            }
            say::write("</KeyContainer>\n")?;
        }
    }
    Ok(())
}

fn export(store: &Store, user: &User) -> anyhow::Result<UserExport> {
    let account = store.inspect_as(&user.name, user.uid())?;
    let Some(account) = account else { bail!("is not enabled") };
    let invitation = Invitation::new(&account.record, &PasswordProof::by_administrator());
    let uris = Enrollment::of(&invitation)
        .map(|token| token.uri_from(account.state.token(token.id).next))
        .collect();
    let packages = packages(&account).context("a token cannot be written")?;
    report::log(&user.name, "exported: the secret was shown to an administrator");
    Ok(UserExport { uris, packages })
}

/// A KeyPackage for each token.
fn packages(account: &Account) -> Result<Vec<Zeroizing<String>>, std::fmt::Error> {
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
