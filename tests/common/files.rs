//! Files of other systems that are below a directory of this one.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use super::process::finish;

/// Writes a file of root's, for all to read; directories are made.
#[track_caller]
pub fn write_file(place: &Path, text: &str) {
    fs::create_dir_all(place.parent().expect("a file is in a directory"))
        .and_then(|()| fs::write(place, text))
        .and_then(|()| chown(place, Some(0), Some(0)))
        .unwrap_or_else(|e| panic!("cannot write {}: {e}", place.display()));
}

/// By another process: a descriptor open for writing here would be inherited by
/// whatever another thread starts meanwhile, and the file be busy.
#[track_caller]
pub fn copy_file(from: &Path, place: &Path, mode: u32) {
    let mut install = Command::new("install");
    install.args(["-m", &format!("{mode:o}")]).arg(from).arg(place);
    finish(&mut install, b"").ok();
}
