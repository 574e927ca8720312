//! `onetimectl handout`: a sheet to print for a user who has not enrolled yet,
//! as HTML or SVG; or the QR code alone, as PNG.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use pam_onetime::account::{Account, MAX_TOKENS, TokenId};
use pam_onetime::bytes_as_text::Readable;
use pam_onetime::code::RecoveryCode;
use pam_onetime::config::Language;
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::messages::Sheet;
use pam_onetime::system::now;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::HandoutOptions;
use crate::context::Context;
use crate::error::ToolError;
use crate::paper::file::NewFile;
use crate::paper::markup::escaped;
use crate::paper::qr;
use crate::paper::recovery;
use crate::say::{self, report};

#[derive(Serialize)]
struct HandoutReport {
    /// As the admin typed it.
    file: String,
    /// How many are on the sheet.
    recovery_codes: usize,
}

/// What is made, by the ending of the file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SheetFormat {
    Html,
    Svg,
    Png,
}

pub(crate) fn run(context: &Context, options: &HandoutOptions) -> anyhow::Result<ExitCode> {
    let format = match options.output.extension().and_then(|ending| ending.to_str()) {
        Some("html") => SheetFormat::Html,
        Some("svg") => SheetFormat::Svg,
        Some("png") if options.recovery => {
            return Err(usage("recovery codes need a sheet: .html or .svg"));
        }
        Some("png") => SheetFormat::Png,
        Some(_) | None => return Err(usage("the file must end in .html, .svg or .png")),
    };
    let store = context.store()?;
    report::one(
        context.form,
        &options.user,
        |user| {
            let mut recovery_codes = 0;
            if options.recovery {
                let mut made = None;
                let stored = store.amend_record(&user.name, now()?, |account| {
                    let mut account = account.clone();
                    let codes = recovery::issue(&mut account.record)?;
                    // Written first: no codes are issued that nobody has seen.
                    made = Some(write(context, options, format, &account, &codes)?);
                    recovery_codes = codes.len();
                    Ok::<_, anyhow::Error>(account)
                });
                // Without it the file goes: nobody could use its codes.
                stored?;
                if let Some(file) = made {
                    file.keep();
                }
                report::log(&user.name, "new recovery codes were issued");
            } else {
                let account = store.inspect(&user.name)?;
                let account = account.ok_or(ToolError::NOT_ENABLED)?;
                write(context, options, format, &account, &[])?.keep();
            }
            let file = options.output.display().to_string();
            Ok(HandoutReport { file, recovery_codes })
        },
        |report| format!("written to {}", Readable(&report.file)),
    )
}

fn usage(what: &str) -> anyhow::Error {
    say::usage(ErrorKind::ValueValidation, what)
}

/// Makes the file, for a pending account and no other.
fn write(
    context: &Context,
    options: &HandoutOptions,
    format: SheetFormat,
    account: &Account,
    codes: &[RecoveryCode],
) -> anyhow::Result<NewFile> {
    qr::must_be_pending(account)?;
    let invitation = Invitation::new(&account.record, &PasswordProof::by_administrator());
    let language = context.config.login.language;
    let parts = || parts(&invitation, options.token, language);
    match format {
        SheetFormat::Html => {
            NewFile::write(&options.output, html(&parts()?, codes, language)?.as_bytes())
        }
        SheetFormat::Svg => {
            NewFile::write(&options.output, svg(&parts()?, codes, language)?.as_bytes())
        }
        SheetFormat::Png => qr::write(&invitation, options.token, &options.output),
    }
}

/// One token with its QR code.
struct Part {
    sheet: Sheet,
    /// The QR code as SVG paths, and its side in their units.
    qr: Zeroizing<String>,
    side: usize,
}

/// Those of the token that was named, or of all.
fn parts(
    invitation: &Invitation<'_>,
    which: Option<TokenId>,
    language: Language,
) -> anyhow::Result<Vec<Part>> {
    let meant = |enrollment: &Enrollment<'_>| which.is_none_or(|which| which == enrollment.id);
    let parts = Enrollment::of(invitation).filter(meant).map(|enrollment| {
        let qr = enrollment.qr_paths();
        let (side, qr) = qr.context("the issuer or the user's name is too long for a QR code")?;
        Ok(Part { sheet: Sheet::of(&enrollment, language), qr, side })
    });
    parts.collect()
}

/// Room for the whole sheet: a string that grows leaves copies of the secret.
const ROOM: usize = MAX_TOKENS * 256 * 1024;

/// No script, nothing from elsewhere: it can be opened on any machine, and a
/// browser is asked to see to that.
const HEAD: &str = "<meta charset=\"utf-8\"/>\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
    <meta name=\"robots\" content=\"noindex\"/>\n";

/// Modules without grey edges.
const CRISP: &str = "shape-rendering=\"crispEdges\"";

