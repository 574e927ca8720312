//! Names of users are bytes to the system, mostly text in UTF-8, but not always: Latin-1
//! from another time, say. Here they are text all the same, without loss, so that no two
//! names are taken for each other: a byte that is no part of UTF-8 becomes a character of
//! a range that nobody has a use for (as Python's `surrogateescape` does). What is text
//! already stays as it is, unless it has characters of that range itself.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// The character that stands for byte 0x00; those for the other bytes follow. The last 256
/// of the private ones of plane 16.
const FIRST: u32 = 0x10_FF00;

/// The text for these bytes: another one for all others.
#[must_use]
pub fn to_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match byte_of(character) {
                None => text.push(character),
                // It would read as a byte: its own bytes, one by one.
                Some(_) => {
                    let mut buffer = [0; 4];
                    text.extend(character.encode_utf8(&mut buffer).bytes().filter_map(stand_in));
                }
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(stand_in));
    }
    text
}

/// The bytes of a text that [`to_text`] made. Other text is its own bytes, but for the
/// characters of that range.
#[must_use]
pub fn to_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.chars().any(|character| byte_of(character).is_some()) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The one text that stands for the bytes of this one: a character of the range that was
/// not needed is another way to write a name.
#[must_use]
pub fn canonical(text: String) -> String {
    match to_bytes(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(bytes) => to_text(&bytes),
    }
}

/// A text as people see it, with `\xE9` for a byte that is no part of UTF-8, and
/// `\u{202e}` for what would move the cursor, turn the direction of writing around or
/// not be seen at all: a name or a path must not write over an admin's terminal.
pub struct Readable<'a>(pub &'a str);

impl fmt::Display for Readable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match byte_of(character) {
            Some(byte) => write!(f, "\\x{byte:02X}"),
            None if is_unseen(character) => write!(f, "{}", character.escape_unicode()),
            None => f.write_char(character),
        })
    }
}

/// Whether a character shows nothing, and changes how others are shown.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The byte that a character stands for; `None` for all but 256.
#[must_use]
pub fn byte_of(character: char) -> Option<u8> {
    u32::from(character).checked_sub(FIRST).and_then(|byte| u8::try_from(byte).ok())
}

fn stand_in(byte: u8) -> Option<char> {
    char::from_u32(FIRST.saturating_add(u32::from(byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_utf_8_stays_as_it_is_and_what_is_not_is_shown_in_hexadecimal() {
        for (bytes, shown) in [
            (&b"alice"[..], "alice"),
            ("b\u{fc}cher".as_bytes(), "b\u{fc}cher"),
            (b"b\xFCcher", "b\\xFCcher"),
            (b"\xFF", "\\xFF"),
            ("\u{10FFE9}".as_bytes(), "\\xF4\\x8F\\xBF\\xA9"),
            ("a\u{202e}b\u{1b}[2J".as_bytes(), "a\\u{202e}b\\u{1b}[2J"),
            ("\u{7f}\u{9b}\u{2066}\u{200b}".as_bytes(), "\\u{7f}\\u{9b}\\u{2066}\\u{200b}"),
        ] {
            let text = to_text(bytes);
            assert_eq!(Readable(&text).to_string(), shown);
            assert_eq!(*to_bytes(&text), *bytes);
        }
        assert_eq!(to_text("b\u{fc}cher".as_bytes()), "b\u{fc}cher");
        // Written byte by byte, although it is UTF-8.
        assert_eq!(canonical("b\u{10FFC3}\u{10FFBC}cher".to_owned()), "b\u{fc}cher");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let text = to_text(&bytes);
            prop_assert_eq!(&*to_bytes(&text), &*bytes);
        }

        #[test]
        fn any_text_comes_back_and_is_itself_outside_of_the_range(text in "\\PC{0,20}") {
            let encoded = to_text(text.as_bytes());
            prop_assert_eq!(canonical(encoded.clone()), encoded.clone());
            prop_assert_eq!(&*to_bytes(&encoded), text.as_bytes());
            if !text.chars().any(|character| byte_of(character).is_some()) {
                prop_assert_eq!(encoded, text);
            }
        }
    }
}
