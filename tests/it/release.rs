//! What goes into a release: one version, which each file that names it takes from
//! Cargo.toml; notes, which CHANGELOG.md has; and a module that says nothing of the machine
//! it was built on. The whole way, from a commit to what is installed elsewhere:
//! tests/adversity/release.rs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{assert_ends, finish, module_path};
use regex::Regex;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// As the Debian package is built below `target`.
#[test]
fn a_source_below_another_one_is_built_by_the_same_commands() {
    let below = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let cargo = |folder: &Path| {
        let run = finish(Command::new(env!("CARGO")).arg("--list").current_dir(folder), b"").ok();
        let mut lines = run.lines().filter(|line| line.contains("--profile=module"));
        lines.next().unwrap_or_else(|| panic!("no `cargo module`: {run}")).to_owned()
    };
    fs::create_dir(below.path().join(".cargo")).expect("a directory");
    let config = ".cargo/config.toml";
    fs::copy(root().join(config), below.path().join(config)).expect("a copy");
    let alone = cargo(root());
    assert_eq!(alone.matches("rustc ").count(), 1, "{alone}");
    assert_eq!(cargo(below.path()), alone);
}

/// make and debhelper would take its path for two, after minutes of compiling.
#[test]
fn a_package_is_not_built_in_a_folder_with_a_space_and_that_is_said_at_once() {
    let place = tempfile::tempdir().expect("a directory");
    let place = place.path().join("a b");
    let mut make = Command::new("make");
    make.args(["--no-print-directory", "-C"]).arg(root()).arg("deb");
    let run = finish(make.env("CARGO_TARGET_DIR", &place).env_remove("MAKEFLAGS"), b"");
    assert_ends(&run, 2, &format!("a package cannot be built in {}: ", place.display()));
    assert!(
        run.stderr.contains("\n  -> build it elsewhere: make deb CARGO_TARGET_DIR="),
        "{run:?}"
    );
    assert!(run.stdout.is_empty() && !place.exists(), "{run:?}");
}

// --- version ---

/// How each kind of file names our version, by the end of its path.
const VERSIONED: [(&str, &str); 9] = [
    (".github/ISSUE_TEMPLATE/bug.yml", r"pam-onetime (\S+),"),
    ("fuzz/Cargo.lock", "name = \"pam-onetime\"\nversion = \"(.*)\""),
    ("debian/changelog", r"\Apam-onetime \((?:\d+:)?([^)-]*)"),
    (".spec", r"(?m)^Version:\s*(\S+)"),
    ("PKGBUILD", r"(?m)^pkgver=(\S+)"),
    ("APKBUILD", r"(?m)^pkgver=(\S+)"),
    (".nix", "(?m)^\\s*version = \"(.*)\";"),
    ("galaxy.yml", r"(?m)^version:\s*(\S+)"),
    (".spdx", r"(?m)^PackageVersion:\s*(\S+)"),
];

