//! Judges the module's file. Bytes and numbers in, findings out.

use super::finding::{Finding, FindingId};

/// Of an ELF header (elf(5)): all that is needed to distinguish one machine's files
/// from another's.
pub(crate) const HEADER_BYTES: usize = 20;
const GROUP_OTHER_WRITE: u32 = 0o022;
/// ET_DYN, in either byte order.
const SHARED_OBJECT: [[u8; 2]; 2] = [[3, 0], [0, 3]];

/// A file or directory that libpam loads from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModulePath<'a> {
    pub(crate) path: &'a str,
    pub(crate) uid: u32,
    pub(crate) mode: u32,
}

impl ModulePath<'_> {
    /// Whoever writes it becomes root at the next login.
    pub(crate) fn judge(self) -> Option<Finding> {
        let Self { path, uid, mode } = self;
        let what = if uid != 0 {
            format!("{path} is owned by uid {uid}")
        } else if mode & GROUP_OTHER_WRITE != 0 {
            format!("{path} has mode {:04o}: others can write it", mode & 0o7777)
        } else {
            return None;
        };
        let remedy = format!("chown root:root {path}; chmod go-w {path}");
        Some(Finding::new(FindingId::ModuleExposed, what, remedy))
    }
}

/// Whether this machine can load what begins with `header`; `own` is the
/// header of a program that runs here, empty if it cannot be read: without /proc.
pub(crate) fn judge_header(path: &str, header: &[u8], own: &[u8]) -> Option<Finding> {
    let is_elf = header.starts_with(b"\x7fELF") && header.len() >= HEADER_BYTES;
    // Class, byte order; kind; machine.
    let part = |bytes: &[u8], from, to| bytes.get(from..to).map(<[u8]>::to_vec);
    let differs = |from, to| part(header, from, to) != part(own, from, to);
    let what = if !is_elf {
        "is not a shared object"
    } else if !own.is_empty() && (differs(4, 6) || differs(18, 20)) {
        "is for another architecture"
    } else if !SHARED_OBJECT.iter().any(|kind| header.get(16..18) == Some(kind)) {
        "is not a shared object"
    } else {
        return None;
    };
    let remedy = "install the module again (make install): libpam refuses every login meanwhile";
    Some(Finding::new(FindingId::ModuleNotLoadable, format!("{path} {what}"), remedy))
}

/// The module is not where libpam looks for it.
pub(crate) fn missing(dir: &str) -> Finding {
    let what = format!("{dir}/pam_onetime.so is not there, beside pam_unix.so");
    Finding::new(
        FindingId::ModuleMissing,
        what,
        format!("install it there (make install PAMDIR={dir})"),
    )
}

/// There is no libpam that could be found.
pub(crate) fn no_libpam() -> Finding {
    let what = "pam_unix.so is in none of the usual directories: where libpam looks is not known";
    Finding::new(
        FindingId::ModuleDirUnknown,
        what,
        "put pam_onetime.so where this system's PAM modules are",
    )
}

/// Nothing is wrong with the module's file.
pub(crate) fn sound(path: &str) -> Finding {
    Finding::sound(FindingId::ModuleSound, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(class: u8, kind: u8, machine: u8) -> Vec<u8> {
        let mut bytes = b"\x7fELF".to_vec();
        bytes.extend([class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, kind, 0, machine, 0]);
        bytes
    }

    #[test]
    fn only_a_shared_object_of_this_architecture_can_be_loaded() {
        let own = header(2, 3, 62);
        for (bytes, what) in [
            (header(2, 3, 62), None),
            (header(2, 2, 62), Some("not a shared object")),
            (header(1, 3, 62), Some("another architecture")),
            (header(2, 3, 183), Some("another architecture")),
            (Vec::new(), Some("not a shared object")),
            (b"#!/bin/sh\necho not a module\n".to_vec(), Some("not a shared object")),
            (header(2, 3, 62)[..10].to_vec(), Some("not a shared object")),
        ] {
            let found = judge_header("m", &bytes, &own).map(|finding| {
                assert_eq!(finding.id, FindingId::ModuleNotLoadable);
                finding.what
            });
            match what {
                None => assert_eq!(found, None),
                Some(what) => assert!(found.unwrap().contains(what)),
            }
        }
        // Without /proc, what this program is for is not known.
        assert_eq!(judge_header("m", &own, &[]), None);
        assert!(judge_header("m", b"#!/bin/sh", &[]).is_some());
    }

    #[test]
    fn nobody_but_root_may_write_it() {
        for (uid, mode, sound) in [
            (0, 0o644, true),
            (0, 0o755, true),
            (1, 0o644, false),
            (0, 0o664, false),
            (0, 0o666, false),
        ] {
            let found = ModulePath { path: "m", uid, mode }.judge().map(|finding| finding.id);
            let expected = (!sound).then_some(FindingId::ModuleExposed);
            assert_eq!(found, expected, "{uid} {mode:o}");
        }
    }

    #[test]
    fn a_module_is_there_missing_or_nobody_knows_where() {
        assert_eq!(sound("m").id, FindingId::ModuleSound);
        assert_eq!(missing("d").id, FindingId::ModuleMissing);
        assert_eq!(no_libpam().id, FindingId::ModuleDirUnknown);
    }
}
