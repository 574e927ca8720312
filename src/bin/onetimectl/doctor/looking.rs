//! Reads of the machine, with bounds, what `doctor` judges, and asks sshd. Changes nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pam_onetime::account::{Phase, UserName};
use pam_onetime::config::{AtLogin, Config, Missing};
use pam_onetime::login::Membership;
use pam_onetime::relay::SOCKET;
use pam_onetime::store::{Store, StoreError};
use pam_onetime::system;

use super::finding::Finding;
use super::onetimed::{Socket, SocketPath};
use super::second_ways::FileText;
use super::services::Accounts;
use super::units::Unit;
use super::{libpam, module, sshd, sshd_config};

pub(super) const SSHD_DIR: &str = "/etc/ssh";
/// Where sshd may be, the first before the others.
const SSHD_PROGRAMS: [&str; 3] = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
/// It answers at once, if it does.
const SSHD_PATIENCE: Duration = Duration::from_secs(5);
/// Where programs are that use a service of their name.
const PROGRAM_DIRS: [&str; 6] =
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// Where systemd looks for units, the first before the others.
const UNIT_DIRS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// No configuration is nearly as large.
const MAX_TEXT_BYTES: u64 = 1024 * 1024;
/// Nor is a libpam.
const MAX_LIBRARY_BYTES: u64 = 4 * 1024 * 1024;
/// So much of the audit log's end is read.
const AUDIT_TAIL_BYTES: u64 = 1024 * 1024;

/// The directories with modules of libpam, each by one name.
pub(super) fn module_dirs() -> BTreeSet<PathBuf> {
    let mut dirs = BTreeSet::new();
    for above in ["/usr/lib", "/lib", "/usr/lib64", "/lib64"] {
        let above = Path::new(above);
        let below = fs::read_dir(above).into_iter().flatten().flatten().map(|entry| entry.path());
        dirs.extend([above.join("security")]);
        dirs.extend(below.map(|dir| dir.join("security")));
    }
    let dirs = dirs.into_iter().filter(|dir| dir.join("pam_unix.so").exists());
    // One directory may have several names.
    dirs.filter_map(|dir| dir.canonicalize().ok()).collect()
}

/// The directories in which this machine's libpam looks for services.
fn service_dirs() -> &'static [String] {
    static DIRS: OnceLock<Vec<String>> = OnceLock::new();
    DIRS.get_or_init(|| {
        let modules = module_dirs();
        let above = modules.iter().filter_map(|dir| dir.parent());
        let libpams = above.map(|dir| read_bytes(&dir.join("libpam.so.0"), MAX_LIBRARY_BYTES));
        libpam::all_service_dirs(libpams.flatten())
    })
}

/// The names of the files in the directories of services.
pub(super) fn service_names() -> BTreeSet<String> {
    service_dirs().iter().flat_map(|dir| file_names(Path::new(dir))).collect()
}

/// What is at onetimed's socket. Whoever connects has systemd start it: only where the kernel
/// does not list sockets, it is connected to. A file whose listener has ended counts as one at
/// which somebody listens if a container with this network has the same path.
pub(super) fn socket() -> Socket {
    let is_there = fs::symlink_metadata(SOCKET).is_ok_and(|it| it.file_type().is_socket());
    match fs::read("/proc/net/unix") {
        Ok(sockets) if is_there => Socket::listed(&String::from_utf8_lossy(&sockets), SOCKET),
        Err(_) if UnixStream::connect(SOCKET).is_ok() => Socket::Listening,
        Ok(_) | Err(_) => Socket::Silent,
    }
}

/// What is wrong with the socket's file and its directory, where somebody listens.
pub(super) fn socket_findings() -> Vec<Finding> {
    let socket = Path::new(SOCKET);
    let dir = socket.parent().unwrap_or(socket);
    // Everybody writes to it, and passes through the directory, which is root's alone.
    let paths = [(dir, 0o001, 0o022), (socket, 0o002, 0)];
    let found = paths.into_iter().filter_map(|(path, needs, forbids)| {
        let there = fs::symlink_metadata(path).ok()?;
        let (name, uid, mode) = (path.display().to_string(), there.uid(), there.mode());
        SocketPath { path: &name, uid, mode, needs, forbids }.judge()
    });
    found.collect()
}

/// The names of the profiles of pam-auth-update(8).
pub(super) fn profile_names() -> Vec<String> {
    file_names(Path::new("/usr/share/pam-configs"))
}

