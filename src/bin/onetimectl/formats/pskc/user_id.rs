//! A user's name as a UserId of PSKC, and back.

/// The user's name in a UserId, which RFC 6030 has as a distinguished name
/// (RFC 4514) and others as the name itself.
pub(super) fn user_of(id: &str) -> Result<String, &'static str> {
    let mut parts = vec![String::new()];
    let mut letters = id.chars();
    while let Some(letter) = letters.next() {
        let part = match letter {
            ',' | '+' => {
                parts.push(String::new());
                continue;
            }
            '\\' => letters.next().ok_or("the UserId ends in the middle of an escape")?,
            letter => letter,
        };
        if let Some(last) = parts.last_mut() {
            last.push(part);
        }
    }
    let named = parts.iter().find_map(|part| {
        let (kind, name) = part.split_once('=')?;
        kind.trim().eq_ignore_ascii_case("UID").then(|| name.trim().to_owned())
    });
    match (named, parts.as_slice()) {
        (Some(name), _) if !name.is_empty() => Ok(name),
        (None, [name]) if !name.contains('=') && !name.is_empty() => Ok(name.clone()),
        _ => Err("the UserId is a distinguished name without a UID (--user names the user)"),
    }
}

/// The UserId of a user, as a distinguished name.
pub(crate) fn user_id(user: &str) -> String {
    let mut id = "UID=".to_owned();
    for letter in user.chars() {
        if matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#' | ' ') {
            id.push('\\');
        }
        id.push(letter);
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_user_id_is_a_name_or_a_distinguished_name_with_a_uid() {
        for (id, user) in [
            ("alice", Some("alice")),
            ("UID=alice", Some("alice")),
            ("CN=Alice A,uid=alice,DC=example", Some("alice")),
            ("UID=a\\,b", Some("a,b")),
            ("CN=alice", None),
            ("UID=", None),
            ("", None),
            ("a\\", None),
        ] {
            assert_eq!(user_of(id).ok().as_deref(), user, "{id}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_name_comes_back_from_its_user_id(name in "[^\\s\\pC][^\\pC]{0,20}[^\\s\\pC]") {
            prop_assert_eq!(user_of(&user_id(&name)), Ok(name));
        }
    }
}
