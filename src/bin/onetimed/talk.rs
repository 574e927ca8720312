//! Messages of one connection. Their frames are zlink's; how long one may be, and how long it
//! may take, is ours: nobody is served for ever.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use pam_onetime::relay::{
    Begin, Change, Continue, DESCRIPTION, INTERFACE, MAX_CALL, OwnStatus, Step,
};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde::{Deserialize, Serialize};
use zlink_core::connection::socket::{ReadHalf, ReadResult, Socket, WriteHalf};
use zlink_core::connection::{Connection, PassedCredentials, ReadConnection, WriteConnection};
use zlink_core::varlink_service::{Error as ServiceError, Info, Method as ServiceMethod};
use zlink_core::{Call, Reply};

/// How long a person may take to answer. Programs have limits of their own, shorter ones.
const ANSWER: Duration = Duration::from_secs(300);
/// How long a message may take once it has begun, and the first one of a connection.
const MESSAGE: Duration = Duration::from_secs(5);
/// How long the other end may take to read what it is sent.
const SEND: Duration = Duration::from_secs(5);
/// How long a whole login may take.
const LOGIN: Duration = Duration::from_secs(900);

/// Why there is nothing more to hear.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TalkError {
    /// The other end has gone, or was too slow.
    #[error("{0}")]
    Broken(#[from] zlink_core::Error),
    /// It does not keep to the protocol.
    #[error("out of order")]
    OutOfOrder,
}

/// One connection.
pub(crate) struct Talk {
    read: ReadConnection<Reader>,
    write: WriteConnection<Writer>,
    bounds: Rc<Bounds>,
    /// Whether the other end has had its last reply.
    is_over: bool,
}

/// What the other end calls.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Heard<'m> {
    #[serde(borrow)]
    Service(ServiceMethod<'m>),
    Login(Method),
    Unknown {
        method: String,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "method", content = "parameters")]
enum Method {
    #[serde(rename = "org.pam-onetime.Login1.Begin")]
    Begin(Box<Begin>),
    #[serde(rename = "org.pam-onetime.Login1.Continue")]
    Continue(Continue),
    // With or without parameters.
    #[serde(rename = "org.pam-onetime.Login1.Status")]
    Status(#[expect(dead_code, reason = "it says nothing")] Option<Nothing>),
    #[serde(rename = "org.pam-onetime.Login1.Change")]
    Change(Change),
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Nothing {}

/// What a connection is for.
#[derive(Debug)]
pub(crate) enum Opening {
    Login(Box<Begin>),
    Status,
    Change(Change),
}

/// An error of our interface.
#[derive(Debug, Serialize)]
#[serde(tag = "error", content = "parameters")]
enum LoginError<'r> {
    #[serde(rename = "org.pam-onetime.Login1.NotPermitted")]
    NotPermitted { reason: &'r str },
    #[serde(rename = "org.pam-onetime.Login1.OutOfOrder")]
    OutOfOrder {},
}

#[derive(Debug, Serialize)]
struct Description {
    description: &'static str,
}

impl Talk {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let now = Instant::now();
        let bounds = Rc::new(Bounds {
            left: Cell::new(MAX_CALL),
            until: Cell::new(now.checked_add(MESSAGE).unwrap_or(now)),
            end: now.checked_add(LOGIN).unwrap_or(now),
            has_begun: Cell::new(true),
        });
        let socket = Blocking { socket: Rc::new(socket), bounds: Rc::clone(&bounds) };
        let (read, write) = Connection::new(socket).split();
        Self { read, write, bounds, is_over: false }
    }

    /// What the connection is for. Whoever asks about the service, is told.
    pub(crate) fn begin(&mut self) -> Result<Opening, TalkError> {
        match self.hear()? {
            Method::Begin(begin) => Ok(Opening::Login(begin)),
            Method::Status(_) => Ok(Opening::Status),
            Method::Change(change) => Ok(Opening::Change(change)),
            Method::Continue(_) => Err(self.out_of_order()),
        }
    }

    /// Says what comes next, and hears the answer.
    pub(crate) fn ask(&mut self, step: Step) -> Result<Continue, TalkError> {
        self.say(step)?;
        self.bounds.begin(ANSWER, HasBegun::No);
        match self.hear()? {
            Method::Continue(answer) => Ok(answer),
            Method::Begin(_) | Method::Status(_) | Method::Change(_) => Err(self.out_of_order()),
        }
    }

    /// Says what comes next, or how it ends.
    pub(crate) fn say(&mut self, step: Step) -> Result<(), TalkError> {
        if self.is_over {
            return Err(TalkError::OutOfOrder);
        }
        let reply = Reply::new(Some(step));
        Ok(now(self.write.send_reply(&reply, Vec::new()))?)
    }

    /// Says what there is to say of an account.
    pub(crate) fn report(&mut self, status: &OwnStatus) {
        let reply = Reply::new(Some(status));
        let _gone = now(self.write.send_reply(&reply, Vec::new())).is_err();
    }

    /// Says that this may not be asked, and why.
    pub(crate) fn refuse(&mut self, reason: &str) {
        let error = LoginError::NotPermitted { reason };
        let _gone = now(self.write.send_error(&error, Vec::new())).is_err();
    }

    fn out_of_order(&mut self) -> TalkError {
        self.is_over = true;
        let error = LoginError::OutOfOrder {};
        let _gone = now(self.write.send_error(&error, Vec::new())).is_err();
        TalkError::OutOfOrder
    }

    fn hear(&mut self) -> Result<Method, TalkError> {
        loop {
            let heard: Call<Heard<'_>> = now(self.read.receive_call())?.0;
            match answer(heard.method(), &mut self.write)? {
                Some(method) => return Ok(method),
                None => self.bounds.begin(MESSAGE, HasBegun::Yes),
            }
        }
    }
}

/// A call of ours; `None`: it was about the service itself, and is answered.
fn answer(
    heard: &Heard<'_>,
    write: &mut WriteConnection<Writer>,
) -> Result<Option<Method>, TalkError> {
    match heard {
        Heard::Login(method) => return Ok(Some(method.clone())),
        Heard::Service(ServiceMethod::GetInfo) => {
            let (product, version) = ("onetimed", env!("CARGO_PKG_VERSION"));
            let interfaces = ["org.varlink.service", INTERFACE];
            let info = Info::new("pam-onetime", product, version, "", interfaces);
            let info = info.map_err(zlink_core::Error::from)?;
            now(write.send_reply(&Reply::new(Some(info)), Vec::new()))?;
        }
        Heard::Service(ServiceMethod::GetInterfaceDescription { interface })
            if interface.as_str() == INTERFACE =>
        {
            let reply = Reply::new(Some(Description { description: DESCRIPTION }));
            now(write.send_reply(&reply, Vec::new()))?;
        }
        Heard::Service(ServiceMethod::GetInterfaceDescription { interface }) => {
            let interface = interface.to_string().into();
            now(write.send_error(&ServiceError::InterfaceNotFound { interface }, Vec::new()))?;
        }
        Heard::Unknown { method } if is_ours(method) => {
            // What is in them is not repeated: a password, perhaps.
            let parameter = "parameters".into();
            now(write.send_error(&ServiceError::InvalidParameter { parameter }, Vec::new()))?;
        }
        Heard::Unknown { method } => {
            let method = method.into();
            now(write.send_error(&ServiceError::MethodNotFound { method }, Vec::new()))?;
        }
    }
    Ok(None)
}

/// Whether there is such a method; then its parameters are wrong.
fn is_ours(method: &str) -> bool {
    let Some((interface, name)) = method.rsplit_once('.') else { return false };
    match interface {
        INTERFACE => DESCRIPTION.lines().any(|line| {
            let described = line.strip_prefix("method ").and_then(|line| line.split_once('('));
            described.is_some_and(|(described, _)| described == name)
        }),
        "org.varlink.service" => name == "GetInterfaceDescription",
        _ => false,
    }
}

/// What a future says that never waits: the socket blocks.
fn now<T>(future: impl Future<Output = zlink_core::Result<T>>) -> zlink_core::Result<T> {
    let late = || Err(zlink_core::Error::Io(io::ErrorKind::WouldBlock.into()));
    std::pin::pin!(future).now_or_never().unwrap_or_else(late)
}

/// Whether the time of a message runs already, or from its first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HasBegun {
    Yes,
    No,
}

