//! Takes connections, and gives each a process of its own: what one login knows, no other
//! does, and a module of the password service that breaks, breaks one login.

use std::fs;
use std::io::{self, ErrorKind::NotFound};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use listenfd::ListenFd;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use pam_onetime::callers::Asker;
use pam_onetime::config::Config;
use pam_onetime::{store, system};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{SendFlags, SocketFlags, accept_with, send};
use rustix::process::{Pid, WaitOptions, kill_process, wait};

use crate::cli::Cli;
use crate::slots::{Room, Slots};
use crate::spare::{Forked, Spare, Waiting};

/// What whoever gets no connection is told.
const TOO_MANY: &[u8] = b"{\"error\":\"org.pam-onetime.Login1.TooManyLogins\"}\0";

/// How long it is known which accounts may ask for anybody.
const POLICY: Duration = Duration::from_secs(10);

/// When a login is still under way for so long, a process is made for the next one; else when
/// it has ended.
const QUIET: Duration = Duration::from_millis(100);

/// How long is waited for what the system is out of.
const SHORTAGE: Duration = Duration::from_millis(100);

/// Why it no longer listens.
pub(crate) enum Turn {
    /// Nobody has asked for long, or it is to end.
    Idle,
    /// This is the process for a connection, which waits for it.
    Waiting(Waiting),
}

/// The socket, and those who are served.
pub(crate) struct Listener {
    socket: UnixListener,
    signals: SignalFd,
    /// The signals as they were.
    before: SigSet,
    slots: Slots,
    /// Gets the next connection.
    spare: Option<Spare>,
    /// Who may ask for anybody, and since when that is known.
    policy: Option<(Duration, Vec<u32>)>,
    config: PathBuf,
    /// A socket that we have made ourselves.
    own: Option<PathBuf>,
}

