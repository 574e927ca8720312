//! Messages over the socket, as bytes: JSON that ends with a NUL.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{End, Left, MAX_CALL, MAX_REPLY, Question, RelayError, SOCKET, Step, Text};

/// How long it may take until `onetimed` has room for a connection or a message.
const SEND: Duration = Duration::from_secs(10);

/// How long it may take to answer: a password service asks a directory, which may be down.
const ANSWER: Duration = Duration::from_secs(180);

/// How much is read at once.
const CHUNK: usize = 4096;

/// A connection to `onetimed`.
pub(super) struct Wire(OwnedFd);

#[derive(Serialize)]
struct Call<'a, P> {
    method: &'a str,
    parameters: &'a P,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

/// Of a [`Step`], or of an error.
#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    left: Option<Left>,
    #[serde(default)]
    texts: Vec<Text>,
    #[serde(default)]
    question: Option<Question>,
    #[serde(default)]
    end: Option<End>,
    #[serde(default)]
    reason: Option<String>,
}

impl Wire {
    /// Connects. Root alone is given a password.
    pub(super) fn connect() -> Result<Self, RelayError> {
        let failed = |error: Errno| {
            let uid = rustix::process::geteuid().as_raw();
            RelayError::Connect { uid, error: error.into() }
        };
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(failed)?;
        for (which, limit) in [(Timeout::Send, SEND), (Timeout::Recv, ANSWER)] {
            set_socket_timeout(&socket, which, Some(limit)).map_err(failed)?;
        }
        let address = SocketAddrUnix::new(SOCKET).map_err(failed)?;
        retry_on_intr(|| connect(&socket, &address)).map_err(failed)?;
        let listener = socket_peercred(&socket).map_err(failed)?.uid;
        if !listener.is_root() {
            return Err(RelayError::NotRoot(listener.as_raw()));
        }
        Ok(Self(socket))
    }

    /// Calls a method, and hears what comes next.
    pub(super) fn call<P: Serialize>(
        &self,
        method: &str,
        parameters: &P,
    ) -> Result<Step, RelayError> {
        understand(&self.exchange(method, parameters)?)
    }

    /// Calls a method that answers something else.
    #[cfg(feature = "daemon")]
    pub(super) fn call_for<P: Serialize, R: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        parameters: &P,
    ) -> Result<R, RelayError> {
        #[derive(Deserialize)]
        struct ReplyWith<R> {
            parameters: R,
        }
        let reply = self.exchange(method, parameters)?;
        let mut unescaped = Zeroizing::new(vec![0; reply.len()]);
        match serde_json_core::from_slice_escaped::<ReplyWith<R>>(&reply, &mut unescaped) {
            Ok((reply, _)) => Ok(reply.parameters),
            // An error, perhaps.
            Err(_) => understand(&reply).and(Err(RelayError::Malformed)),
        }
    }

    /// Sends a call; what comes back, without its NUL.
    fn exchange<P: Serialize>(
        &self,
        method: &str,
        parameters: &P,
    ) -> Result<Zeroizing<Vec<u8>>, RelayError> {
        let mut message = Zeroizing::new(vec![0; MAX_CALL]);
        let length = serde_json_core::to_slice(&Call { method, parameters }, &mut message)
            .map_err(|_| RelayError::Malformed)?;
        // Behind it lies a NUL, unless it fills all there is.
        let whole = message.get(..length.saturating_add(1)).ok_or(RelayError::Malformed)?;
        match self.send(whole) {
            Ok(()) => self.hear(),
            // It may have said why it does not listen.
            Err(RelayError::Ended) => Err(match self.hear().and_then(|said| understand(&said)) {
                Err(error) => error,
                Ok(_) => RelayError::Ended,
            }),
            Err(error) => Err(error),
        }
    }

    fn send(&self, mut rest: &[u8]) -> Result<(), RelayError> {
        while !rest.is_empty() {
            let sent = retry_on_intr(|| send(&self.0, rest, SendFlags::NOSIGNAL));
            let sent = sent.map_err(|error| broken(error, "it does not take the message"))?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn hear(&self) -> Result<Zeroizing<Vec<u8>>, RelayError> {
        let mut message = Zeroizing::new(Vec::with_capacity(CHUNK));
        let mut chunk = Zeroizing::new([0; CHUNK]);
        loop {
            let (received, _) = retry_on_intr(|| recv(&self.0, &mut chunk[..], RecvFlags::empty()))
                .map_err(|error| broken(error, "it does not answer"))?;
            let received = chunk.get(..received).unwrap_or_default();
            match received.split_last() {
                None => return Err(RelayError::Ended),
                Some((0, last)) => {
                    message.extend_from_slice(last);
                    return Ok(message);
                }
                Some(_) => message.extend_from_slice(received),
            }
            if message.len() > MAX_REPLY {
                return Err(RelayError::Malformed);
            }
        }
    }
}

/// An error of the socket. A limit of time that is over is one that says nothing else.
fn broken(error: Errno, late: &str) -> RelayError {
    match error {
        Errno::AGAIN => RelayError::Io(io::Error::new(io::ErrorKind::TimedOut, late)),
        Errno::CONNRESET | Errno::PIPE => RelayError::Ended,
        error => RelayError::Io(error.into()),
    }
}

fn understand(message: &[u8]) -> Result<Step, RelayError> {
    // No text in it is longer.
    let mut unescaped = Zeroizing::new(vec![0; message.len()]);
    let (reply, read) = serde_json_core::from_slice_escaped::<Reply>(message, &mut unescaped)
        .map_err(|_| RelayError::Malformed)?;
    if read != message.len() {
        return Err(RelayError::Malformed);
    }
    match (reply.error, reply.parameters) {
        (Some(error), parameters) => {
            let reason = parameters.and_then(|parameters| parameters.reason);
            Err(RelayError::Refused(reason.unwrap_or(error)))
        }
        (None, Some(Parameters { left, texts, question, end, reason: _ })) => {
            Ok(Step { left, texts, question, end })
        }
        (None, None) => Err(RelayError::Malformed),
    }
}