/// What one message may still take.
#[derive(Debug)]
struct Bounds {
    left: Cell<usize>,
    until: Cell<Instant>,
    end: Instant,
    has_begun: Cell<bool>,
}

impl Bounds {
    /// Another message is waited for.
    fn begin(&self, limit: Duration, begun: HasBegun) {
        let now = Instant::now();
        self.left.set(MAX_CALL);
        self.until.set(now.checked_add(limit).unwrap_or(now).min(self.end));
        self.has_begun.set(begun == HasBegun::Yes);
    }

    /// So many bytes of it have come.
    fn count(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
        if !self.has_begun.replace(true) {
            let now = Instant::now();
            self.until.set(now.checked_add(MESSAGE).unwrap_or(now).min(self.end));
        }
    }
}

/// The socket, which blocks, within bounds.
#[derive(Debug)]
struct Blocking {
    socket: Rc<OwnedFd>,
    bounds: Rc<Bounds>,
}

#[derive(Debug)]
struct Reader(Blocking);

#[derive(Debug)]
struct Writer(Rc<OwnedFd>);

impl Socket for Blocking {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> (Reader, Writer) {
        let writer = Writer(Rc::clone(&self.socket));
        (Reader(self), writer)
    }
}

impl ReadHalf for Reader {
    async fn read(&mut self, buffer: &mut [u8]) -> zlink_core::Result<ReadResult> {
        let Blocking { socket, bounds } = &self.0;
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        let rest = bounds.until.get().saturating_duration_since(Instant::now());
        // No time at all would mean: for ever.
        if rest < Duration::from_millis(1) {
            return Err(zlink_core::Error::Io(late()));
        }
        let room = buffer.len().min(bounds.left.get());
        let Some(buffer) = buffer.get_mut(..room).filter(|buffer| !buffer.is_empty()) else {
            return Err(zlink_core::Error::BufferOverflow);
        };
        set_socket_timeout(socket, Timeout::Recv, Some(rest)).map_err(io::Error::from)?;
        let (read, _) =
            retry_on_intr(|| recv(socket, &mut *buffer, RecvFlags::empty())).map_err(|error| {
                match error {
                    rustix::io::Errno::AGAIN => late(),
                    error => error.into(),
                }
            })?;
        bounds.count(read);
        Ok(ReadResult::new(read))
    }
}

impl WriteHalf for Writer {
    async fn write(
        &mut self,
        mut buffer: &[u8],
        _descriptors: &[impl AsFd],
        _credentials: Option<&PassedCredentials>,
    ) -> zlink_core::Result<()> {
        set_socket_timeout(&self.0, Timeout::Send, Some(SEND)).map_err(io::Error::from)?;
        while !buffer.is_empty() {
            let sent = retry_on_intr(|| send(&self.0, buffer, SendFlags::NOSIGNAL))
                .map_err(io::Error::from)?;
            buffer = buffer.get(sent..).unwrap_or_default();
        }
        Ok(())
    }
}
