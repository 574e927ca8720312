//! What a login says to the user. Each text explains itself: many programs
//! show one prompt and nothing else.

use zeroize::Zeroizing;

use crate::config::{Config, Qr};
use crate::enrollment::Enrollment;
use crate::login::Prompt;

/// Told once, when the first code has succeeded.
pub const ACTIVATED: &str =
    "One-time codes are on now: from the next login on you need your password and a code.";

/// Told to somebody who knows the password of a locked account.
pub const LOCKED: &str = "Too many wrong codes. Try again later.";

/// The prompt for a code.
#[must_use]
pub fn prompt(prompt: Prompt, config: &Config) -> String {
    match prompt {
        Prompt::Code => config.login.prompt.clone(),
        Prompt::SetUp => {
            "One-time code (Enter to skip until you have set up your app): ".to_owned()
        }
    }
}

/// The prompt after a wrong code.
#[must_use]
pub fn prompt_again(which: Prompt, config: &Config) -> String {
    format!("That was not the right code. {}", prompt(which, config))
}

/// How to set up the app, with the QR code and the key.
///
/// It begins with a newline: ssh puts `(user@host) ` before the first line,
/// which would shift the QR code's first row.
#[must_use]
pub fn invitation(enrollment: &Enrollment<'_>, qr: Qr) -> Zeroizing<String> {
    let Enrollment { issuer, user, .. } = enrollment;
    let drawn = enrollment.qr_text(qr);
    let key = enrollment.key();
    let parameters = enrollment.parameters().map(|text| format!(" ({text})")).unwrap_or_default();
    Zeroizing::new(match drawn {
        Some(drawn) => format!(
            "\nAdd {issuer}, account {user}, to your authenticator app:\n{}\nKey{parameters}: {}",
            *drawn, *key
        ),
        None => format!(
            "\nAdd {issuer}, account {user}, to your authenticator app.\nKey{parameters}: {}",
            *key
        ),
    })
}
