//! The package that was built, and others made of it: of another version or architecture,
//! with other scripts; and small packages that are in its way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::finish;

/// The package of the module, which was built.
#[track_caller]
pub(crate) fn package() -> PathBuf {
    built("libpam-onetime")
}

/// One of the packages that were built.
#[track_caller]
pub(crate) fn built(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("deb");
    let files = fs::read_dir(&dir).into_iter().flatten().flatten().map(|file| file.path());
    let mut files = files.filter(|file| {
        let file = file.file_name().unwrap_or_default().to_string_lossy();
        file.ends_with(".deb") && file.starts_with(&format!("{name}_"))
    });
    let none = || panic!("no {name} in {}: make test-packages", dir.display());
    files.next().unwrap_or_else(none)
}

/// A package being made, as a tree of files.
pub(crate) struct Repacked(TempDir);

impl Repacked {
    /// That of the module, to be changed.
    #[track_caller]
    pub(crate) fn ours() -> Self {
        Self::of("libpam-onetime")
    }

    /// One of ours, to be changed.
    #[track_caller]
    pub(crate) fn of(name: &str) -> Self {
        let tree = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"));
        let mut unpack = Command::new("dpkg-deb");
        finish(unpack.arg("-R").arg(built(name)).arg(tree.0.path().join("tree")), b"").ok();
        tree
    }

    /// A package with no files, with this in its control file.
    #[track_caller]
    pub(crate) fn empty(fields: &str) -> Self {
        let tree = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"));
        fs::create_dir_all(tree.0.path().join("tree/DEBIAN")).expect("a directory");
        let control = format!(
            "Package: other\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\n\
             Description: something else\n{fields}\n"
        );
        tree.write("DEBIAN/control", &control);
        tree
    }

    #[track_caller]
    pub(crate) fn write(&self, path: &str, text: &str) {
        let place = self.0.path().join("tree").join(path);
        fs::write(&place, text).unwrap_or_else(|e| panic!("cannot write {path}: {e}"));
    }

    #[track_caller]
    pub(crate) fn edit(&self, path: &str, edit: impl FnOnce(&str) -> String) {
        let place = self.0.path().join("tree").join(path);
        let text = fs::read_to_string(&place).unwrap_or_else(|e| panic!("no {path}: {e}"));
        let edited = edit(&text);
        assert_ne!(edited, text, "{path}");
        self.write(path, &edited);
    }

    /// Another value of a field.
    #[track_caller]
    pub(crate) fn set(&self, field: &str, value: &str) {
        self.edit("DEBIAN/control", |control| {
            let lines = control.lines().map(|line| match line.split_once(": ") {
                Some((name, _)) if name == field => format!("{field}: {value}\n"),
                _ => format!("{line}\n"),
            });
            lines.collect()
        });
    }

    /// Without a file that it has as configuration.
    #[track_caller]
    pub(crate) fn remove_conffile(&self, path: &str) {
        self.edit("DEBIAN/conffiles", |files| files.replace(&format!("{path}\n"), ""));
        let place = self.0.path().join("tree").join(path.trim_start_matches('/'));
        fs::remove_file(&place).unwrap_or_else(|e| panic!("no {path}: {e}"));
    }

    /// The file of the package.
    #[track_caller]
    pub(crate) fn build(&self) -> PathBuf {
        let file = self.0.path().join("built.deb");
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "-Znone", "--build"]);
        finish(build.arg(self.0.path().join("tree")).arg(&file), b"").ok();
        file
    }
}
