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
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

/// Where the local syslog daemon listens.
const SOCKET: &str = "/dev/log";

/// How long a line may wait for a daemon whose queue is full.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// What kind of socket the daemon has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Datagram,
    Stream,
}

/// Sends a line.
///
/// # Errors
/// Those of socket(2), connect(2) and send(2): it did not arrive.
pub(super) fn deliver(line: &[u8]) -> Result<(), Errno> {
    deliver_to(SOCKET.as_ref(), line)
}

/// Whether a daemon takes lines, without sending one.
///
/// # Errors
/// Those of socket(2) and connect(2).
#[cfg(feature = "tool")]
pub(super) fn probe() -> Result<(), Errno> {
    open(SOCKET.as_ref(), &Patience(Instant::now())).map(drop)
}

fn deliver_to(path: &Path, line: &[u8]) -> Result<(), Errno> {
    let patience = Patience(Instant::now());
    let (socket, kind) = open(path, &patience)?;
    match kind {
        // Whole or not at all.
        Kind::Datagram => patience.retry(|| send(&socket, line, SendFlags::NOSIGNAL)).map(drop),
        Kind::Stream => {
            send_all(&socket, line, &patience)?;
            send_all(&socket, &[0], &patience)
        }
    }
}

/// Since when a line has been on its way. Signals of the host do not prolong it.
struct Patience(Instant);

impl Patience {
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

fn open(path: &Path, patience: &Patience) -> Result<(OwnedFd, Kind), Errno> {
    let address = SocketAddrUnix::new(path)?;
    let connected = |kind| {
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        // Before connect(2), which waits where too many lines wait for a stream's daemon.
        set_socket_timeout(&socket, Timeout::Send, Some(LONGEST_WAIT))?;
        patience.retry(|| connect(&socket, &address))?;
        Ok(socket)
    };
    match connected(SocketType::DGRAM) {
        Ok(socket) => Ok((socket, Kind::Datagram)),
        Err(Errno::PROTOTYPE) => Ok((connected(SocketType::STREAM)?, Kind::Stream)),
        Err(error) => Err(error),
    }
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

        // One that accepts, and does not read.
        let (_above, path) = place();
        let _daemon = UnixListener::bind(&path).unwrap();
        let huge = vec![b'x'; 8 << 20];
        let begun = Instant::now();
        assert!(deliver_to(&path, &huge).is_err());
        assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
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
