//! Who holds a lock that does not end, for the log and the admin: what /proc says. It is
//! read within bounds, and where it does not say, that is said.

use std::fmt;
use std::fs::File;
use std::io::Read;

use rustix::fs::{Stat, major, minor};

/// No more of /proc/locks, and of what it says of a process, is read.
const MAX_LOCKS_BYTES: u64 = 1 << 20;
const MAX_STATUS_BYTES: u64 = 16 << 10;

/// How often /proc/locks is read until it names the holder.
const LOOKS: u32 = 5;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A process that is there.
    Process {
        /// What it is.
        process: ProcessInfo,
        /// Who has started it: it itself may run as root.
        parent: Option<ProcessInfo>,
    },
    /// A process that has ended: one that it has forked still has the file.
    Ended {
        /// Its number.
        pid: u32,
    },
    /// The kernel does not say: another PID namespace, or no /proc.
    Unknown,
}

/// What is said of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Its number.
    pub pid: u32,
    /// Its name, at most 15 characters, which whoever runs it may have chosen.
    pub name: String,
    /// Its real uid.
    pub uid: u32,
    /// The kernel's word for what it does: `stopped`, `sleeping`.
    pub state: String,
}

impl Holder {
    /// Who has locked the file `held`. `ours`, which we have locked on the same file
    /// system, shows how that is called in /proc/locks: not by the number that stat(2)
    /// gives, on btrfs.
    pub(super) fn find(held: &Stat, ours: Option<&Stat>) -> Self {
        // The kernel hands it out in parts, and leaves lines out where other locks end in
        // between.
        let look = |_| {
            let locks = read("/proc/locks", MAX_LOCKS_BYTES)?;
            holder_in(&locks, held, ours, std::process::id())
        };
        match (0..LOOKS).find_map(look) {
            Some(pid) => Self::of(pid),
            None => Self::Unknown,
        }
    }

    fn of(pid: u32) -> Self {
        let Some((process, parent)) = look_at(pid) else { return Self::Ended { pid } };
        Self::Process { process, parent: parent.and_then(look_at).map(|(info, _)| info) }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { process, parent: None } => write!(f, "process {process}"),
            Self::Process { process, parent: Some(parent) } => {
                write!(f, "process {process}, started by {parent}")
            }
            Self::Ended { pid } => write!(f, "process {pid}, which has ended, by one it forked"),
            Self::Unknown => f.write_str("a process that /proc/locks does not show"),
        }
    }
}

impl fmt::Display for ProcessInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, name, uid, state } = self;
        write!(f, "{pid} ({name}, uid {uid}, {state})")
    }
}

/// The process that holds the lock on `held` in the text of /proc/locks.
fn holder_in(locks: &str, held: &Stat, ours: Option<&Stat>, me: u32) -> Option<u32> {
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF
    let held_by = |line: &str| -> Option<(u32, String, u64)> {
        let mut words = line.split_whitespace().skip(1);
        if words.next()? != "FLOCK" {
            return None;
        }
        let pid = words.nth(2)?.parse().ok()?;
        let (device, inode) = words.next()?.rsplit_once(':')?;
        Some((pid, device.to_owned(), inode.parse().ok()?))
    };
    let all = || locks.lines().filter_map(held_by);
    let named =
        ours.and_then(|ours| all().find(|(pid, _, inode)| (*pid, *inode) == (me, ours.st_ino)));
    let by_number = format!("{:02x}:{:02x}", major(held.st_dev), minor(held.st_dev));
    let device = named.map_or(by_number, |(_, device, _)| device);
    all().find(|(_, on, inode)| (on, *inode) == (&device, held.st_ino)).map(|(pid, ..)| pid)
}

/// What /proc says of a process, and its parent's number.
fn look_at(pid: u32) -> Option<(ProcessInfo, Option<u32>)> {
    let status = read(&format!("/proc/{pid}/status"), MAX_STATUS_BYTES)?;
    process_in(&status, pid)
}

fn process_in(status: &str, pid: u32) -> Option<(ProcessInfo, Option<u32>)> {
    let field = |name: &str| {
        let lines = status.lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(str::trim)
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name = field("Name")?.chars().map(|c| if plain(c) { c } else { '?' }).collect();
    let state = field("State")?;
    let state = state.split_once('(').and_then(|(_, word)| word.strip_suffix(')')).unwrap_or(state);
    let uid = field("Uid")?.split_whitespace().next()?.parse().ok()?;
    let parent = field("PPid").and_then(|pid| pid.parse().ok()).filter(|pid| *pid > 1);
    Some((ProcessInfo { pid, name, uid, state: state.to_owned() }, parent))
}

fn read(path: &str, limit: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock_is_found_by_file_and_by_how_our_own_lock_is_called() {
        let file = tempfile::tempfile().unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let by_number = format!("{:02x}:{:02x}", major(stat.st_dev), minor(stat.st_dev));
        let inode = stat.st_ino;
        let lines = |device: &str| {
            format!(
                "1: POSIX  ADVISORY  WRITE 1 {device}:{inode} 0 EOF\n\
                 2: FLOCK  ADVISORY  READ 2 ff:ff:{inode} 0 EOF\n\
                 2: -> FLOCK  ADVISORY  WRITE 3 {device}:{inode} 0 EOF\n\
                 3: FLOCK  ADVISORY  WRITE 4711 {device}:{inode} 0 EOF\n\
                 4: FLOCK  ADVISORY  WRITE 77 {device}:5 0 EOF\n"
            )
        };
        assert_eq!(holder_in(&lines(&by_number), &stat, None, 77), Some(4711));
        assert_eq!(holder_in(&lines("00:2a"), &stat, None, 77), None);
        let mut ours = stat;
        ours.st_ino = 5;
        assert_eq!(holder_in(&lines("00:2a"), &stat, Some(&ours), 77), Some(4711));
        assert_eq!(holder_in("nonsense\n1: FLOCK\n", &stat, None, 77), None);
    }

    #[test]
    fn what_is_said_of_a_process_cannot_be_taken_for_anything_else() {
        let status = "Name:\tsu) \u{1b}[31m\nUmask:\t0022\nState:\tT (stopped)\nPPid:\t12\n\
                      Uid:\t1001\t0\t0\t0\n";
        let (process, parent) = process_in(status, 4711).unwrap();
        assert_eq!(process.to_string(), "4711 (su????31m, uid 1001, stopped)");
        assert_eq!(parent, Some(12));
        assert_eq!(process_in("Name:\tsu\n", 4711), None);
        // What the first process has started was started by nobody who is still there.
        let (_, parent) = process_in(&status.replace("PPid:\t12", "PPid:\t1"), 4711).unwrap();
        assert_eq!(parent, None);
    }

    #[test]
    fn the_holder_of_a_real_lock_is_this_process() {
        use rustix::fs::{FlockOperation, flock, fstat};
        let file = tempfile::tempfile().unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        let stat = fstat(&file).unwrap();
        let Holder::Process { process, .. } = Holder::find(&stat, Some(&stat)) else {
            panic!("not found");
        };
        assert_eq!(process.pid, std::process::id());
    }
}
