//! The /dev/log of a world: a thread keeps every line that a program logs there,
//! so a test can ask what an admin would have read.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regex::Regex;

/// One datagram, taken apart as the C library's syslog(3) writes it.
#[derive(Clone, Debug)]
pub struct SyslogLine {
    pub raw: String,
    /// Facility * 8 + severity; 85 is authpriv.notice.
    pub priority: u8,
    /// The program's name, without the process id.
    pub tag: String,
    pub text: String,
}

impl SyslogLine {
    pub fn facility(&self) -> u8 {
        self.priority / 8
    }

    /// 0 emergency ... 7 debug.
    pub fn severity(&self) -> u8 {
        self.priority % 8
    }

    fn parse(raw: &str) -> Self {
        static FORM: LazyLock<Regex> = LazyLock::new(|| {
            let form = r"(?s)^<(\d+)>(?:\w{3} [ \d]\d \d\d:\d\d:\d\d )?(?:([^\s:\[]+)(?:\[\d+\])?: )?(.*)$";
            Regex::new(form).expect("a valid pattern")
        });
        let part = |index| {
            FORM.captures(raw).and_then(|parts| parts.get(index)).map_or("", |part| part.as_str())
        };
        Self {
            raw: raw.to_owned(),
            // 255 is no priority at all: a test that looks at it sees the damage.
            priority: part(1).parse().unwrap_or(255),
            tag: part(2).to_owned(),
            text: part(3).trim_end_matches(['\n', '\0']).to_owned(),
        }
    }
}

#[derive(Default)]
struct Lines {
    seen: Mutex<Vec<SyslogLine>>,
    grown: Condvar,
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Vec<SyslogLine>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What listens at a socket of syslog.
pub struct Sink(Arc<Lines>);

impl Sink {
    pub fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path)
            .unwrap_or_else(|e| panic!("cannot listen at {}: {e}", path.display()));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
            .unwrap_or_else(|e| panic!("cannot open {} to all: {e}", path.display()));
        // The timeout is how the thread notices that its world has gone.
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout can be set");
        let lines = Arc::new(Lines::default());
        let world_is_gone = Arc::downgrade(&lines);
        std::thread::spawn(move || {
            let mut datagram = [0; 65536];
            loop {
                let received = socket.recv(&mut datagram);
                let Some(lines) = world_is_gone.upgrade() else { return };
                if let Ok(length) = received {
                    let raw = String::from_utf8_lossy(&datagram[..length]);
                    lines.lock().push(SyslogLine::parse(&raw));
                    lines.grown.notify_all();
                }
            }
        });
        Self(lines)
    }

    pub fn lines(&self) -> Vec<SyslogLine> {
        self.0.lock().clone()
    }

    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    #[track_caller]
    pub(super) fn wait_for(
        &self,
        wanted: impl Fn(&SyslogLine) -> bool,
        limit: Duration,
    ) -> SyslogLine {
        let (lines, _) = self
            .0
            .grown
            .wait_timeout_while(self.0.lock(), limit, |lines| !lines.iter().any(&wanted))
            .unwrap_or_else(PoisonError::into_inner);
        lines.iter().find(|line| wanted(line)).cloned().unwrap_or_else(|| {
            let all: Vec<&str> = lines.iter().map(|line| line.raw.as_str()).collect();
            panic!("no such syslog line within {limit:?}; seen:\n{}", all.join("\n"))
        })
    }
}
