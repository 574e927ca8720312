//! User names as file names: percent-encoded, so that no name is a path, a
//! hidden file or another name's twin.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::account::UserName;

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
    let encoded = Cow::from(utf8_percent_encode(user.as_str(), &ENCODED));
    (encoded.len() <= MAX_BYTES).then_some(encoded)
}

/// The user whose file name this is; `None` if it is nobody's.
pub(super) fn decode(file: &str) -> Option<UserName> {
    let name = percent_decode_str(file).decode_utf8().ok()?;
    let user = UserName::new(name).ok()?;
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
        ] {
            assert_eq!(encode(&UserName::new(name).unwrap()).as_deref(), Some(file));
        }
        assert_eq!(encode(&UserName::new("Ä".repeat(100)).unwrap()), None);
    }

    #[test]
    fn file_names_that_encode_does_not_write_are_nobodys() {
        for file in ["", "%2e", "Alice", "%61lice", "%", "%4", "%FF", "a.b", "%0A"] {
            assert_eq!(decode(file), None, "{file}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn the_encoding_is_injective(name in "\\PC{1,40}") {
            let user = UserName::new(name).unwrap();
            if let Some(file) = encode(&user) {
                prop_assert!(!file.contains(['/', '.', '\0']));
                prop_assert_eq!(decode(&file), Some(user));
            }
        }
    }
}