#[test]
fn each_file_that_names_the_version_names_that_of_cargo_toml() {
    let (mut named, mut dirs) = (0, vec![root().join("packaging")]);
    let mut files: Vec<PathBuf> =
        ["fuzz/Cargo.lock", ".github/ISSUE_TEMPLATE/bug.yml"].map(|file| root().join(file)).into();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
            match entry.path().is_dir() {
                true => dirs.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    for file in files {
        for (end, pattern) in VERSIONED {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            if !file.to_string_lossy().ends_with(end) {
                continue;
            }
            for found in Regex::new(pattern).expect("a pattern").captures_iter(&text) {
                assert_eq!(&found[1], VERSION, "{}: {}", file.display(), &found[0]);
                named += 1;
            }
        }
    }
    assert!(named >= 2, "{named}");
}

// --- notes ---

const CHANGELOG: &str = "# Changelog\n\nWords.\n\n## [Unreleased]\n\n### Fixed\n\n- Nothing.\n\n\
    ## [1.2.0] - 2026-01-02\n\n### Added\n\n- A point\n  in two lines.\n- Another.\n\n\
    ### Security\n\n- A third.\n\n## [1.1.0] - 2026-01-01\n\n- Old.\n\n[1.2.0]: https://example.org\n";

#[test]
fn release_notes_are_the_points_of_a_version_each_in_one_line_and_nothing_is_no_release() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    fs::write(place.path().join("CHANGELOG.md"), CHANGELOG).expect("it is written");
    let notes = |of: &str, word: &str| {
        let manifest = format!("[package]\nversion = \"{of}\"\nrust-version = \"1.88\"\n");
        fs::write(place.path().join("Cargo.toml"), manifest).expect("it is written");
        let script = root().join("packaging/release-notes");
        finish(Command::new("sh").current_dir(place.path()).arg(script).arg(word), b"")
    };
    let expected =
        "### Added\n\n- A point in two lines.\n- Another.\n\n### Security\n\n- A third.\n";
    assert_eq!(notes("1.2.0", "").ok(), expected);
    assert_eq!(notes("1.3.0", "1.2.0").ok(), expected);
    assert_eq!(notes("1.3.0", "1.1.0").ok(), "- Old.\n");
    assert_eq!(notes("1.2.0", "Unreleased").ok(), "### Fixed\n\n- Nothing.\n");
    assert_ends(&notes("1.3.0", ""), 1, "  -> a release renames the heading [Unreleased]");
    assert_ends(&notes("1.2", ""), 1, "CHANGELOG.md has nothing of version 1.2\n");
}

// --- what is published ---

/// A repository with what `packaging/release` reads, and with a tag.
const TAGGED: &str =
    "git init -q -b main; git config user.name a; git config user.email a@example.org
printf '[package]\\nversion = \"1.2.0\"\\n' >Cargo.toml
git add .; git commit -q -m one; git tag v1.2.0; git tag v1.3.0";

/// What stands for `make`, which takes minutes: it writes a source and a package.
const MAKES: &str = "#!/bin/sh
for word; do case $word in DIST=*) echo source >\"${word#DIST=}/it.tar.xz\" ;; esac; done
mkdir -p \"$TARGET/deb\"; echo package >\"$TARGET/deb/it.deb\"
";

#[test]
fn a_release_is_what_its_tag_names_with_notes_and_checksums_and_nothing_else() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let source = place.path().join("source");
    fs::create_dir_all(source.join("packaging")).expect("a directory");
    fs::write(source.join("CHANGELOG.md"), CHANGELOG).expect("it is written");
    for script in ["release", "release-notes"] {
        let script = format!("packaging/{script}");
        fs::copy(root().join(&script), source.join(&script)).expect("a copy");
    }
    let make = place.path().join("make");
    fs::write(&make, MAKES).expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&make, mode).expect("a mode");
    let run = |words: &[&str]| {
        let mut command = Command::new(words[0]);
        command.current_dir(&source).args(&words[1..]).env("MAKE", &make);
        finish(command.env("TARGET", place.path().join("target")), b"")
    };
    run(&["sh", "-euc", TAGGED]).ok();
    let out = place.path().join("out").display().to_string();
    let release = |tag: &str| run(&["sh", "packaging/release", &out, tag]);
    assert_ends(&release(""), 1, "the tag is missing");
    assert_ends(&release("1.2.0"), 1, "Cargo.toml has version 1.2.0\n  -> ");
    assert_ends(&release("v1.3.0"), 1, "the tag is v1.3.0, and Cargo.toml has version 1.2.0");
    fs::write(source.join("more"), "").expect("it is written");
    assert_ends(&release("v1.2.0"), 1, "what is here is not what v1.2.0 is");
    run(&["git", "add", "."]).ok();
    run(&["git", "commit", "-q", "-m", "two"]).ok();
    assert_ends(&release("v1.2.0"), 1, "-> git switch --detach v1.2.0");
    run(&["git", "tag", "-d", "v1.2.0"]).ok();
    assert_ends(&release("v1.2.0"), 1, "there is no tag v1.2.0");
    assert!(!Path::new(&out).exists(), "nothing is written");

    run(&["git", "tag", "-a", "-m", "a release", "v1.2.0"]).ok();
    release("v1.2.0").ok();
    let names = finish(Command::new("ls").arg(&out), b"").ok();
    assert_eq!(names, "NOTES.md\nSHA256SUMS\nit.deb\nit.tar.xz\n");
    let notes = fs::read_to_string(Path::new(&out).join("NOTES.md")).expect("notes");
    assert!(notes.starts_with("### Added\n\n- A point in two lines."), "{notes}");
    let mut check = Command::new("sha256sum");
    check.current_dir(&out).args(["--check", "--strict", "SHA256SUMS"]);
    assert_eq!(finish(&mut check, b"").ok(), "it.deb: OK\nit.tar.xz: OK\n");
    assert_ends(&release("v1.2.0"), 1, "is not empty");
}

