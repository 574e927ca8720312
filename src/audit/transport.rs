//! How a line reaches the local syslog daemon: as syslog(3) sends it. /dev/log is a
//! datagram socket mostly (journald, rsyslog), or a stream socket (syslog-ng's
//! `unix-stream`), on which each line ends with a NUL.
//!
//! No signal is raised where the daemon has gone, and no wait is without a bound: a
//! daemon that does not read cannot hold a login up.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, sendto,
    socket_with,
};

/// Where the local syslog daemon listens.
const SOCKET: &str = "/dev/log";

/// How long a line may wait for a daemon whose queue is full.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Sends a line.
///
/// # Errors
/// Those of socket(2), connect(2), sendto(2) and send(2): it did not arrive.
pub(super) fn deliver(line: &[u8]) -> Result<(), Errno> {
    deliver_to(SOCKET.as_ref(), line)
}

/// Whether a daemon takes lines, without sending one.
///
/// # Errors
/// Those of socket(2) and connect(2).
#[cfg(feature = "tool")]
pub(super) fn probe() -> Result<(), Errno> {
    let (address, patience) = (SocketAddrUnix::new(SOCKET)?, Patience::from_now());
    match connected(SocketType::DGRAM, &address, &patience) {
        Err(Errno::PROTOTYPE) => connected(SocketType::STREAM, &address, &patience).map(drop),
        probed => probed.map(drop),
    }
}

fn deliver_to(path: &Path, line: &[u8]) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(path)?;
    match send_datagram(&address, line) {
        Err(Errno::PROTOTYPE) => {
            let patience = Patience::from_now();
            let socket = connected(SocketType::STREAM, &address, &patience)?;
            send_all(&socket, line, &patience)?;
            send_all(&socket, &[0], &patience)
        }
        sent => sent,
    }
}

/// Sends a line to a socket of datagrams, whole or not at all. Mostly there is room for it:
/// only where there is none, a wait and its bound are set up.
fn send_datagram(address: &SocketAddrUnix, line: &[u8]) -> Result<(), Errno> {
    let socket = socket(SocketType::DGRAM)?;
    match sendto(&socket, line, SendFlags::NOSIGNAL | SendFlags::DONTWAIT, address) {
        Err(Errno::AGAIN) => {}
        sent => return sent.map(drop),
    }
    set_socket_timeout(&socket, Timeout::Send, Some(LONGEST_WAIT))?;
    let patience = Patience::from_now();
    patience.retry(|| sendto(&socket, line, SendFlags::NOSIGNAL, address)).map(drop)
}

/// Since when a line has been on its way. Signals of the host do not prolong it.
struct Patience(Instant);

impl Patience {
    fn from_now() -> Self {
        Self(Instant::now())
    }

    fn retry<T>(&self, mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        loop {
            match call() {
                Err(Errno::INTR) if !self.is_over() => {}
                done => return done,
            }
        }
    }

    fn is_over(&self) -> bool {
        self.0.elapsed() > LONGEST_WAIT
    }
}

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

fn connected(
    kind: SocketType,
    address: &SocketAddrUnix,
    patience: &Patience,
) -> Result<OwnedFd, Errno> {
    let socket = socket(kind)?;
    // Before connect(2), which waits where too many lines wait for a stream's daemon.
    set_socket_timeout(&socket, Timeout::Send, Some(LONGEST_WAIT))?;
    patience.retry(|| connect(&socket, address))?;
    Ok(socket)
}

