//! What the integration tests need: a private world to log in to, terminals,
//! screens, a real sshd, a real second implementation of the codes. Every test
//! file says `mod common;` and uses what it needs; nothing here judges the module.
//! Needs root and the programs listed in `PROGRAMS`: `make test` brings both.
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each program for tests compiles all of this and uses a part of it"
)]
mod client;
mod daemon;
mod figures;
mod files;
mod foreign;
mod host;
mod installed;
mod oath;
mod pamtester;
mod picture;
mod process;
mod pty;
mod screen;
mod small_debian;
mod sshd;
mod syslog;
mod world;
mod xterm;

pub use client::{
    AUTH_ERR, AUTHINFO_UNAVAIL, Answers, Client, ClientRun, Event, MAXTRIES, MODULE_UNKNOWN,
    PERM_DENIED, SERVICE_ERR, SUCCESS, example,
};
pub use daemon::{Daemon, LOCKER, with_locker};
pub use figures::{Figures, extent, into_place, long, when_and_where};
pub use files::{copy_file, write_file};
pub use foreign::{Kdc, Sssd, fetch_packages, foreign_root, python_programs, with_foreign};
pub use host::Host;
pub use installed::{
    activate, conf, configuration, current_code, enable, hasty, install, installed, sealed, secret,
    secret_in, shown_at_login, state_file, with_services_of_tests,
};
pub use oath::{Algorithm, Phone, TotpOptions, code, code_at, hotp_code, since_epoch};
pub use pamtester::{Pamtester, PamtesterRun};
pub use picture::{rasterise, scan};
pub use process::{
    Finished, PATIENCE, assert_ends, finish, finish_within, status_of, until, wait_within,
};
pub use pty::{Heard, Pattern, Pty};
pub use screen::{Screen, Theme, decode_qr};
pub use small_debian::{copy_of_small_debian, kept};
pub use sshd::Sshd;
pub use syslog::{Sink, SyslogLine};
pub use world::{
    ALICE_PASSWORD, BOB_PASSWORD, CAROL_PASSWORD, ROOT_PASSWORD, World, modules_directory,
};
pub use xterm::{Photograph, Xterm};

use std::collections::BTreeMap;
use std::env;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// Each program that the harness starts, and the Debian package that brings it.
pub const PROGRAMS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
    ("logger", "bsdutils"),
    ("login", "login"),
    ("su", "util-linux"),
    ("sudo", "sudo"),
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("pamtester", "pamtester"),
    ("oathtool", "oathtool"),
    ("google-authenticator", "libpam-google-authenticator"),
    ("pskctool", "pskctool"),
    ("strace", "strace"),
    ("zbarimg", "zbar-tools"),
    ("qrencode", "qrencode"),
    ("ZXingReader", "zxing-cpp-tools"),
    ("Xvfb", "xvfb"),
    ("xterm", "xterm"),
    ("cjpeg", "libjpeg-turbo-progs"),
    ("mkfs.ext4", "e2fsprogs"),
    ("systemd-analyze", "systemd"),
];

/// Where programs are looked for, by us and in a world.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Stops a test that cannot run here, with what is missing; a test is never skipped.
pub fn preflight() {
    static REMEDY: OnceLock<Option<String>> = OnceLock::new();
    static CHROOT: OnceLock<bool> = OnceLock::new();
    assert!(
        !CHROOT.get_or_init(is_chroot),
        "these tests do not run in a chroot: use a container, or pivot_root(8) in a mount namespace"
    );
    if let Some(remedy) = REMEDY.get_or_init(what_is_missing) {
        panic!("{remedy}; or run 'make test', which brings all of it");
    }
}

/// Whether nsenter(1), which goes to the root of a mount namespace, comes to another root
/// than ours: worlds would be made of the files of the machine around a chroot(2).
fn is_chroot() -> bool {
    let mut inside = Command::new("nsenter");
    inside.args(["--mount=/proc/self/ns/mnt", "--", "stat", "-L", "-c", "%d %i", "/"]);
    let ours = std::fs::metadata("/").map(|root| format!("{} {}", root.dev(), root.ino()));
    match (inside.output(), ours) {
        (Ok(theirs), Ok(ours)) if theirs.status.success() => {
            String::from_utf8_lossy(&theirs.stdout).trim() != ours
        }
        // Without nsenter or its rights no world is made either.
        _ => false,
    }
}

/// Stops a campaign that cannot run here without this program.
pub fn need(program: &str, package: &str) {
    assert!(
        is_here(program),
        "missing: {program}; apt-get install {package}; or run 'make campaigns', which brings it"
    );
}

fn is_here(program: &str) -> bool {
    PATH.split(':').any(|dir| Path::new(dir).join(program).exists())
}

fn what_is_missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("these tests log in as several users and mount file systems: run them as root, in a container or a virtual machine".into());
    }
    let (programs, packages): (Vec<&str>, Vec<&str>) =
        PROGRAMS.iter().copied().filter(|(program, _)| !is_here(program)).unzip();
    (!programs.is_empty())
        .then(|| format!("missing: {}; apt-get install {}", programs.join(" "), packages.join(" ")))
}

/// The tool as cargo built it for this test run.
pub fn tool_path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_onetimectl"))
}

/// The daemon as cargo built it for this test run.
pub fn daemon_path() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_onetimed"))
}

/// The module, built the way it is shipped: alone, without the tool's features.
pub fn module_path() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build(&["module", "--locked"], "module/libpam_onetime.so"))
}

/// A program of `examples/`, optimised if its caller is; cargo builds what is not built.
pub fn example_path(name: &str) -> PathBuf {
    if cfg!(debug_assertions) { example_of("debug", name) } else { optimised_example_path(name) }
}

/// The module of `examples/` that does what its line in pam.d says.
pub fn odd_module() -> PathBuf {
    let directory = if cfg!(debug_assertions) { "debug" } else { "release" };
    built_example(directory, "pam_odd", "libpam_odd.so")
}

/// The module of `examples/` that writes down how a program uses PAM.
pub fn trace_module() -> PathBuf {
    built_example("debug", "pam_trace", "libpam_trace.so")
}

/// A program of `examples/`, optimised as the module is.
pub fn optimised_example_path(name: &str) -> PathBuf {
    example_of("release", name)
}

fn example_of(directory: &str, name: &str) -> PathBuf {
    built_example(directory, name, name)
}

fn built_example(directory: &str, name: &str, file: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let product = format!("{directory}/examples/{file}");
    let profile = if directory == "debug" { "dev" } else { directory };
    let mut how = vec!["build", "--profile", profile, "--example", name];
    // What a test wants optimised needs nothing of the tool: half of the crates.
    if cfg!(debug_assertions) && directory == "release" {
        how.push("--no-default-features");
    }
    let make = || build(&how, &product);
    built.entry(product.clone()).or_insert_with(make).clone()
}

fn build(how: &[&str], product: &str) -> PathBuf {
    // Cargo put its temporary directory into the target directory in use, whether
    // CARGO_TARGET_DIR or a configuration file chose it.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let lock = File::create(target.join("module.lock"))
        .unwrap_or_else(|e| panic!("cannot create {}/module.lock: {e}", target.display()));
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .unwrap_or_else(|e| panic!("cannot lock {}/module.lock: {e}", target.display()));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(how).args(["--quiet", "--target-dir"]);
    finish_within(cargo.arg(target), b"", Duration::from_secs(900)).ok();
    let product = target.join(product);
    assert!(product.exists(), "cargo built no {}", product.display());
    product
}
