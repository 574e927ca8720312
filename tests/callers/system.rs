//! Debian systems to run real programs in: for each suite one that debootstrap makes, and
//! over it a layer with the packages of a program. They are kept in `target/callers`, and
//! made again when their packages change.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{finish_within, need};

const MIRROR: &str = "http://deb.debian.org/debian";
/// A mirror may be slow, and others run beside this.
const MAKING: Duration = Duration::from_secs(900);

/// What each suite has in its base: what the stage needs, and the programs of terminals.
const BASE: [&str; 10] = [
    "iproute2",
    "login",
    "passwd",
    "libpam-modules",
    "openssh-server",
    "openssh-client",
    "sudo",
    "opendoas",
    "vlock",
    "cron",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Suite {
    Bookworm,
    Trixie,
    Sid,
}

impl Suite {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// Installs `$5`... over the base `$1`, into the layer `$2`; archives are kept in `$3`.
const LAYER: &str = r#"
base=$1 layer=$2 archives=$3
shift 3
mkdir -p "$layer/upper" "$layer/work" "$layer/root" "$archives"
mount -t overlay -o "lowerdir=$base,upperdir=$layer/upper,workdir=$layer/work" overlay "$layer/root"
cd "$layer/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
(cd /dev && cp -a null zero full random urandom tty ptmx "$layer/root/dev/")
mkdir dev/pts dev/shm
mount --rbind /dev/pts dev/pts
mkdir -p var/cache/apt/archives/partial "$archives/partial"
mount --bind "$archives" var/cache/apt/archives
install() {
    chroot . apt-get install --yes --quiet --no-install-recommends \
        -o Dpkg::Options::=--force-unsafe-io -o APT::Keep-Downloaded-Packages=true "$@"
}
install "$@" || { chroot . apt-get update --quiet && install "$@"; }
"#;

/// The directories of which a system is made, as overlayfs wants them: the topmost first.
pub(crate) struct System(Vec<PathBuf>);

impl System {
    /// A system of this suite with these packages beside those of every system.
    #[track_caller]
    pub(crate) fn with(suite: Suite, packages: &[&str]) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("callers");
        let suite_directory = directory.join(suite.name());
        fs::create_dir_all(&suite_directory)
            .unwrap_or_else(|e| panic!("cannot make {}: {e}", suite_directory.display()));
        let base = kept(&suite_directory.join("base"), &BASE, |base| bootstrap(suite, base));
        if packages.is_empty() {
            return Self(vec![base]);
        }
        let mut packages = packages.to_vec();
        packages.sort_unstable();
        let name: String = packages.join("+").chars().take(100).collect();
        let layer = kept(&suite_directory.join(name), &packages, |layer| {
            let archives = suite_directory.join("archives");
            add(&base, layer, &archives, &packages);
        });
        Self(vec![layer.join("upper"), base])
    }

    pub(crate) fn directories(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|layer| layer.display().to_string()).collect();
        names.join(":")
    }
}

/// What `make` makes at this place, unless it is there with these packages. Others who want
/// the same wait.
#[track_caller]
fn kept(place: &Path, packages: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    let (stamp, lock) = (place.with_extension("stamp"), place.with_extension("lock"));
    let lock = File::create(&lock).unwrap_or_else(|e| panic!("no {}: {e}", lock.display()));
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let wanted = packages.join(" ");
    if fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
        return place.to_owned();
    }
    // Layers over a base that changes are of no use.
    drop(fs::remove_file(&stamp));
    if place.exists() {
        fs::remove_dir_all(place)
            .unwrap_or_else(|e| panic!("cannot remove {}: {e}", place.display()));
    }
    if place.ends_with("base") {
        remove_stamps(place.parent().expect("a suite's directory"));
    }
    fs::create_dir_all(place).unwrap_or_else(|e| panic!("no {}: {e}", place.display()));
    make(place);
    fs::write(&stamp, wanted).expect("a stamp");
    place.to_owned()
}

fn remove_stamps(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "stamp") {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[track_caller]
fn bootstrap(suite: Suite, base: &Path) {
    need("debootstrap", "debootstrap debian-archive-keyring");
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={}", BASE.join(","))]);
    finish_within(debootstrap.args([suite.name()]).arg(base).arg(MIRROR), b"", MAKING).ok();
    fs::set_permissions(base, fs::Permissions::from_mode(0o755)).expect("it can be opened");
    // Nothing is started there.
    let policy = base.join("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").expect("a policy");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755)).expect("it can be run");
}

#[track_caller]
fn add(base: &Path, layer: &Path, archives: &Path, packages: &[&str]) {
    let mut add = Command::new("unshare");
    add.env_clear().env("PATH", crate::common::PATH).env("DEBIAN_FRONTEND", "noninteractive");
    add.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]);
    add.args(["--", "sh", "-euc", LAYER, "layer"]).args([base, layer, archives]);
    finish_within(add.args(packages), b"", MAKING).ok();
}
