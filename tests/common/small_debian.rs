//! A small Debian of each suite, made by debootstrap once and kept in `target/debian`: what
//! needs a whole system makes a copy of it. And how tests keep what takes long to make.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::finish_within;

/// A mirror may be slow, and other tests run beside this.
const MAKING: Duration = Duration::from_secs(900);
/// After a week the mirror may no longer have what the lists of packages name.
const AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is in this new directory from now on: a system in which nothing is started.
#[track_caller]
pub fn copy_of_small_debian(suite: &str, directory: &Path) {
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(small_debian(suite).join(".")).arg(directory);
    finish_within(&mut copy, b"", MAKING).ok();
}

#[track_caller]
fn small_debian(suite: &str) -> PathBuf {
    super::need("debootstrap", "debootstrap debian-archive-keyring");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("debian").join(suite);
    kept(&place, "minbase", Some(AGE), |place| {
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", suite]).arg(place);
        finish_within(&mut debootstrap, b"", MAKING).ok();
        let policy = place.join("usr/sbin/policy-rc.d");
        fs::write(&policy, "#!/bin/sh\nexit 101\n").expect("a policy");
        for path in [place, &policy] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
        }
    })
}

/// The directory that `make` makes at this place, unless it is there, made of the same
/// (`what`), and no older than `age`. Others who want it wait.
#[track_caller]
pub fn kept(place: &Path, what: &str, age: Option<Duration>, make: impl FnOnce(&Path)) -> PathBuf {
    let parent = place.parent().expect("a place in a directory");
    fs::create_dir_all(parent).unwrap_or_else(|e| panic!("no {}: {e}", parent.display()));
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", place.display()));
    let (stamp, lock) = (beside("stamp"), beside("lock"));
    let lock = File::create(&lock).unwrap_or_else(|e| panic!("no {}: {e}", lock.display()));
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let is_young = |stamp: &Path| {
        let made = stamp.metadata().and_then(|it| it.modified()).ok();
        let has = made.and_then(|made| made.elapsed().ok());
        age.is_none_or(|age| has.is_some_and(|has| has < age))
    };
    if fs::read_to_string(&stamp).is_ok_and(|had| had == what) && is_young(&stamp) {
        return place.to_owned();
    }
    drop(fs::remove_file(&stamp));
    if place.exists() {
        fs::remove_dir_all(place)
            .unwrap_or_else(|e| panic!("cannot remove {}: {e}", place.display()));
    }
    fs::create_dir(place).unwrap_or_else(|e| panic!("no {}: {e}", place.display()));
    make(place);
    fs::write(&stamp, what).expect("a stamp");
    place.to_owned()
}