/// Sends what a stream takes piece by piece. A daemon that takes it too slowly gets a
/// line without an end.
fn send_all(socket: &OwnedFd, mut rest: &[u8], patience: &Patience) -> Result<(), Errno> {
    while !rest.is_empty() {
        let taken = patience.retry(|| send(socket, rest, SendFlags::NOSIGNAL))?;
        rest = rest.get(taken..).unwrap_or_default();
        if patience.is_over() {
            return Err(Errno::TIMEDOUT);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    const LONGEST: Duration = Duration::from_secs(5);

    fn place() -> (tempfile::TempDir, std::path::PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("log");
        (above, path)
    }

    #[test]
    fn a_datagram_socket_gets_the_line_alone() {
        let (_above, path) = place();
        let daemon = UnixDatagram::bind(&path).unwrap();
        deliver_to(&path, b"<85>x").unwrap();
        let mut line = [0; 16];
        let length = daemon.recv(&mut line).unwrap();
        assert_eq!(&line[..length], b"<85>x");
    }

    #[test]
    fn a_stream_socket_gets_the_line_and_a_nul() {
        let (_above, path) = place();
        let daemon = UnixListener::bind(&path).unwrap();
        let long = vec![b'x'; 3000];
        deliver_to(&path, b"<85>x").unwrap();
        deliver_to(&path, &long).unwrap();
        for expected in [&b"<85>x"[..], &long] {
            let mut line = Vec::new();
            daemon.accept().unwrap().0.read_to_end(&mut line).unwrap();
            assert_eq!(line, [expected, b"\0"].concat());
        }
    }

    #[test]
    fn where_nobody_listens_the_line_is_lost_at_once() {
        let (above, path) = place();
        assert_eq!(deliver_to(&path, b"x"), Err(Errno::NOENT));
        drop(UnixDatagram::bind(&path).unwrap());
        assert_eq!(deliver_to(&path, b"x"), Err(Errno::CONNREFUSED));
        let stream = above.path().join("stream");
        drop(UnixListener::bind(&stream).unwrap());
        assert_eq!(deliver_to(&stream, b"x"), Err(Errno::CONNREFUSED));
    }

    #[test]
    fn a_daemon_that_takes_nothing_is_not_waited_for() {
        let (_above, path) = place();
        let daemon = UnixListener::bind(&path).unwrap();
        rustix::net::listen(&daemon, 0).unwrap();
        // One that is connected fills the queue.
        let _first = UnixStream::connect(&path).unwrap();
        let begun = Instant::now();
        assert_eq!(deliver_to(&path, b"x"), Err(Errno::AGAIN));
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());

        // One of datagrams whose queue is full.
        let (_above, path) = place();
        let _daemon = UnixDatagram::bind(&path).unwrap();
        let full = UnixDatagram::unbound().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.send_to(b"x", &path).is_ok() {}
        let begun = Instant::now();
        assert_eq!(deliver_to(&path, b"x"), Err(Errno::AGAIN));
        assert!(begun.elapsed() >= LONGEST_WAIT, "{:?}", begun.elapsed());
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());

        // One that accepts, and does not read.
        let (_above, path) = place();
        let _daemon = UnixListener::bind(&path).unwrap();
        let huge = vec![b'x'; 8 << 20];
        let begun = Instant::now();
        assert!(deliver_to(&path, &huge).is_err());
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_datagram_waits_for_a_daemon_that_is_behind() {
        let (_above, path) = place();
        let daemon = UnixDatagram::bind(&path).unwrap();
        let full = UnixDatagram::unbound().unwrap();
        full.set_nonblocking(true).unwrap();
        let mut waiting = 0_u32;
        while full.send_to(b"x", &path).is_ok() {
            waiting += 1;
        }
        let sender = std::thread::spawn(move || deliver_to(&path, b"<85>last"));
        std::thread::sleep(Duration::from_millis(50));
        let mut line = [0; 16];
        for _ in 0..waiting {
            assert_eq!(daemon.recv(&mut line).unwrap(), 1);
        }
        let length = daemon.recv(&mut line).unwrap();
        assert_eq!(&line[..length], b"<85>last");
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn a_daemon_that_has_gone_raises_no_signal() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(
            send_all(&OwnedFd::from(ours), b"x", &Patience(Instant::now())),
            Err(Errno::PIPE)
        );
    }
}
