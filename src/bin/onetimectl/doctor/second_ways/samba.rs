//! Samba: it checks passwords itself, and asks PAM for no authentication.

use std::collections::BTreeSet;

use super::super::finding::{Finding, FindingId};
use super::{ConfigLines, ProgramFiles};

const FILE: &str = "/etc/samba/smb.conf";

pub(super) fn judge(users: &BTreeSet<String>, machine: &ProgramFiles<'_>) -> Vec<Finding> {
    let include = |line: &str| {
        let (key, value) = line.split_once('=')?;
        is_key(key, "include").then(|| value.trim().trim_matches('"').to_owned())
    };
    // Clients have the file too.
    if users.is_empty() || !(machine.is_program)("smbd") {
        return Vec::new();
    }
    let Some(lines) = ConfigLines::read(FILE, machine, &include) else { return Vec::new() };
    let obeys = lines.lines.iter().rev().find_map(|line| {
        let (key, value) = line.text.split_once('=')?;
        let yes = ["yes", "true", "1", "on"].contains(&value.trim().to_lowercase().as_str());
        is_key(key, "obeypamrestrictions").then(|| yes.then(|| line.place()))
    });
    let of_pam = match obeys.flatten() {
        Some(place) => format!(" (obey pam restrictions, {place}, is about account and session)"),
        None => format!(" ({FILE})"),
    };
    let what = format!(
        "smbd checks passwords of its own, and never asks PAM for a code: a password alone lets \
         in{of_pam}"
    );
    let remedy = "if that is not meant: end smbd, or say in smb.conf who may use it (valid users, \
                  hosts allow); smbpasswd -x takes a user's password away";
    let found = Finding::new(FindingId::SambaWithoutCode, what, remedy);
    lines.unreadable("Samba").into_iter().chain([found]).collect()
}

/// Whether this is the key, of which case and blanks do not matter.
fn is_key(key: &str, wanted: &str) -> bool {
    let key: String = key.chars().filter(|c| !c.is_whitespace()).collect();
    key.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::super::tests::judged;
    use super::*;

    #[test]
    fn that_samba_asks_for_no_code_is_said_with_the_line_that_looks_as_if_it_did() {
        const MAIN: &str = "/etc/samba/smb.conf";
        for (text, named) in [
            ("[global]\n workgroup = X\n", "(/etc/samba/smb.conf)"),
            ("[global]\n Obey PAM Restrictions = Yes\n", "smb.conf:2, is about"),
            ("[global]\ninclude = /etc/samba/a.conf\n", "a.conf:1, is about"),
            ("[global]\n; obey pam restrictions = yes\n", "(/etc/samba/smb.conf)"),
        ] {
            let files = [(MAIN, text), ("/etc/samba/a.conf", "obeypamrestrictions=1")];
            let found = judged(&["sshd"], &files);
            let [(FindingId::SambaWithoutCode, what)] = found.as_slice() else {
                panic!("{found:?}")
            };
            assert!(what.contains(named), "{what}");
            assert_eq!(judged(&[], &files), []);
        }
        assert_eq!(judged(&["sshd"], &[]), []);
    }
}
