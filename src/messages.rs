//! What a login, or a sheet of paper before it, says to the user, in their
//! language. Each text explains itself: many programs show one prompt and
//! nothing else.
//!
//! The English text is the key to the translations in `po/`, as with gettext.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::code::RecoveryCode;
use crate::config::{Config, Language};
use crate::enrollment::{Canvas, Enrollment, QrText};
use crate::login::Prompt;

const CODE: &str = "One-time code: ";
const SET_UP: &str = "One-time code (Enter to skip): ";
const SET_UP_REQUIRED: &str = "First one-time code from your app: ";
const COMBINED: &str = "Password and one-time code together: ";
const AGAIN: &str = "Wrong code. ";
const ADD: &str = "Add {issuer}, account {user}, to your authenticator app:";
const KEY: &str = "Key: {key}";
const KEY_TOO: &str = "Key: {key} (type it if the app cannot read it)";
const TOO_LARGE: &str = "The QR code does not fit this screen: type the key into the app.";
const PARAMETERS: &str = "Settings: {parameters}";
const DEADLINE: &str = "Set it up before {date}; after that you cannot log in.";
const ACTIVATED: &str =
    "One-time codes are on now: from the next login on you need your password and a code.";
const LOCKED: &str = "Too many wrong codes. Try again later.";
const RECOVERY: &str = "If you lose your phone, each of these recovery codes works once in place \
                        of a code. Keep them on paper:";
const RECOVERED: &str = "You used a recovery code; {left} are left.";
#[cfg(any(test, feature = "daemon"))]
const OWN_KEEP: &str = "Press Enter when they are on paper; older ones no longer work then: ";
#[cfg(any(test, feature = "daemon"))]
const OWN_RECOVERY: &str = "These recovery codes are valid now.";
#[cfg(any(test, feature = "daemon"))]
const OWN_NEW_CODE: &str = "Code that the new app shows: ";
#[cfg(any(test, feature = "daemon"))]
const OWN_RENEWED: &str = "The new app is in force; codes of the old one no longer work.";
#[cfg(any(test, feature = "daemon"))]
const OWN_UNCHANGED: &str = "Nothing was changed. What you had before still works.";
#[cfg(any(test, feature = "tool"))]
const SHEET: &str = "One-time codes for {issuer}";
#[cfg(any(test, feature = "tool"))]
const ISSUER: &str = "Issuer: {issuer}";
#[cfg(any(test, feature = "tool"))]
const ACCOUNT: &str = "Account: {user}";
#[cfg(any(test, feature = "tool"))]
const SCAN: &str = "Install an authenticator app on your phone, and scan this QR code with it or \
                    type in the key.";
#[cfg(any(test, feature = "tool"))]
const LOG_IN: &str = "At your next login, give your password and the code that the app shows.";
#[cfg(any(test, feature = "tool"))]
const FROM_THEN_ON: &str = "From then on every login needs a code; let nobody else see this sheet.";

/// All texts, for the test that each is translated.
#[cfg(test)]
const ALL: [&str; 26] = [
    CODE,
    SET_UP,
    SET_UP_REQUIRED,
    COMBINED,
    AGAIN,
    ADD,
    KEY,
    KEY_TOO,
    TOO_LARGE,
    PARAMETERS,
    DEADLINE,
    ACTIVATED,
    LOCKED,
    RECOVERY,
    RECOVERED,
    OWN_KEEP,
    OWN_RECOVERY,
    OWN_NEW_CODE,
    OWN_RENEWED,
    OWN_UNCHANGED,
    SHEET,
    ISSUER,
    ACCOUNT,
    SCAN,
    LOG_IN,
    FROM_THEN_ON,
];

/// Language, English text and translation, from the PO files, each with a US (31) at its end.
const TRANSLATIONS: &str = include!(concat!(env!("OUT_DIR"), "/translations.rs"));

/// The entries of that.
fn translations() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut parts = TRANSLATIONS.split_terminator('\u{1f}');
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?, parts.next()?)))
}

fn say(language: Language, english: &'static str) -> &'static str {
    let code = language.word();
    if language == Language::En {
        return english;
    }
    let mut entries = translations();
    let entry = entries.find(|(language, key, _)| *language == code && *key == english);
    entry.map_or(english, |(_, _, translation)| translation)
}

/// The prompt for a code.
#[must_use]
pub fn prompt(prompt: Prompt, config: &Config) -> Cow<'_, str> {
    let language = config.login.language;
    let own = &config.login.prompt;
    Cow::Borrowed(match prompt {
        Prompt::Code if own.is_empty() || config.login.is_combined() => say(language, CODE),
        Prompt::Code => own,
        Prompt::SetUp => say(language, SET_UP),
        Prompt::SetUpRequired => say(language, SET_UP_REQUIRED),
    })
}

