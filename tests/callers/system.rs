//! Debian systems to run real programs in: for each suite one that debootstrap makes, and
//! over it a layer with the packages of a program. They are kept in `target/callers`, and
//! made again when their packages change.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{copy_of_small_debian, finish_within, kept};

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

/// Installs `$4`... in the system `$1`, or over it into the layer `$2` if that is named;
/// archives are kept in `$3`.
const INSTALL: &str = r#"
root=$1 layer=$2 archives=$3
shift 3
mkdir -p "$archives/partial"
if test -n "$layer"; then
    mkdir "$layer/upper" "$layer/work" "$layer/root"
    mount -t overlay -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" overlay "$layer/root"
    root=$layer/root
fi
cd "$root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
(cd /dev && cp -a null zero full random urandom tty ptmx "$root/dev/")
mkdir dev/pts dev/shm
mount --rbind /dev/pts dev/pts
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
        let directory = directory.join(suite.name());
        let base = kept(&directory.join("base"), &BASE.join(" "), None, |base| {
            remove_layers(&directory);
            copy_of_small_debian(suite.name(), base);
            install(base, None, &BASE);
        });
        if packages.is_empty() {
            return Self(vec![base]);
        }
        let mut packages = packages.to_vec();
        packages.sort_unstable();
        let name: String = packages.join("+").chars().take(200).collect();
        let layer = kept(&directory.join(name), &packages.join(" "), None, |layer| {
            install(&base, Some(layer), &packages);
        });
        Self(vec![layer.join("upper"), base])
    }

    pub(crate) fn directories(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|layer| layer.display().to_string()).collect();
        names.join(":")
    }
}

/// Layers over a base that changes are of no use.
fn remove_layers(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "stamp") {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[track_caller]
fn install(system: &Path, layer: Option<&Path>, packages: &[&str]) {
    let archives = system.with_file_name("archives");
    // apt locks the archives, and does not wait.
    let lock = archives.with_extension("lock");
    let lock = File::create(&lock).unwrap_or_else(|e| panic!("no {}: {e}", lock.display()));
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let mut install = Command::new("unshare");
    install.env_clear().env("PATH", crate::common::PATH).env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]);
    install.args(["--", "sh", "-euc", INSTALL, "install"]);
    install.args([system, layer.unwrap_or(Path::new("")), &archives]);
    finish_within(install.args(packages), b"", MAKING).ok();
}
