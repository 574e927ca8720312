//! `onetimectl handout`: a sheet to print for a pending user, with QR code, key
//! and, if asked for, recovery codes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use pam_onetime::account::Phase;
use pam_onetime::code::RecoveryCode;
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::HandoutOptions;
use crate::context::{Context, User};
use crate::{qr, recovery, report};

const STEPS: [&str; 3] = [
    "Install an authenticator app on your phone, if you have none.",
    "Scan the code with it, or type the key in by hand.",
    "Log in as always, and when you are asked for a one-time code, type what the app shows.",
];

#[derive(Serialize)]
struct Told {
    file: String,
    recovery_codes: usize,
}

pub(crate) fn run(context: &Context, options: &HandoutOptions) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    report::each(
        context.form,
        std::slice::from_ref(&options.user),
        |user| {
            let known = User::find(user)?;
            let Some(account) = store.inspect(&known.name)? else {
                bail!("not enabled: there is no secret to hand out (onetimectl enable issues one)");
            };
            if let Phase::Active { .. } = account.phase() {
                bail!(
                    "already activated: its secret is not shown any more \
                     (onetimectl enable --new-secret issues a different one)"
                );
            }
            let mut record = account.record;
            let codes = if options.recovery { recovery::issue(&mut record)? } else { Vec::new() };
            let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
            let first = Enrollment::of(&invitation).next().context("there is no token")?;
            let sheet = Sheet { enrollment: first, codes: &codes };
            // Written first: codes that nobody has seen are not put in force.
            let file = sheet.write(&options.output)?;
            let amended = match codes.is_empty() {
                true => Ok(()),
                false => store.amend_record(&known.name, |account| {
                    let mut account = account.clone();
                    account.record.recovery = record.recovery.clone();
                    Ok::<_, anyhow::Error>(account)
                }),
            };
            if let Err(error) = amended {
                qr::discard(Some(file));
                return Err(error);
            }
            report::log(&known.name, "a handout with the secret was written");
            Ok(Told { file: file.display().to_string(), recovery_codes: codes.len() })
        },
        |told| format!("written to {}; whoever has it can make this user's codes", told.file),
    )
}

struct Sheet<'a> {
    enrollment: Enrollment<'a>,
    codes: &'a [RecoveryCode],
}

impl Sheet<'_> {
    fn write(&self, path: &Path) -> anyhow::Result<std::path::PathBuf> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let too_long = "the issuer or the user's name is too long for a QR code";
        let bytes = match ending {
            Some("html") => self.html().map(|html| Zeroizing::new(html.as_bytes().to_vec())),
            Some("svg") => self.svg().map(|svg| Zeroizing::new(svg.as_bytes().to_vec())),
            Some("png") if self.codes.is_empty() => self.enrollment.qr_png(),
            Some("png") => bail!("a .png is the QR code alone: recovery codes need .html or .svg"),
            Some(_) | None => bail!("{}: must end in .html, .svg or .png", path.display()),
        };
        qr::create(path, &bytes.context(too_long)?)
    }

    fn title(&self) -> String {
        format!("One-time codes for {} at {}", self.enrollment.user, self.enrollment.issuer)
    }

    /// Self-contained: no script, nothing from elsewhere.
    fn html(&self) -> Option<Zeroizing<String>> {
        let mut page = Zeroizing::new(String::with_capacity(128 * 1024));
        let title = escape(&self.title());
        let steps: String = STEPS.iter().map(|step| format!("<li>{}</li>", escape(step))).collect();
        let head = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>{title}</title>\n<style>\nbody {{ font: 12pt sans-serif; max-width: 40em; margin: 2em auto; }}\n\
             svg {{ width: 7cm; height: 7cm; }}\ncode {{ font-size: 120%; }}\n\
             @media print {{ body {{ margin: 0; }} }}\n</style>\n</head>\n<body>\n<h1>{title}</h1>\n<ol>{steps}</ol>\n"
        );
        page.push_str(&head);
        page.push_str(&self.enrollment.qr_svg()?);
        page.push_str("<p>Key: <code>");
        page.push_str(&self.enrollment.key());
        page.push_str("</code></p>\n");
        if let Some(parameters) = self.enrollment.parameters() {
            page.push_str(&format!("<p>Settings: {}</p>\n", escape(&parameters)));
        }
        if !self.codes.is_empty() {
            page.push_str("<h2>Recovery codes</h2>\n<p>If the phone is lost, each works once in place of a code.</p>\n<ul>\n");
            for code in self.codes {
                page.push_str("<li><code>");
                page.push_str(&code.text());
                page.push_str("</code></li>\n");
            }
            page.push_str("</ul>\n");
        }
        page.push_str("<p>Keep this sheet where nobody else can read it.</p>\n</body>\n</html>\n");
        Some(page)
    }

    /// The same as one picture, of A4's shape.
    fn svg(&self) -> Option<Zeroizing<String>> {
        let mut page = Zeroizing::new(String::with_capacity(128 * 1024));
        page.push_str(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 210 297\" font-family=\"sans-serif\" font-size=\"4.5\">\n\
             <rect width=\"210\" height=\"297\" fill=\"#fff\"/>\n",
        );
        let mut y = 25_u32;
        let mut line = |page: &mut String, text: &str| {
            let written = writeln!(page, "<text x=\"20\" y=\"{y}\">{}</text>", escape(text));
            debug_assert!(written.is_ok(), "writing to a string does not fail");
            y = y.saturating_add(8);
        };
        line(&mut page, &self.title());
        for (number, step) in (1..).zip(STEPS) {
            line(&mut page, &format!("{number}. {step}"));
        }
        line(&mut page, &Zeroizing::new(format!("Key: {}", *self.enrollment.key())));
        if let Some(parameters) = self.enrollment.parameters() {
            line(&mut page, &format!("Settings: {parameters}"));
        }
        if !self.codes.is_empty() {
            line(&mut page, "Recovery codes; each works once in place of a code:");
            for code in self.codes {
                line(&mut page, &code.text());
            }
        }
        let picture = self.enrollment.qr_svg()?;
        page.push_str(&format!("<svg x=\"20\" y=\"{y}\" width=\"80\" height=\"80\" "));
        // Its own element, at its place on the sheet.
        page.push_str(picture.strip_prefix("<svg ")?);
        page.push_str("</svg>\n");
        Some(page)
    }
}

/// Text as HTML and XML have it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