/// The prompt after a wrong code.
#[must_use]
pub fn prompt_again(which: Prompt, config: &Config) -> String {
    format!("{}{}", say(config.login.language, AGAIN), prompt(which, config))
}

/// The prompt for password and code in one answer.
#[must_use]
pub fn prompt_combined(language: Language) -> &'static str {
    say(language, COMBINED)
}

/// Shown once, when the first code has succeeded.
#[must_use]
pub fn activated(language: Language) -> &'static str {
    say(language, ACTIVATED)
}

/// Shown to somebody who knows the password of a locked account.
#[must_use]
pub fn locked(language: Language) -> &'static str {
    say(language, LOCKED)
}

/// Shown to somebody who has just used a recovery code.
#[must_use]
pub fn recovered(left: usize, language: Language) -> String {
    say(language, RECOVERED).replace("{left}", &left.to_string())
}

/// Asked before new recovery codes of the user's own are in force.
#[cfg(feature = "daemon")]
#[must_use]
pub fn own_keep(language: Language) -> &'static str {
    say(language, OWN_KEEP)
}

/// Shown once they are.
#[cfg(feature = "daemon")]
#[must_use]
pub fn own_recovery(language: Language) -> &'static str {
    say(language, OWN_RECOVERY)
}

/// The prompt for the code that proves a new token.
#[cfg(feature = "daemon")]
#[must_use]
pub fn own_new_code(language: Language) -> &'static str {
    say(language, OWN_NEW_CODE)
}

/// The same after a wrong one.
#[cfg(feature = "daemon")]
#[must_use]
pub fn own_new_code_again(language: Language) -> String {
    format!("{}{}", say(language, AGAIN), say(language, OWN_NEW_CODE))
}

/// Shown once a new token is in force.
#[cfg(feature = "daemon")]
#[must_use]
pub fn own_renewed(language: Language) -> &'static str {
    say(language, OWN_RENEWED)
}

/// Shown where a change was given up.
#[cfg(feature = "daemon")]
#[must_use]
pub fn own_unchanged(language: Language) -> &'static str {
    say(language, OWN_UNCHANGED)
}

/// Recovery codes, one a line.
#[must_use]
pub fn recovery_codes(codes: &[RecoveryCode], language: Language) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    text.push_str(say(language, RECOVERY));
    for code in codes {
        text.push_str("\n    ");
        text.push_str(&code.text());
    }
    text
}

/// How to set up the app, with the QR code, drawn on `canvas`, and the key. Each text is to
/// be shown by itself, in this order: a QR code has none beside it, since ssh of OpenSSH 9.2
/// and 10.0 cuts each text of an sshd of 10.6 after a thousand bytes, and the key is to be
/// seen all the same.
///
/// The first begins with a newline: ssh puts `(user@host) ` before the first line,
/// which would shift the QR code's first row.
#[must_use]
pub fn invitation(
    enrollment: &Enrollment<'_>,
    language: Language,
    canvas: Option<Canvas>,
) -> Vec<Zeroizing<String>> {
    let add = say(language, ADD)
        .replace("{issuer}", enrollment.issuer)
        .replace("{user}", &enrollment.account());
    // Reserved at once: a string that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(32 * 1024));
    text.push('\n');
    text.push_str(&add);
    text.push('\n');
    // Above the QR code: with key and prompt below, it must fit the screen.
    let facts = [deadline(enrollment, language), parameters(enrollment, language)];
    for fact in facts.into_iter().flatten() {
        text.push_str(&fact);
        text.push('\n');
    }
    match canvas.map(|canvas| enrollment.qr_text(canvas)) {
        Some(QrText::Drawn(drawn)) => {
            text.push_str(&drawn);
            return vec![text, key(enrollment, language, KEY_TOO)];
        }
        Some(QrText::TooLarge) => {
            text.push_str(say(language, TOO_LARGE));
            text.push('\n');
        }
        None => {}
    }
    text.push_str(&key(enrollment, language, KEY));
    vec![text]
}

/// Until when the app must be set up, if there is an end.
fn deadline(enrollment: &Enrollment<'_>, language: Language) -> Option<String> {
    let time = enrollment.deadline?;
    Some(say(language, DEADLINE).replace("{date}", &time.to_minute()))
}

/// What is to be set in the app besides the key, if anything is.
fn parameters(enrollment: &Enrollment<'_>, language: Language) -> Option<String> {
    let parameters = enrollment.parameters()?;
    Some(say(language, PARAMETERS).replace("{parameters}", &parameters))
}

