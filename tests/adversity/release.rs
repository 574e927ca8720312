//! From a commit to another machine: the source of a release is the same whoever makes it,
//! builds without network, and what it builds is what this checkout builds, byte for byte,
//! though cargo, its crates and the source are in other folders. And it can be signed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Figures, finish, finish_within, module_path};

/// On a slow machine that has other things to do, building takes its time.
const BUILDING: Duration = Duration::from_secs(1800);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program in a directory; cargo below it decides alone where it builds.
fn run_in(dir: &Path, words: &[&str], set: &[(&str, &Path)]) -> String {
    let mut command = Command::new(words[0]);
    command.current_dir(dir).args(&words[1..]).env_remove("CARGO_TARGET_DIR");
    command.envs(set.iter().copied());
    finish_within(&mut command, b"", BUILDING).ok()
}

/// Has `packaging/dist` write the source of a release, which is found below `out`.
fn dist(of: &Path, out: &Path, umask: &str, set: &[(&str, &Path)]) -> PathBuf {
    let script = format!("umask {umask}; exec sh packaging/dist \"$0\"");
    // Packed faster than for a real release: what is packed is the same.
    let set = [&[("XZ_OPT", Path::new("-0"))], set].concat();
    let said = run_in(of, &["sh", "-euc", &script, &out.display().to_string()], &set);
    PathBuf::from(said.lines().last().expect("the name of the file"))
}

#[test]
fn the_source_of_a_release_is_always_the_same_and_builds_without_network_what_is_built_here() {
    let started = Instant::now();
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let in_place = |name: &str| place.path().join(name);

    let source = dist(root(), &in_place("one"), "022", &[]);
    let clone = in_place("a clone").display().to_string();
    run_in(root(), &["git", "clone", "--quiet", "--no-hardlinks", ".", &clone], &[]);
    // Short, for the sockets in it.
    let keys = tempfile::tempdir().expect("a directory");
    let gpg = |words: &[&str]| {
        let words = [&["gpg", "--batch", "--quiet"], words].concat();
        run_in(keys.path(), &words, &[("GNUPGHOME", keys.path())])
    };
    gpg(&["--passphrase", "", "--quick-generate-key", "releases@example.org", "ed25519"]);
    let signing = [
        ("GNUPGHOME", keys.path()),
        ("SIGN_KEY", Path::new("releases@example.org")),
        ("TZ", Path::new("Asia/Tokyo")),
    ];
    let again = dist(Path::new(&clone), &in_place("two"), "077", &signing);
    let signature = format!("{}.asc", again.display());
    gpg(&["--verify", &signature, &source.display().to_string()]);
    run_in(keys.path(), &["gpgconf", "--kill", "all"], &[("GNUPGHOME", keys.path())]);
    assert!(!Path::new(&format!("{}.asc", source.display())).exists(), "signed without a key");
    let bytes = |file: &Path| fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(bytes(&source) == bytes(&again), "not the same: {source:?}, {again:?}");
    let dist_took = started.elapsed();

    run_in(place.path(), &["tar", "xf", &source.display().to_string()], &[]);
    let unpacked = in_place(&format!("pam-onetime-{}", env!("CARGO_PKG_VERSION")));
    let home = in_place("cargo-home");
    run_in(&unpacked, &["unshare", "--net", "make"], &[("CARGO_HOME", &home)]);
    let dest = in_place("dest");
    let install = ["make", "install", "PREFIX=/usr", "PAMDIR=/security"];
    run_in(&unpacked, &install, &[("DESTDIR", &dest)]);
    let installed = |file: &str| bytes(&dest.join(file));

    let tool = ["build", "--locked", "--release", "--bin=onetimectl"];
    finish_within(Command::new(env!("CARGO")).current_dir(root()).args(tool), b"", BUILDING).ok();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let built = [
        ("pam_onetime.so", bytes(module_path()), installed("security/pam_onetime.so")),
        ("onetimectl", bytes(&target.join("release/onetimectl")), installed("usr/sbin/onetimectl")),
    ];
    let took = started.elapsed() - dist_took;
    let mut figures = Figures::new(
        "release",
        &[
            "built twice",
            "bytes",
            "bytes that differ",
            "seconds for the source",
            "seconds to build",
        ],
    );
    for (name, here, there) in built {
        assert!(here == there, "{name} is another one there; is everything committed here?");
        let text = String::from_utf8_lossy(&here);
        for path in [env!("CARGO_MANIFEST_DIR"), "/registry/src/", "/.cargo/", "vendor/"] {
            assert!(!text.contains(path), "{name} has {path} in it");
        }
        figures.row(&[&name, &here.len(), &0, &dist_took.as_secs(), &took.as_secs()]);
    }
    figures.publish();
    let help = finish(Command::new(dest.join("usr/sbin/onetimectl")).arg("--version"), b"").ok();
    assert_eq!(help.trim(), concat!("onetimectl ", env!("CARGO_PKG_VERSION")));
}