/// The file of a service: the first that there is.
pub(super) fn service_path(name: &str) -> String {
    let mut paths = service_dirs().iter().map(|dir| format!("{dir}/{name}"));
    let first = paths.clone().find(|path| Path::new(path).is_file());
    first.or_else(|| paths.next()).unwrap_or_else(|| name.to_owned())
}

/// The text of a service by its name, or of a file by its absolute path.
pub(super) fn service_text(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return read_text(Path::new(name));
    }
    service_dirs().iter().find_map(|dir| read_text(&Path::new(dir).join(name)))
}

/// Whether a group has members; also if that cannot be found out.
pub(super) fn has_members(group: &str) -> bool {
    let members = system::Passwd::read().and_then(|passwd| system::members(group, &passwd));
    members.map_or(true, |members| members.is_some_and(|members| !members.is_empty()))
}

/// The members of a group; none of one that does not exist.
pub(super) fn members(group: &str) -> Result<Vec<String>, String> {
    let members = system::Passwd::read().and_then(|passwd| system::members(group, &passwd));
    members.map(Option::unwrap_or_default).map_err(|error| error.to_string())
}

/// Whether a login of this user needs a code, or is refused, by this configuration; none if
/// that cannot be found out.
pub(super) fn needs_code(user: &str, store: &Path, config: &Config) -> Option<bool> {
    let name = UserName::new(user).ok()?;
    let account = match Store::open(store, Store::ROOT) {
        Ok(store) => store.inspect_as(&name, None).ok()?,
        Err(_) => return None,
    };
    Some(match account.map(|account| account.phase()) {
        Some(Phase::Active { .. }) => true,
        Some(Phase::Pending) => config.enrollment.at_login == AtLogin::Required,
        None => {
            let required = config.login.require_groups.0.iter();
            let person = system::Person::find(user).ok().flatten();
            let groups = person.map(|person| person.groups_among(required)).unwrap_or_default();
            config.login.missing != Missing::Ignore
                || groups.iter().any(|answer| answer.membership == Membership::Member)
        }
    })
}

/// Whether /etc/shadow says that the user has no password.
pub(super) fn is_locked(user: &str, shadow: &str) -> bool {
    let mut lines = shadow.lines().filter_map(|line| line.split_once(':'));
    lines.any(|(name, rest)| name == user && rest.starts_with(['!', '*']))
}

/// Whether libpam finds the file of a module, as far as is known: where there is no
/// directory of modules, or a path has a variable in it, that it does is assumed.
pub(super) fn has_module(module: &str) -> bool {
    static DIRS: OnceLock<BTreeSet<PathBuf>> = OnceLock::new();
    let dirs = DIRS.get_or_init(module_dirs);
    dirs.is_empty() || module.contains("$ISA") || dirs.iter().any(|dir| dir.join(module).is_file())
}

pub(super) fn is_program(name: &str) -> bool {
    PROGRAM_DIRS.iter().any(|dir| Path::new(dir).join(name).is_file())
}

/// Whether somebody has activated a code; also if the store does not say.
pub(super) fn accounts(dir: &Path) -> Accounts {
    let store = match Store::open(dir, Store::ROOT) {
        Ok(store) => store,
        Err(StoreError::NoStore(_)) => return Accounts::NoneActive,
        Err(_) => return Accounts::Active,
    };
    let Ok(mut users) = store.users() else { return Accounts::Active };
    let is_active = users.any(|user| {
        let Ok(user) = user else { return true };
        match store.inspect_as(&user, None) {
            Ok(account) => account.is_some_and(|account| match account.phase() {
                Phase::Active { .. } => true,
                Phase::Pending => false,
            }),
            Err(_) => true,
        }
    });
    if is_active { Accounts::Active } else { Accounts::NoneActive }
}

/// Whether somebody is pending, as far as the store says.
pub(super) fn has_pending(dir: &Path) -> bool {
    let Ok(store) = Store::open(dir, Store::ROOT) else { return false };
    let Ok(mut users) = store.users() else { return false };
    users.any(|user| {
        let account = user.and_then(|user| store.inspect_as(&user, None));
        account.is_ok_and(|account| account.is_some_and(|it| it.phase() == Phase::Pending))
    })
}