const STYLE: &str = "@page { margin: 20mm }
body { font: 12pt/1.5 sans-serif; color: #000; background: #fff; max-width: 170mm; margin: 10mm auto }
@media print { body { margin: 0 auto } }
h1 { font-size: 18pt; line-height: 1.2; overflow-wrap: anywhere }
section { break-inside: avoid }
p { margin: .3em 0; overflow-wrap: anywhere }
svg { display: block; width: 60mm; height: 60mm; margin: 5mm 0; print-color-adjust: exact; -webkit-print-color-adjust: exact }
.fact { font-family: monospace }
.codes { columns: 2; font: 14pt/1.8 monospace; list-style-position: inside }
";

fn html(
    parts: &[Part],
    codes: &[RecoveryCode],
    language: Language,
) -> anyhow::Result<Zeroizing<String>> {
    let first = &parts.first().context("has no such token")?.sheet;
    let title = escaped(&first.title);
    let mut page = Zeroizing::new(String::with_capacity(ROOM));
    let out = &mut *page;
    writeln!(out, "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n{HEAD}", language.word())?;
    writeln!(out, "<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>", *title)?;
    writeln!(out, "<h1>{}</h1>", *title)?;
    for Part { sheet, qr, side } in parts {
        writeln!(out, "<section>\n<svg viewBox=\"0 0 {side} {side}\" {CRISP}>{}</svg>", **qr)?;
        for fact in &sheet.facts {
            writeln!(out, "<p class=\"fact\">{}</p>", *escaped(fact))?;
        }
        writeln!(out, "</section>")?;
    }
    writeln!(out, "<ol>")?;
    for step in first.steps {
        writeln!(out, "<li>{}</li>", *escaped(step))?;
    }
    writeln!(out, "</ol>")?;
    if !codes.is_empty() {
        writeln!(out, "<section>\n<p>{}</p>\n<ol class=\"codes\">", *escaped(first.recovery))?;
        for code in codes {
            writeln!(out, "<li>{}</li>", *code.text())?;
        }
        writeln!(out, "</ol>\n</section>")?;
    }
    writeln!(out, "</body>\n</html>")?;
    Ok(page)
}

/// Of the sheet as SVG, in points: the width of A4, the margins, a line.
const WIDTH: usize = 595;
const MARGIN: usize = 50;
const LINE: usize = 20;
/// At most: a module has whole points.
const QR_SIDE: usize = 240;

/// Columns that fit between the margins at 12 points: Latin letters take one,
/// those of East Asia two.
const COLUMNS: usize = 66;
const TITLE_COLUMNS: usize = 42;

/// Text in lines of its own, from the top down.
struct Column<'a> {
    out: &'a mut String,
    y: usize,
}

impl Column<'_> {
    fn text(&mut self, text: &str, columns: usize, style: &str) -> std::fmt::Result {
        for line in wrapped(text, columns) {
            self.y = self.y.saturating_add(LINE);
            let (y, line) = (self.y, escaped(&line));
            writeln!(self.out, "<text x=\"{MARGIN}\" y=\"{y}\" {style}>{}</text>", *line)?;
        }
        Ok(())
    }

    fn gap(&mut self) {
        self.y = self.y.saturating_add(LINE / 2);
    }
}

fn svg(
    parts: &[Part],
    codes: &[RecoveryCode],
    language: Language,
) -> anyhow::Result<Zeroizing<String>> {
    const PLAIN: &str = "font-family=\"sans-serif\" font-size=\"12\"";
    const FACT: &str = "font-family=\"monospace\" font-size=\"12\" xml:space=\"preserve\"";
    const TITLE: &str = "font-family=\"sans-serif\" font-size=\"18\" font-weight=\"bold\"";
    let first = &parts.first().context("has no such token")?.sheet;
    let mut body = Zeroizing::new(String::with_capacity(ROOM));
    let mut column = Column { out: &mut body, y: MARGIN };
    column.text(&first.title, TITLE_COLUMNS, TITLE)?;
    for Part { sheet, qr, side } in parts {
        column.gap();
        let y = column.y;
        // Not an SVG within the SVG: not every viewer places that.
        let scale = QR_SIDE.checked_div(*side).unwrap_or(1).max(1);
        writeln!(
            column.out,
            "<g transform=\"translate({MARGIN} {y}) scale({scale})\" {CRISP}>{}</g>",
            **qr
        )?;
        column.y = y.saturating_add(side.saturating_mul(scale));
        for fact in &sheet.facts {
            column.text(fact, COLUMNS, FACT)?;
        }
    }
    column.gap();
    for (step, number) in first.steps.iter().zip(1..) {
        column.text(&format!("{number}. {step}"), COLUMNS, PLAIN)?;
    }
    if !codes.is_empty() {
        column.gap();
        column.text(first.recovery, COLUMNS, PLAIN)?;
        for code in codes {
            column.text(&code.text(), COLUMNS, FACT)?;
        }
    }
    let height = column.y.saturating_add(MARGIN);
    let mut page = Zeroizing::new(String::with_capacity(ROOM));
    write!(
        page,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" xml:lang=\"{}\" width=\"{WIDTH}pt\" \
         height=\"{height}pt\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <title>{}</title>\n<path fill=\"#fff\" d=\"M0 0h{WIDTH}v{height}H0z\"/>\n{}</svg>\n",
        language.word(),
        *escaped(&first.title),
        *body
    )?;
    Ok(page)
}

/// In lines of so many columns, broken between words where there are any.
fn wrapped(text: &str, columns: usize) -> Vec<Zeroizing<String>> {
    let line = || Zeroizing::new(String::with_capacity(columns.saturating_mul(8)));
    let (mut lines, mut current, mut used) = (Vec::new(), line(), 0_usize);
    for word in text.split_inclusive(' ') {
        let needed = word.trim_end().chars().map(columns_of).sum::<usize>();
        if used > 0 && used.saturating_add(needed) > columns {
            lines.push(std::mem::replace(&mut current, line()));
            used = 0;
        }
        for letter in word.chars() {
            if used >= columns {
                lines.push(std::mem::replace(&mut current, line()));
                used = 0;
            }
            current.push(letter);
            used = used.saturating_add(columns_of(letter));
        }
    }
    lines.push(current);
    lines
}

/// Roughly: too wide only breaks a line early.
const fn columns_of(letter: char) -> usize {
    if letter < '\u{1100}' { 1 } else { 2 }
}