// --- how faults are reported ---

#[test]
fn security_insights_lead_to_pages_that_there_are_and_invent_no_address() {
    let script = |url: &str| {
        let words = ["packaging/security-insights", url, "2026-01-02"];
        finish(Command::new("sh").current_dir(root()).args(words), b"")
    };
    let insights = script("https://example.org/we/onetime").ok();
    // What the schema of Security Insights 2.2.0 does not do without.
    for key in [
        "header:\n  schema-version: 2.2.0\n  last-updated: '2026-01-02'\n  last-reviewed: '2026-01-02'\n",
        "\nproject:\n  name: pam-onetime\n",
        "\n  administrators:\n    - name: ",
        "\n  repositories:\n    - name: pam-onetime\n      url: https://example.org/we/onetime\n      comment: ",
        "\n    reports-accepted: true\n    bug-bounty-available: false\n    policy: ",
        "\nrepository:\n  url: https://example.org/we/onetime\n  status: active\n",
        "\n  accepts-change-request: true\n  accepts-automated-change-request: false\n  core-team:\n",
        "\n    expression: MIT OR Apache-2.0\n",
        "\n    assessments:\n      self:\n        comment: ",
    ] {
        assert!(insights.contains(key), "no {key:?} in {insights}");
    }
    assert!(!insights.contains('@'), "{insights}");
    let page = Regex::new(r"/blob/HEAD/(\S+?)(?:#(\S+))?(?:\s|$)").expect("a pattern");
    let pages: Vec<_> = page.captures_iter(&insights).collect();
    assert!(pages.len() >= 8, "{insights}");
    for found in pages {
        let text = fs::read_to_string(root().join(&found[1]));
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", &found[1]));
        let heading = found.get(2).map_or("", |it| it.as_str());
        let has = text.lines().any(|it| it.to_lowercase() == format!("## {heading}"));
        assert!(heading.is_empty() || has, "{}", &found[0]);
    }
    for url in ["", "http://example.org/we/onetime", "https://example.org/we/onetime/"] {
        assert_ends(&script(url), 1, "which repository?");
    }
}

// --- the module ---

