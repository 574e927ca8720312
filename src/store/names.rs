//! User names as file names: their bytes percent-encoded, so that no name is a path, a
//! hidden file or another name's twin.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::account::UserName;
use crate::bytes_as_text::{to_bytes, to_text};

/// NAME_MAX of Linux, less the room for an ending.
const MAX_BYTES: usize = 240;

/// All but lowercase letters, digits, `_` and `-`. Uppercase too: a file
/// system may not distinguish it from lowercase.
const ENCODED: AsciiSet = {
    let mut set = NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    let mut letter = b'A';
    while letter <= b'Z' {
        set = set.add(letter);
        letter += 1;
    }
    set
};

/// The file name for `user`; `None` if it gets too long to be one.
pub(super) fn encode(user: &UserName) -> Option<Cow<'_, str>> {
    let encoded = match to_bytes(user.as_str()) {
        Cow::Borrowed(bytes) => Cow::from(percent_encode(bytes, &ENCODED)),
        Cow::Owned(bytes) => Cow::Owned(percent_encode(&bytes, &ENCODED).to_string()),
    };
    (encoded.len() <= MAX_BYTES).then_some(encoded)
}

/// The user whose file name this is; `None` if it is nobody's.
pub(super) fn decode(file: &str) -> Option<UserName> {
    let name: Vec<u8> = percent_decode_str(file).collect();
    let user = UserName::new(to_text(&name)).ok()?;
    // Only the one way in which `encode` writes it.
    (encode(&user)? == file).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_become_harmless_file_names() {
        for (name, file) in [
            ("alice", "alice"),
            ("../../x", "%2E%2E%2F%2E%2E%2Fx"),
            ("a/b", "a%2Fb"),
            (".", "%2E"),
            ("%2e", "%252e"),
            ("Alice", "%41lice"),
            ("ü", "%C3%BC"),
            ("svc$", "svc%24"),
            (&to_text(b"b\xFCcher"), "b%FCcher"),
            (&to_text("\u{10FFFC}".as_bytes()), "%F4%8F%BF%BC"),
        ] {
            assert_eq!(encode(&UserName::new(name).unwrap()).as_deref(), Some(file));
        }
        assert_eq!(encode(&UserName::new("Ä".repeat(100)).unwrap()), None);
    }

    #[test]
    fn file_names_that_encode_does_not_write_are_nobodys() {
        for file in ["", "%2e", "Alice", "%61lice", "%", "%4", "%ff", "\u{ff}", "a.b", "%0A"] {
            assert_eq!(decode(file), None, "{file}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_encoding_is_injective(
            name in prop::collection::vec(prop_oneof![b' '..0x7F, 0x80_u8..], 1..40)
        ) {
            let user = UserName::new(to_text(&name));
            prop_assume!(user.is_ok());
            let user = user.unwrap();
            if let Some(file) = encode(&user) {
                prop_assert!(!file.contains(['/', '.', '\0']));
                prop_assert_eq!(decode(&file), Some(user));
            }
        }
    }
}
