//! From a commit to another machine: the source of a release is the same whoever makes it,
//! builds without network, and what it builds is what this checkout builds, byte for byte,
//! though cargo, its crates and the source are in other folders. And it can be signed. The
//! short form compares the module alone, and builds the tool without optimisation: that
//! takes a quarter of the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Figures, finish, finish_within, long, module_path, need, python_programs};

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

fn bytes(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The source of a release, which was made twice; once with a signature.
fn source(place: &Path) -> PathBuf {
    let source = dist(root(), &place.join("one"), "022", &[]);
    assert!(!source.with_extension("xz.asc").exists(), "signed without a key");

    let clone = place.join("a clone").display().to_string();
    run_in(root(), &["git", "clone", "--quiet", "--no-hardlinks", ".", &clone], &[]);
    let keys = tempfile::tempdir().expect("a directory");
    let gpg = |words: &[&str]| run_in(keys.path(), words, &[("GNUPGHOME", keys.path())]);
    let key = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"];
    gpg(&[&key[..], &["releases@example.org", "ed25519"]].concat());
    let signing = [
        ("GNUPGHOME", keys.path()),
        ("SIGN_KEY", Path::new("releases@example.org")),
        ("TZ", Path::new("Asia/Tokyo")),
    ];
    let again = dist(Path::new(&clone), &place.join("two"), "077", &signing);
    let signature = again.with_extension("xz.asc").display().to_string();
    gpg(&["gpg", "--batch", "--quiet", "--verify", &signature, &source.display().to_string()]);
    gpg(&["gpgconf", "--kill", "all"]);
    assert!(bytes(&source) == bytes(&again), "not the same: {source:?}, {again:?}");
    source
}

/// What Debian's builders do first, with the version `$1`.
const BEGINS: &str = "cp -r packaging/debian debian
printf 'pam-onetime (%s-1) unstable; urgency=low\\n\\n  * It.\\n\\n -- A <a@example.org>  %s\\n' \"$1\" \
    'Sat, 28 Nov 2026 00:00:00 +0000' >debian/changelog
debian/rules clean; rm -r debian";

/// The tool as this checkout builds it for a release.
fn tool() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--locked", "--release", "--bin=onetimectl"]).current_dir(root());
    finish_within(&mut cargo, b"", BUILDING).ok();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    target.join("release/onetimectl")
}

#[test]
fn the_source_of_a_release_is_always_the_same_and_builds_without_network_what_is_built_here() {
    let started = Instant::now();
    need("dh", "debhelper");
    // Not below this checkout, whose configuration cargo would read too.
    let place = tempfile::tempdir().expect("a directory");
    let source = source(place.path());
    let packing = started.elapsed();

    run_in(place.path(), &["tar", "xf", &source.display().to_string()], &[]);
    let unpacked = place.path().join(concat!("pam-onetime-", env!("CARGO_PKG_VERSION")));
    // As Debian's builders begin. Crates have files that look like leftovers, and cargo wants them.
    let version = env!("CARGO_PKG_VERSION");
    run_in(&unpacked, &["sh", "-euc", BEGINS, "sh", version], &[]);
    let home = place.path().join("cargo-home");
    // The module's profile says all this itself.
    let quickly = [
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", Path::new("0")),
        ("CARGO_PROFILE_RELEASE_LTO", Path::new("off")),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", Path::new("16")),
    ];
    let mut set = vec![("CARGO_HOME", home.as_path())];
    set.extend(quickly.into_iter().filter(|_| !long()));
    run_in(&unpacked, &["unshare", "--net", "make"], &set);
    let dest = place.path().join("dest");
    let install = ["make", "install", "PREFIX=/usr", "PAMDIR=/security"];
    run_in(&unpacked, &install, &[("DESTDIR", &dest)]);
    let building = started.elapsed() - packing;

    let built = [
        ("security/pam_onetime.so", Some(module_path().to_owned())),
        ("usr/sbin/onetimectl", long().then(tool)),
    ];
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
    for (file, here) in built {
        let installed = bytes(&dest.join(file));
        let text = String::from_utf8_lossy(&installed);
        let folder = place.path().display().to_string();
        for path in [env!("CARGO_MANIFEST_DIR"), &folder, "/registry/src/", "/.cargo/"] {
            assert!(!text.contains(path), "{file} has {path} in it");
        }
        let Some(here) = here else { continue };
        assert!(installed == bytes(&here), "{file} is another one; is everything committed here?");
        figures.row(&[&file, &installed.len(), &0, &packing.as_secs(), &building.as_secs()]);
    }
    figures.publish();
    let said = finish(Command::new(dest.join("usr/sbin/onetimectl")).arg("--version"), b"").ok();
    assert_eq!(said.trim(), concat!("onetimectl ", env!("CARGO_PKG_VERSION")));
}

/// Prints what is wrong with a bill of materials on standard input, by the schema.
const VALID: &str = "import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
print(JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read()))";

#[test]
fn bills_of_materials_and_workflows_are_valid_to_others_than_us() {
    let programs = python_programs("linters", "packaging/linters.txt").join("bin");
    let place = tempfile::tempdir().expect("a directory");
    let lint = |program: &str, words: &[&str], input: &[u8]| {
        let mut command = Command::new(programs.join(program));
        finish_within(command.args(words).current_dir(root()), input, BUILDING)
    };
    run_in(root(), &["make", "sbom"], &[("DIST", place.path())]);
    for bill in ["pam_onetime.so.cdx.json", "onetimectl.cdx.json"] {
        let bill = bytes(&place.path().join(bill));
        assert_eq!(lint("python", &["-c", VALID], &bill).ok(), "None\n");
        let broken = String::from_utf8(bill).expect("JSON").replace("SHA-256", "SHA-257");
        assert_ne!(lint("python", &["-c", VALID], broken.as_bytes()).ok(), "None\n");
    }
    let workflows = root().join(".github/workflows");
    let mut files = 0;
    for entry in workflows.read_dir().expect("a directory").map(|entry| entry.expect("an entry")) {
        let name = entry.path().display().to_string();
        lint("check-jsonschema", &["--builtin-schema", "vendor.github-workflows", &name], b"").ok();
        let text = fs::read_to_string(entry.path()).expect("a workflow");
        for action in text.lines().filter_map(|line| line.split("uses: ").nth(1)) {
            let (of, pin) = action.split_once('@').unwrap_or((action, ""));
            let hash = pin.split(' ').next().is_some_and(|hash| hash.len() == 40);
            assert!(hash || of.starts_with("./"), "not pinned: {action}");
        }
        files += 1;
    }
    assert_eq!(files, 2, "checks and release");
    let offline = ["--offline", "--no-progress", "--min-severity=medium", ".github/workflows"];
    lint("zizmor", &offline, b"").ok();
}