fn key(enrollment: &Enrollment<'_>, language: Language, line: &'static str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    if let Some((before, after)) = say(language, line).split_once("{key}") {
        text.push_str(before);
        text.push_str(&enrollment.key());
        text.push_str(after);
    }
    text
}

/// What is on a sheet for a user who has not enrolled yet, besides the QR
/// code.
#[cfg(feature = "tool")]
#[derive(Debug)]
pub struct Sheet {
    /// The heading, with the name of the issuer.
    pub title: String,
    /// Issuer, account, key, and what else must be known: one line each.
    pub facts: Vec<Zeroizing<String>>,
    /// What the user is to do, in turn.
    pub steps: [&'static str; 3],
    /// What goes above the recovery codes.
    pub recovery: &'static str,
}

#[cfg(feature = "tool")]
impl Sheet {
    /// That of one token.
    #[must_use]
    pub fn of(enrollment: &Enrollment<'_>, language: Language) -> Self {
        let issuer = say(language, ISSUER).replace("{issuer}", enrollment.issuer);
        let account = say(language, ACCOUNT).replace("{user}", &enrollment.account());
        let more = [parameters(enrollment, language), deadline(enrollment, language)];
        let mut facts = vec![Zeroizing::new(issuer), Zeroizing::new(account)];
        facts.push(key(enrollment, language, KEY));
        facts.extend(more.into_iter().flatten().map(Zeroizing::new));
        Self {
            title: say(language, SHEET).replace("{issuer}", enrollment.issuer),
            facts,
            steps: [SCAN, LOG_IN, FROM_THEN_ON].map(|step| say(language, step)),
            recovery: say(language, RECOVERY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::record;
    use crate::account::{Timestamp, UserName};
    use crate::code::{MovingFactor, Period};
    use crate::config::Qr;
    use crate::login::{Invitation, PasswordProof};

    fn holes(text: &str) -> Vec<&str> {
        let mut holes: Vec<_> = text
            .split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(hole, _)| hole)
            .collect();
        holes.sort_unstable();
        holes
    }

    #[test]
    fn every_text_is_translated_with_the_same_holes_and_nothing_else_is() {
        let languages = [Language::De, Language::Fr, Language::Zh];
        for language in languages {
            for text in ALL {
                let translated = say(language, text);
                assert_ne!(translated, text, "{language:?}");
                assert_eq!(holes(translated), holes(text), "{translated}");
                assert!(!translated.contains(char::is_control), "{translated}");
                let ends: &[char] = if text.ends_with(' ') {
                    &[' ', '：', '。']
                } else {
                    &['.', ':', '}', ')', '：', '。', '）']
                };
                assert!(translated.ends_with(ends), "{translated:?}");
            }
            assert_eq!(say(Language::En, CODE), CODE);
        }
        for (code, english, _) in translations().filter(|(_, english, _)| !english.is_empty()) {
            assert!(languages.iter().any(|language| language.word() == code), "{code} is new");
            assert!(ALL.contains(&english), "translated, but never said: {english}");
        }
    }

    /// Lines that a text takes on a terminal of 80 columns.
    fn lines_on_screen(text: &str) -> usize {
        text.lines().map(|line| line.chars().count().div_ceil(80).max(1)).sum()
    }

    #[test]
    fn from_the_qr_code_s_first_row_to_the_prompt_all_is_on_a_screen_of_80_by_24() {
        for (issuer, user) in [(1, 1), (16, 8), (18, 32), (42, 8), (1, 49), (49, 1)] {
            for language in [Language::En, Language::De, Language::Fr, Language::Zh] {
                let mut record = record(MovingFactor::Totp { period: Period::default() });
                record.issuer = "i".repeat(issuer);
                record.user = UserName::new("u".repeat(user)).unwrap();
                record.deadline = Some(Timestamp(1_900_000_000));
                let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
                let enrollment = Enrollment::of(&invitation).next().unwrap();
                let canvas = Canvas::login(Qr::Utf8);
                let texts = super::invitation(&enrollment, language, canvas);
                let [drawn, key] = texts.as_slice() else { panic!("{texts:?}") };
                assert!(key.len() < 1000 && key.contains(&*enrollment.key()), "{key:?}");
                let text = format!("{}\n{}", **drawn, **key);
                let start = text.find('█').unwrap();
                let mut config = Config::default();
                config.login.language = language;
                for which in [Prompt::SetUp, Prompt::SetUpRequired] {
                    // What ssh puts before a prompt.
                    let prompt = format!("(alice@h.example) {}", prompt(which, &config));
                    let lines = lines_on_screen(&text[start..]) + lines_on_screen(&prompt);
                    assert!(lines <= 24, "{lines} lines: {issuer} {user} {language:?}");
                }
            }
        }
    }
}