impl Listener {
    /// Takes what systemd hands over, or makes a socket.
    pub(crate) fn open(cli: &Cli) -> anyhow::Result<Self> {
        let mut handed = ListenFd::from_env();
        let handed = handed.take_unix_listener(0).context("the socket handed over")?;
        let (socket, own) = match handed {
            Some(socket) => (socket, None),
            None => (bind(&cli.socket)?, Some(cli.socket.clone())),
        };
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT] {
            mask.add(signal);
        }
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), Some(&mut before))?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags)?;
        let config = cli.config.clone();
        let (slots, spare, policy) = (Slots::default(), None, None);
        Ok(Self { socket, signals, before, slots, spare, policy, config, own })
    }

    /// Serves, until nobody has asked for long, or in the process of a connection.
    pub(crate) fn serve(mut self, cli: &Cli) -> anyhow::Result<Turn> {
        loop {
            let quiet = self.spare.is_none().then_some(QUIET);
            let idle = cli.idle().filter(|_| self.slots.are_free());
            let wait = quiet.or(idle).map(Timespec::try_from).transpose()?;
            let mut events = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            ];
            let came = match poll(&mut events, wait.as_ref()) {
                Err(Errno::INTR) => continue,
                came => came?,
            };
            let [connects, signals] = events.map(|event| !event.revents().is_empty());
            if (came == 0 && quiet.is_none()) || (signals && self.is_to_end()?) {
                self.close();
                return Ok(Turn::Idle);
            }
            // Not right after a connection: whoever is at its other end would wait for it.
            if let Ok(Some(waiting)) = self.replenish() {
                return Ok(Turn::Waiting(waiting));
            }
            if connects {
                self.take()?;
            }
        }
    }

    /// Hears of processes that have ended. Whether this one is to end as well.
    fn is_to_end(&mut self) -> anyhow::Result<bool> {
        let mut end = false;
        while let Some(signal) = self.signals.read_signal()? {
            end |= signal.ssi_signo != Signal::SIGCHLD as u32;
        }
        while let Ok(Some((process, _))) = wait(WaitOptions::NOHANG) {
            let process = process.as_raw_nonzero().get().unsigned_abs();
            self.slots.give_back(process, system::uptime());
            drop(self.spare.take_if(|spare| spare.process() == process));
        }
        Ok(end)
    }

    /// Sees to it that a process waits for the next connection. In that one, returns.
    fn replenish(&mut self) -> io::Result<Option<Waiting>> {
        if self.spare.is_none() {
            match Spare::fork(&self.before)? {
                Forked::Parent(spare) => self.spare = Some(spare),
                Forked::Child(waiting) => return Ok(Some(waiting)),
            }
        }
        Ok(None)
    }

    /// Takes one connection, and gives it to the process that waits for it.
    fn take(&mut self) -> anyhow::Result<()> {
        let now = system::uptime();
        let socket = match accept_with(&self.socket, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            // It has gone already.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::AGAIN) => return Ok(()),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                system::wait_until(now.saturating_add(SHORTAGE));
                return Ok(());
            }
            Err(error) => return Err(error).context("cannot take a connection"),
        };
        let Ok(peer) = socket_peercred(&socket) else { return Ok(()) };
        let uid = peer.uid.as_raw();
        let asker = self.counts_as(uid, now);
        if !self.make_room(uid, asker, now) {
            turn_away(&socket);
            return Ok(());
        }
        match self.spare.take().filter(|spare| spare.give(&socket).is_ok()) {
            Some(spare) => self.slots.take(spare.process(), uid, now),
            // The system has no process left, or we may not have more.
            None => {
                turn_away(&socket);
                system::wait_until(now.saturating_add(SHORTAGE));
            }
        }
        Ok(())
    }

    /// Whether one more of `uid` is served, if in the place of somebody who has more.
    fn make_room(&mut self, uid: u32, asker: Asker, now: Duration) -> bool {
        let services = self.policy.as_ref().map_or(&[][..], |(_, services)| services);
        match self.slots.room(uid, asker, services, now) {
            Room::Free => true,
            Room::InPlaceOf(process) => {
                let number = i32::try_from(process).ok().and_then(Pid::from_raw);
                // It is ours until it has been waited for. What it was to write is written or not.
                let _gone = number
                    .is_none_or(|it| kill_process(it, rustix::process::Signal::KILL).is_err());
                self.slots.give_back(process, now);
                true
            }
            Room::Full => false,
        }
    }

    /// What a peer is to the number of its connections. The configuration is read anew where
    /// it matters: for who has many, and where all have to share.
    fn counts_as(&mut self, uid: u32, now: Duration) -> Asker {
        if uid == 0 {
            return Asker::Root;
        }
        if self.slots.of(uid, now) < crate::slots::USER && !self.slots.are_short() {
            return Asker::User;
        }
        let known = self.policy.take().filter(|(since, _)| now.saturating_sub(*since) < POLICY);
        let (since, services) = known.unwrap_or_else(|| (now, services(&self.config)));
        let asker = if services.contains(&uid) { Asker::Service } else { Asker::User };
        self.policy = Some((since, services));
        asker
    }

    fn close(&self) {
        if let Some(path) = &self.own {
            let _gone = fs::remove_file(path).is_err();
        }
    }
}

/// Says that there is no room.
fn turn_away(socket: &OwnedFd) {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let _gone = send(socket, TOO_MANY, flags).is_err();
}

/// The accounts that may ask for anybody. A configuration that cannot be read names none: the
/// login itself says so.
fn services(config: &Path) -> Vec<u32> {
    let text = store::read_config(config).unwrap_or_default();
    let policy = Config::parse(&text).unwrap_or_default().daemon;
    let persons = policy.may_ask.iter().map(|entry| system::Person::find(&entry.user));
    persons.filter_map(|person| Some(person.ok()??.uid)).collect()
}

/// Makes the socket, to which everybody may connect: the kernel says who it is.
fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let shown = path.display();
    if let Some(dir) = path.parent() {
        let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
        made.with_context(|| format!("cannot make {}", dir.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("{shown}: another onetimed listens there");
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != NotFound => {
            return Err(error).with_context(|| format!("cannot remove {shown}"));
        }
        Ok(()) | Err(_) => {}
    }
    let socket = UnixListener::bind(path).with_context(|| format!("cannot listen at {shown}"))?;
    let everybody = fs::Permissions::from_mode(0o666);
    fs::set_permissions(path, everybody).with_context(|| format!("cannot open {shown}"))?;
    Ok(socket)
}