#[test]
fn each_place_where_source_can_be_has_a_name_that_is_the_same_on_every_machine() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let home = place.path().canonicalize().expect("it is there");
    let source = home.join("lib/rustlib/src/rust");
    fs::create_dir_all(&source).expect("a directory");
    fs::create_dir(home.join("bin")).expect("a directory");
    // It prints what it is given, a line each, and has no version.
    let compiler = home.join("bin/rustc");
    std::os::unix::fs::symlink("/usr/bin/printf", &compiler).expect("a link");
    let by = |next: &str, directory: &Path| {
        let mut rustc = Command::new(root().join("packaging/rustc"));
        rustc.env("NEXT_RUSTC_WRAPPER", next);
        rustc.current_dir(&home).arg(&compiler).args(["%s\\n", "a b"]);
        rustc.env("CARGO_MANIFEST_DIR", directory).env("OUT_DIR", "/t/out");
        rustc.env("CARGO_PKG_NAME", "it").env("CARGO_PKG_VERSION", "1.2.3");
        rustc.env("RUSTUP_HOME", "/nowhere");
        let said = finish(&mut rustc, b"").ok();
        said.lines().filter(|line| *line != "--remap-path-prefix").map(str::to_owned).collect()
    };
    let at = |directory: &Path| -> Vec<String> { by("", directory) };
    let home = home.display();
    let std = format!("{}=/rustc/", source.display());
    // Where cargo has the crate by another path, through a link.
    let crates: Vec<String> = at(Path::new("/link/it-1.2.3"));
    let name = "/crates/it-1.2.3";
    let mapped = ["a b".to_owned(), format!("{home}={name}")];
    let mapped = [&mapped[..], &[format!("/link/it-1.2.3={name}"), format!("/t/out={name}/out")]];
    assert_eq!(crates[..4], mapped.concat());
    assert!(crates[4..].contains(&std), "{crates:?}");
    fs::create_dir(place.path().join("packaging")).expect("a directory");
    fs::write(place.path().join("packaging/rustc"), "").expect("it is written");
    let ours: Vec<String> = at(place.path());
    assert_eq!(ours[1], format!("{home}=."));
    // As sccache: a program that calls what it is given.
    assert_eq!(by("env", place.path()), ours);
}

#[test]
fn make_calls_our_wrapper_of_rustc_whatever_wrapper_is_set() {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let cargo = place.path().join("cargo");
    let prints = "#!/bin/sh\necho \"${RUSTC_WRAPPER-unset} ${NEXT_RUSTC_WRAPPER-unset} \
                  ${CARGO_BUILD_RUSTC_WRAPPER-unset}\"\n";
    fs::write(&cargo, prints).expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&cargo, mode).expect("a mode");
    let with = |set: &[(&str, &str)], arguments: &[&str]| {
        let mut make = Command::new("make");
        make.current_dir(root()).args(["--silent", "module"]).args(arguments);
        for name in
            ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER", "NEXT_RUSTC_WRAPPER", "MAKEFLAGS"]
        {
            make.env_remove(name);
        }
        make.env("CARGO", &cargo).envs(set.iter().copied());
        finish(&mut make, b"").ok()
    };
    let ours = root().join("packaging/rustc").display().to_string();
    let both = format!("{ours} sccache unset\n");
    // cargo finds ours by .cargo/config.toml.
    let none = "unset unset unset\n";
    assert_eq!(with(&[], &[]), none);
    for name in ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"] {
        let given = |wrapper: &str| with(&[], &[&format!("{name}={wrapper}")]);
        assert_eq!([with(&[(name, "")], &[]), given("")], [none; 2], "{name}");
        let called = [with(&[(name, "sccache")], &[]), given("sccache")];
        assert_eq!(called, [both.as_str(); 2], "{name}");
        // As a make that is called by make.
        let nested = [("RUSTC_WRAPPER", ours.as_str()), ("NEXT_RUSTC_WRAPPER", "sccache")];
        assert_eq!(with(&nested, &[&format!("{name}=sccache")]), both, "{name}");
    }
    assert_eq!(with(&[("RUSTC_WRAPPER", &ours)], &[]), format!("{ours} unset unset\n"));
    let nested = [("RUSTC_WRAPPER", ours.as_str()), ("NEXT_RUSTC_WRAPPER", "sccache")];
    assert_eq!(with(&nested, &[]), both);
}

#[test]
fn no_path_of_the_builders_machine_is_in_the_module() {
    let module = fs::read(module_path()).expect("the module");
    let has =
        |text: &str| aho_corasick::AhoCorasick::new([text]).expect("a text").is_match(&module);
    let home = std::env::var("HOME").expect("cargo has a home");
    let home = format!("{home}/.");
    for path in [env!("CARGO_MANIFEST_DIR"), "/registry/src/", "/rustlib/src/", &home] {
        assert!(!has(path), "{path}: rustc was not called by packaging/rustc (cargo clean)");
    }
}
