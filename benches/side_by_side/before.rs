//! An older build beside this one, in the same run: what has changed since. `make bench
//! BEFORE=COMMIT` builds a commit's module and tool once, into a folder below target;
//! `BEFORE=FILE.so` takes a module as it is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::common::{conf, finish, finish_within};
use crate::field::{Field, OURS_BEFORE, auth_line, stack, user};
use crate::progress;

/// What is measured beside ours where nothing else is named: the build that the targets of the
/// page are about.
pub const USUAL: &str = "5aeebf8";
/// Where nothing is to be measured beside it.
pub const NONE: &str = "none";

/// How long it may be built.
const LIMIT: Duration = Duration::from_secs(1800);

/// Its tool in a world.
pub const TOOL: &str = "/usr/local/sbin/onetimectl-before";

/// Built where no `.cargo/config.toml` of ours is above it: cargo would read both. $1: the
/// folder of the build. $2: cargo.
const BUILD: &str = r#"
mount --bind "$1" /mnt
cd /mnt/source
"$2" module --quiet --locked --target-dir /mnt/target
"$2" build --quiet --locked --release --bin onetimectl --target-dir /mnt/target
"#;

/// An older build.
pub struct Before {
    /// As it is called in the tables.
    pub name: String,
    pub module: PathBuf,
    /// A module that was named by its file comes without one.
    pub tool: Option<Tool>,
}

pub struct Tool {
    pub program: PathBuf,
    /// The configuration that was shipped with it.
    pub conf: String,
}

impl Before {
    /// The build of that name; `None`: none is to be measured, or it cannot be made here, which
    /// is said.
    pub fn find(named: Option<&str>) -> Option<Self> {
        let found = match named {
            Some(NONE) => return None,
            Some(file) if Path::new(file).is_file() => Ok(Self::file(file)),
            Some(commit) => Ok(Self::commit(commit)
                .unwrap_or_else(|why| panic!("BEFORE={commit} cannot be measured: {why}"))),
            None => Self::commit(USUAL),
        };
        found.map_err(|why| eprintln!("without an older build ({USUAL}): {why}")).ok()
    }

    fn file(path: &str) -> Self {
        let module = fs::canonicalize(path).expect("it is there");
        let name = module.file_name().expect("a file has a name").to_string_lossy().into_owned();
        Self { name, module, tool: None }
    }

    /// Builds a commit, if that was not done before.
    fn commit(name: &str) -> Result<Self, String> {
        let mut resolve = git(&["rev-parse", "--verify", "--quiet"]);
        let resolved = resolve.arg(format!("{name}^{{commit}}")).output();
        progress(&format!("the build of {name}"));
        let resolved = resolved.map_err(|e| format!("git cannot be run: {e}"))?;
        let commit = String::from_utf8_lossy(&resolved.stdout).trim().to_owned();
        if !resolved.status.success() || commit.is_empty() {
            return Err("the git history here does not have this commit".to_owned());
        }
        let place = place().join(&commit);
        build(&commit, &place)?;
        let module = place.join("target/module/libpam_onetime.so");
        let program = place.join("target/release/onetimectl");
        let conf = place.join("source/conf/onetime.toml");
        let conf = fs::read_to_string(conf).expect("each commit has the configuration");
        Ok(Self { name: name.to_owned(), module, tool: Some(Tool { program, conf }) })
    }

    /// Puts it into the world beside ours, with an account for the user who logs in, and a
    /// service `OURS_BEFORE`. With a tool it has a store of its own.
    pub fn add_to(&self, field: &Field) {
        let world = &field.world;
        world.pam_module(&format!("{OURS_BEFORE}.so"), &self.module);
        let mut auth = auth_line(OURS_BEFORE, 1);
        if let Some(tool) = &self.tool {
            finish(Command::new("cp").arg(&tool.program).arg(world.path(TOOL)), b"").ok();
            let config = self.configure(field, "before");
            world.run(TOOL, &["--config", &config, "init"]).ok();
            let whose = field.oath_line(&user(0));
            world.write("/root/before.oath", whose.as_bytes(), 0o600);
            world.run(TOOL, &["--config", &config, "import", "/root/before.oath"]).ok();
            auth = auth.replace("/etc/onetime/1.toml", &config);
        }
        world.pam_service(OURS_BEFORE, &stack(&auth));
    }

    /// A configuration for its tool, with a store of that name; where it is in the world.
    pub fn configure(&self, field: &Field, store: &str) -> String {
        let shipped = self.tool.as_ref().map_or_else(|| conf("onetime.toml"), |it| it.conf.clone());
        field.configure(&shipped, store)
    }
}

/// Where such builds are kept.
fn place() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("before")
}

fn git(arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    // In a checkout of somebody else's, where make calls us by sudo.
    git.args(["-c", "safe.directory=*", "-C", env!("CARGO_MANIFEST_DIR")]).args(arguments);
    git
}

/// Builds it where it is not built already, with the compiler that builds ours.
fn build(commit: &str, place: &Path) -> Result<(), String> {
    fs::create_dir_all(place).expect("a folder below target");
    let lock = File::create(place.join("lock")).expect("a file below target");
    flock(&lock, FlockOperation::LockExclusive).expect("it can be locked");
    let source = place.join("source");
    if !source.exists() {
        let (packed, whole) = (place.join("source.tar"), place.join("unpacked"));
        finish(git(&["archive", "--output"]).arg(&packed).arg(commit), b"").ok();
        fs::create_dir_all(&whole).expect("a folder below target");
        finish(Command::new("tar").arg("-xf").arg(&packed).arg("-C").arg(&whole), b"").ok();
        fs::rename(whole, source).expect("it has all of it now");
    }
    let mut build = Command::new("unshare");
    build.args(["--mount", "--propagation", "private", "--", "sh", "-euc", BUILD, "build"]);
    let built = finish_within(build.arg(place).arg(env!("CARGO")), b"", LIMIT);
    if built.success() { Ok(()) } else { Err(format!("it is not built: {}", built.text())) }
}
