//! What libpam itself says of where it looks for services. Bytes in, names out.

/// Where every libpam looks; what comes after it is for the system's vendor.
const FIRST: &str = "/etc/pam.d";
/// Where libpam has looked since 1.2.0.
const SECOND: &str = "/usr/lib/pam.d";

/// The directories in which a libpam looks for a service, the first before the others:
/// what its file has as formats of paths (`_pam_open_config_file`).
pub(super) fn service_dirs(libpam: &[u8]) -> Vec<String> {
    let texts = libpam.split(|byte| *byte == 0).filter_map(|text| std::str::from_utf8(text).ok());
    let dirs = texts.filter_map(|text| text.strip_suffix("/%s"));
    let dirs = dirs.filter(|dir| dir.starts_with('/') && dir.ends_with("/pam.d"));
    let mut dirs: Vec<_> = dirs.map(str::to_owned).collect();
    dirs.sort_by_key(|dir| (dir != FIRST, dir != SECOND));
    dirs.dedup();
    dirs
}

/// Where the libpams of a machine look; where none can be read, the usual directories.
pub(super) fn all_service_dirs(libpams: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    let mut all = Vec::new();
    for dir in libpams.flat_map(|libpam| service_dirs(&libpam)) {
        if !all.contains(&dir) {
            all.push(dir);
        }
    }
    if all.is_empty() { vec![FIRST.to_owned(), SECOND.to_owned()] } else { all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_looked_for_where_this_libpam_looks() {
        let debian = b"\x7fELF\0/usr/lib/pam.d/%s\0%s/%s\0/etc/pam.d/%s\0/etc/pam.d\0\xff\xfe\0";
        let suse = b"\0/usr/etc/pam.d/%s\0/usr/lib/pam.d/%s\0/etc/pam.d/%s\0";
        assert_eq!(service_dirs(debian), ["/etc/pam.d", "/usr/lib/pam.d"]);
        assert_eq!(service_dirs(suse), ["/etc/pam.d", "/usr/lib/pam.d", "/usr/etc/pam.d"]);
        let all =
            |libpams: &[&[u8]]| all_service_dirs(libpams.iter().map(|libpam| libpam.to_vec()));
        assert_eq!(all(&[]), ["/etc/pam.d", "/usr/lib/pam.d"]);
        assert_eq!(all(&[debian, debian]), ["/etc/pam.d", "/usr/lib/pam.d"]);
        assert_eq!(all(&[b"garbage"]), ["/etc/pam.d", "/usr/lib/pam.d"]);
    }
}
