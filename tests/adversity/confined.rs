//! The SELinux module of packaging/selinux in the whole of Debian's policy: it is built as
//! an admin builds it, linked with every module that Debian has, and asked who may do what.
//! No kernel enforces it here. What logins do with the store, and that the module allows
//! that, is tests/it/confined.rs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{fetch_packages, finish_within, preflight};

const PACKAGES: &str = "checkpolicy semodule-utils policycoreutils selinux-utils secilc setools \
                        gawk m4 bzip2 selinux-policy-dev selinux-policy-default";

/// Run in a mount namespace, in an empty directory: `$1` is where the packages are, `$2`
/// packaging/selinux, `$3` a file of rules.
const BUILD: &str = r#"
mount -t overlay -o lowerdir="$1/usr:/usr" overlay /usr
mkdir module policy
cp "$2"/onetime.te "$2"/onetime.if "$2"/onetime.fc module
(cd module && make -f /usr/share/selinux/devel/Makefile NAME=default onetime.pp >&2)
for module in /usr/share/selinux/default/*.pp.bz2; do
    bunzip2 -c "$module" | /usr/libexec/selinux/hll/pp >policy/"$(basename "$module" .pp.bz2)".cil
done
/usr/libexec/selinux/hll/pp module/onetime.pp >policy/onetime.cil
cp "$3" policy/promises.cil
# With every neverallow of Debian's policy, and those of the promises.
secilc -o linked -f contexts policy/*.cil >&2
for type in onetime_var_lib_t shadow_t; do
    sesearch -A -t "$type" linked >"$type"
done
sesearch -A -t devlog_t -c sock_file -p write linked >devlog_t
for path in /var/lib/onetime /var/lib/onetime/users/alice.toml /usr/sbin/onetimectl \
    /usr/local/sbin/onetimectl /usr/lib/x86_64-linux-gnu/security/pam_onetime.so \
    /usr/lib64/security/pam_onetime.so /etc/onetime/onetime.toml /var/lib/onetimes; do
    selabel_lookup -r -b file -f contexts -k "$path"
done
"#;

/// Programs that log users in.
const LOGINS: [&str; 14] = [
    "sshd_t",
    "local_login_t",
    "remote_login_t",
    "xdm_t",
    "cockpit_session_t",
    "policykit_auth_t",
    "user_su_t",
    "staff_su_t",
    "sysadm_su_t",
    "sudodomain",
    "chfn_t",
    "newrole_t",
    "run_init_t",
    "vlock_t",
];
/// Admins, and scripts of packages. Who is of the last kind may do anything with any file.
const ADMINS: [&str; 4] = ["sysadm_t", "unconfined_t", "dpkg_script_t", "files_unconfined_type"];

/// Who has nothing to look for there, among others.
const STRANGERS: [&str; 6] = ["user_t", "staff_t", "httpd_t", "crond_t", "named_t", "guest_t"];

/// Rules that hold for each domain, whatever attributes it has.
fn promises() -> String {
    let may = [&LOGINS[..], &ADMINS].concat().join(" ");
    let strangers = STRANGERS.join(" ");
    format!(
        "(typeattribute onetime_writers)\n(typeattributeset onetime_writers ({may}))\n\
         (typeattribute onetime_others)\n\
         (typeattributeset onetime_others (and (domain) (not (onetime_writers))))\n\
         (neverallow onetime_others onetime_var_lib_t\n \
         (file (write append create unlink rename link setattr execute execmod)))\n\
         (neverallow onetime_others onetime_var_lib_t (dir (write add_name remove_name create)))\n\
         (typeattribute onetime_strangers)\n(typeattributeset onetime_strangers ({strangers}))\n\
         (neverallow onetime_strangers onetime_var_lib_t (file (read open getattr lock)))\n"
    )
}

/// An `allow` of sesearch: who may do what with files of that type.
fn allowed<'t>(rules: &'t str, class: &str, permission: &str) -> BTreeSet<&'t str> {
    let of = |line: &'t str| {
        let (who, rest) = line.strip_prefix("allow ")?.split_once(' ')?;
        let (what, permissions) = rest.split_once(' ')?;
        let mut words = permissions.split([' ', '{', '}', ';']);
        (what.ends_with(&format!(":{class}")) && words.any(|word| word == permission))
            .then_some(who)
    };
    rules.lines().filter_map(of).collect()
}

fn read(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|e| panic!("cannot read {name}: {e}"))
}

#[test]
fn the_selinux_module_fits_into_debians_policy_and_opens_the_store_to_logins_and_admins_alone() {
    preflight();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let root = fetch_packages(&target.join("selinux"), PACKAGES);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let promised = directory.path().join("promises");
    fs::write(&promised, promises()).expect("it is written");
    let module = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging/selinux");
    let mut build = Command::new("unshare");
    build.current_dir(directory.path()).env("PATH", crate::common::PATH);
    build.args(["--mount", "--propagation", "private", "--", "sh", "-euc", BUILD, "build"]);
    build.args([&root, &module, &promised]);
    let contexts = finish_within(&mut build, b"", Duration::from_secs(300)).ok();
    let contexts: Vec<_> = contexts.lines().filter_map(|line| line.split(':').nth(3)).collect();
    let [store, tool, library] = ["onetime_var_lib_t", "onetimectl_exec_t", "lib_t"];
    let expected = [store, store, tool, tool, library, library, "etc_t", "var_lib_t"];
    assert_eq!(contexts, expected);

    let rules = read(directory.path(), store);
    let known: BTreeSet<_> = [&LOGINS[..], &ADMINS].concat().into_iter().collect();
    let writers = allowed(&rules, "file", "write");
    assert_eq!(writers, known, "each is in the policy, and has got what it needs");
    for permission in ["read", "open", "lock", "create", "rename", "unlink", "setattr"] {
        let has = allowed(&rules, "file", permission);
        assert!(known.is_subset(&has), "{permission}: {has:?}");
    }
    for permission in ["read", "search", "add_name", "remove_name"] {
        let has = allowed(&rules, "dir", permission);
        assert!(known.is_subset(&has), "{permission}: {has:?}");
    }
    // Backups and what checks files read everything, passwords too.
    let readers = allowed(&rules, "file", "read");
    let passwords = read(directory.path(), "shadow_t");
    let passwords = allowed(&passwords, "file", "read");
    let others: BTreeSet<_> = readers.difference(&known).copied().collect();
    assert!(others.is_subset(&passwords), "{others:?} and {passwords:?}");
    for stranger in STRANGERS {
        assert!(!readers.contains(stranger), "{stranger}");
    }
    let log = read(directory.path(), "devlog_t");
    assert!(allowed(&log, "sock_file", "write").contains("policykit_auth_t"), "{log}");
}
