//! A store as it lies on a disk: taken out of a world, put into one, or laid out for
//! the library to read, which takes a fraction of the time of a login.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use pam_onetime::account::{Account, Generation, Record, State, Timestamp, TokenId, Uid, UserName};
use pam_onetime::callers::Asker;
use pam_onetime::code::{Algorithm, Digits, MovingFactor, Secret, Token};
use pam_onetime::config::Config;
use pam_onetime::login::{
    Answer, Attempt, Circumstances, Grant, PasswordCheck, Verdict, View, judge,
};
use pam_onetime::store::{Replace, Store, StoreError};
use tempfile::TempDir;

use crate::common::{World, conf};

/// Above the store, in a world.
pub(crate) const ABOVE: &str = "/var/lib";
/// The store's own name.
pub(crate) const STORE: &str = "onetime";
/// Who may have an account in a world.
pub(crate) const USERS: [&str; 3] = ["alice", "bob", "carol"];

/// What has a name in a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Directory,
    File(Vec<u8>),
}

/// All of it, by path below [`ABOVE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<String, Entry>);

impl Snapshot {
    /// The world's store. Everything in it must be root's alone: whatever else is
    /// in a file, nobody can read it.
    #[track_caller]
    pub(crate) fn of(world: &World) -> Self {
        let mut snapshot = Self::default();
        snapshot.take(&world.path(ABOVE), STORE);
        snapshot
    }

    #[track_caller]
    fn take(&mut self, above: &Path, name: &str) {
        let path = above.join(name);
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            metadata => metadata.expect("it can be looked at"),
        };
        let is_dir = metadata.is_dir();
        let mode = if is_dir { 0o700 } else { 0o600 };
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, mode), "{name}");
        if is_dir {
            self.0.insert(name.to_owned(), Entry::Directory);
            for entry in fs::read_dir(&path).expect("it can be listed") {
                let below = entry.expect("it can be listed").file_name();
                self.take(above, &format!("{name}/{}", below.to_string_lossy()));
            }
        } else {
            let bytes = fs::read(&path).expect("it can be read");
            self.0.insert(name.to_owned(), Entry::File(bytes));
        }
    }

    /// Puts it in the place of the world's store.
    #[track_caller]
    pub(crate) fn put(&self, world: &World) {
        if world.exists(&format!("{ABOVE}/{STORE}")) {
            world.remove(&format!("{ABOVE}/{STORE}"));
        }
        self.lay(&world.path(ABOVE));
    }

    /// Lays it out below a directory.
    #[track_caller]
    fn lay(&self, above: &Path) {
        for (name, entry) in &self.0 {
            let path = above.join(name);
            match entry {
                Entry::Directory => DirBuilder::new().mode(0o700).create(path),
                Entry::File(bytes) => {
                    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
                    file.and_then(|mut file| file.write_all(bytes))
                }
            }
            .unwrap_or_else(|e| panic!("cannot lay out {name}: {e}"));
        }
    }

    /// As the library sees it.
    #[track_caller]
    pub(crate) fn opened(&self) -> Opened {
        // In memory: it is read once.
        let dir = tempfile::tempdir_in("/dev/shm").expect("there is a place");
        self.lay(dir.path());
        let store = Store::open(&dir.path().join(STORE), Store::ROOT);
        let config = Config::parse(&conf("onetime.toml")).expect("the shipped configuration");
        Opened { store, config, dir }
    }

    /// Names of files that are in force neither as record nor as state.
    pub(crate) fn left_behind(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| name.contains("/.new-"))
    }
}

/// A store that was laid out.
pub(crate) struct Opened {
    pub(crate) store: Result<Store, StoreError>,
    config: Config,
    dir: TempDir,
}

impl Opened {
    /// The user's account, or why the login would be refused.
    pub(crate) fn account(&self, user: &str) -> Result<Option<Account>, String> {
        let store = self.store.as_ref().map_err(ToString::to_string)?;
        store.inspect(&name(user)).map_err(|error| error.to_string())
    }

    /// Whether a login with the right password and this code succeeds at that time;
    /// if so, it has.
    pub(crate) fn serves(&self, user: &str, code: &str, now: u64) -> Result<bool, String> {
        let store = self.store.as_ref().map_err(ToString::to_string)?;
        let answer = Answer::read(code.as_bytes());
        let circumstances = Circumstances {
            password: &PasswordCheck::InStack,
            rhost: None,
            service: "sshd",
            asker: Asker::Root,
            view: View::Everything,
            groups: &[],
            now: Timestamp(now),
        };
        let attempt = Attempt { circumstances, answer: &answer, tries_left: 0 };
        let account = self.account(user)?.ok_or("no account")?;
        let uid = match account.record.uid {
            Uid::Is(uid) => uid,
            Uid::Any => 0,
        };
        let verdict =
            store.update(&name(user), uid, None, |account| judge(account, &attempt, &self.config));
        let verdict = verdict.map_err(|error| error.to_string())?;
        Ok(matches!(verdict, Verdict::Admitted(Grant::Code | Grant::Activated)))
    }

    /// Issues alice an account anew whose one token has this key, from its first counter.
    pub(crate) fn bring_back(&self, key: &str) -> Result<(), String> {
        let store = self.store.as_ref().map_err(ToString::to_string)?;
        let secret = Secret::from_base32(key).map_err(|error| error.to_string())?;
        let token = Token {
            secret,
            algorithm: Algorithm::Sha1,
            digits: Digits::default(),
            kind: MovingFactor::Hotp,
        };
        let generation = Generation([7; 16]);
        let record = Record {
            user: name("alice"),
            uid: Uid::Is(2001),
            generation,
            issuer: "anew".to_owned(),
            issued_at: Timestamp(0),
            deadline: None,
            tokens: vec![(TokenId::FIRST, token)],
            recovery: None,
        };
        let mut state = State::fresh(generation);
        state.activated_at = Some(Timestamp(0));
        let issued = store.issue(&Account { record, state }, Replace::Yes);
        issued.map(drop).map_err(|error| error.to_string())
    }

    /// What `onetimectl init` does to it.
    pub(crate) fn init(&mut self) -> Result<(), String> {
        self.store = Store::init(&self.dir.path().join(STORE), Store::ROOT);
        self.store.as_ref().map(drop).map_err(ToString::to_string)
    }
}

pub(crate) fn name(user: &str) -> UserName {
    UserName::new(user).expect("a user's name")
}
