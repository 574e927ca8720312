//! A process for the connection that comes next: what a fork costs, and what a new process has
//! to touch first, is done before anybody waits for it. It knows nothing of any login.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, fork};
use pam_onetime::system;
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// A process that waits for its connection.
#[derive(Debug)]
pub(crate) struct Spare {
    process: u32,
    ours: OwnedFd,
}

/// What follows a fork.
pub(crate) enum Forked {
    /// This is the process that has forked.
    Parent(Spare),
    /// This is the new one.
    Child(Waiting),
}

/// The end of a process that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    theirs: OwnedFd,
    /// The signals that it lets come.
    signals: SigSet,
}

impl Spare {
    /// Makes one, which lets these signals come.
    pub(crate) fn fork(signals: &SigSet) -> io::Result<Forked> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // SAFETY: this process has no other thread, so the child may go on as this one would.
        #[expect(unsafe_code, reason = "rustix has no fork")]
        let forked = unsafe { fork() }?;
        Ok(match forked {
            ForkResult::Parent { child } => {
                Forked::Parent(Self { process: child.as_raw().unsigned_abs(), ours })
            }
            ForkResult::Child => Forked::Child(Waiting { theirs, signals: *signals }),
        })
    }

    /// The number of its process.
    pub(crate) const fn process(&self) -> u32 {
        self.process
    }

    /// Gives it its connection.
    pub(crate) fn give(&self, connection: &OwnedFd) -> io::Result<()> {
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut room);
        let connection = [connection.as_fd()];
        if !ancillary.push(SendAncillaryMessage::ScmRights(&connection)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let message = [IoSlice::new(&[0])];
        retry_on_intr(|| sendmsg(&self.ours, &message, &mut ancillary, SendFlags::NOSIGNAL))?;
        Ok(())
    }
}

impl Waiting {
    /// Waits for the connection. `None`: there will be none.
    pub(crate) fn connection(self) -> Option<OwnedFd> {
        // Modules of the password service wait for their own processes.
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.signals), None).ok()?;
        // The user database is opened: whoever asks is looked up there first.
        let _known = system::name_of(0).is_ok();
        let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut room);
        let mut message = [0];
        let mut message = [IoSliceMut::new(&mut message)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        retry_on_intr(|| recvmsg(&self.theirs, &mut message, &mut ancillary, flags)).ok()?;
        ancillary.drain().find_map(|message| {
            if let RecvAncillaryMessage::ScmRights(mut given) = message {
                given.next()
            } else {
                None
            }
        })
    }
}