/// Asks sshd, with this main file, what is in force for a connection. It reads its own
/// configuration, needs its host keys and /run/sshd, and changes nothing.
pub(super) fn ask_sshd(
    file: Option<&str>,
    connection: &sshd::Connection,
) -> Result<String, sshd::Silence> {
    let program = SSHD_PROGRAMS.into_iter().find(|program| Path::new(program).is_file());
    let program = program.ok_or(sshd::Silence::NotInstalled)?;
    #[expect(clippy::disallowed_methods, reason = "the admin's tool, not a login")]
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(file.into_iter().flat_map(|file| ["-f", file]));
    command.args(["-T", "-C", &connection.specification()]);
    let failed = |why: &dyn std::fmt::Display| sshd::Silence::Failed(format!("{program}: {why}"));
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    // What it says fits the pipes.
    if !ends_in_time(&mut child).map_err(|error| failed(&error))? {
        child.kill().and_then(|()| child.wait()).map_err(|error| failed(&error))?;
        return Err(failed(&format!("no answer within {} seconds", SSHD_PATIENCE.as_secs())));
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(sshd::Silence::of(&String::from_utf8_lossy(&output.stderr)))
    }
}

fn ends_in_time(child: &mut Child) -> std::io::Result<bool> {
    let end = Instant::now().checked_add(SSHD_PATIENCE);
    loop {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        if end.is_none_or(|end| Instant::now() >= end) {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The files that sshd includes for a pattern: name and text of each.
pub(super) fn included(pattern: &str) -> Vec<(String, String)> {
    let paths = matching(SSHD_DIR, pattern).into_iter();
    paths.filter_map(|path| Some((path.clone(), read_text(Path::new(&path))?))).collect()
}

/// The paths of the files for a pattern, which may have `*` and `?` in its last part, or be
/// that of a directory; one that begins with no `/` is below `dir`.
pub(super) fn matching(dir: &str, pattern: &str) -> Vec<String> {
    let path = Path::new(dir).join(pattern);
    if path.is_dir() {
        let names = file_names(&path).into_iter();
        return names.map(|name| path.join(name).display().to_string()).collect();
    }
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    if !name.contains(['*', '?']) {
        return vec![path.display().to_string()];
    }
    let names = file_names(dir).into_iter().filter(|there| sshd_config::fits(name, there));
    names.map(|name| dir.join(name).display().to_string()).collect()
}

/// A file of a program's configuration; of one that is too large a part is not enough.
pub(super) fn read_whole(path: &str) -> FileText {
    let path = Path::new(path);
    match fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileText::Missing,
        Ok(there) if there.is_file() && there.len() < MAX_TEXT_BYTES => {
            read_text(path).map_or(FileText::Unreadable, FileText::Whole)
        }
        Ok(_) | Err(_) => FileText::Unreadable,
    }
}

/// The services' units of systemd, each with its drop-ins.
pub(super) fn units() -> Vec<Unit> {
    let mut names = BTreeSet::new();
    for dir in UNIT_DIRS {
        let there = file_names(Path::new(dir)).into_iter();
        names.extend(there.filter(|name| name.ends_with(".service")));
    }
    names.iter().filter_map(|name| unit(name)).collect()
}

/// A unit; none if it is masked, or another's second name.
fn unit(name: &str) -> Option<Unit> {
    let mut paths = UNIT_DIRS.iter().map(|dir| Path::new(dir).join(name));
    let path = paths.find(|path| path.symlink_metadata().is_ok())?;
    if path.canonicalize().ok()?.file_name()? != std::ffi::OsStr::new(name) {
        return None;
    }
    let mut drop_ins = std::collections::BTreeMap::new();
    for dir in UNIT_DIRS {
        for below in [format!("{name}.d"), "service.d".to_owned()] {
            let below = Path::new(dir).join(below);
            for file in file_names(&below).into_iter().filter(|file| file.ends_with(".conf")) {
                // Of two with one name the first directory's holds.
                drop_ins.entry(file.clone()).or_insert_with(|| below.join(file));
            }
        }
    }
    let paths = [path].into_iter().chain(drop_ins.into_values());
    let files: Vec<_> =
        paths.filter_map(|path| Some((path.display().to_string(), read_text(&path)?))).collect();
    Some(Unit::read(name, &files))
}

/// The names of the files in a directory, sorted; none if it cannot be read.
fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The beginning of a regular file, as text.
pub(super) fn read_text(path: &Path) -> Option<String> {
    let bytes = read_bytes(path, MAX_TEXT_BYTES)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first bytes of a regular file.
fn read_bytes(path: &Path, most: u64) -> Option<Vec<u8>> {
    // Opening a FIFO would wait for its other end.
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The end of the audit log, as text.
pub(super) fn audit_tail(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(AUDIT_TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(AUDIT_TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first bytes of a file that is loaded or run; none if it cannot be read.
pub(super) fn header(path: &Path) -> Vec<u8> {
    let room = u64::try_from(module::HEADER_BYTES).unwrap_or(0);
    read_bytes(path, room).unwrap_or_default()
}
