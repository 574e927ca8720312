//! What changes an account, each with the store that it starts from, and what it may
//! make of it: nothing, or all of what it is for. The campaigns against killing, power
//! cuts and failing disks all hold these operations to it.

use std::thread;

use pam_onetime::account::{Account, Phase, Record, State, Timestamp, TokenId, Uid};
use pam_onetime::store::StoreError;
use sha2::{Digest, Sha256};

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, AUTHINFO_UNAVAIL, Answers, Client, Event, LOCKER, SUCCESS,
    TotpOptions, World, code_at, enable, finish, hasty, hotp_code, long, sealed, secret,
};
use crate::snapshot::{Entry, Opened, STORE, Snapshot, USERS, name};

/// What the clock says at logins.
pub(crate) const NOW: u64 = 1_800_000_000;
/// When the code after that is due.
const LATER: u64 = NOW + 30;

#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) name: String,
    /// What a campaign does its worst to.
    pub(crate) victim: Victim,
    /// The store that it starts from.
    pub(crate) before: Snapshot,
    pub(crate) program: Vec<String>,
    pub(crate) input: String,
    /// What it says when it has been done; of each user, if `USER` is in it.
    told: &'static str,
    /// Alice's, Bob's and Carol's accounts in it.
    was: [Option<Account>; 3],
    /// Whom it is about.
    users: &'static [&'static str],
    /// Whether that is what it makes of an account.
    makes: fn(Option<&Account>, Option<&Account>) -> bool,
    /// The code that it spends.
    code: Option<String>,
    /// Alice's next code, as long as she has her token.
    later: Option<String>,
    /// A counter's key that goes or comes, and a code of it that was used before.
    key: Option<(String, String)>,
    kind: Kind,
}

/// The process that is killed, or meets what the disk refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Victim {
    /// The tool, or the program that somebody logs in by.
    Itself,
    /// `onetimed`, which judges a login of alice's own program, or the process that it has
    /// made for this login.
    Onetimed,
    /// Alice's own program, while `onetimed` judges its login.
    ItsCaller,
}

/// What it does to accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each account stays with its name.
    Changes,
    /// Alice's account becomes that of [`RENAMED`].
    Renames,
    /// Alice's record, which is for whoever has her name, becomes hers.
    Binds,
    /// Each account stays as it is: bob's is that of a service, and what it fails is counted
    /// apart.
    CountsAtService,
}

/// The key of a hardware token: that of RFC 4226's examples.
const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// What is wrong where a code is good again because its key has gone and come back.
pub(crate) const FORGOTTEN: &str = "the used code of a key that came back";

/// Alice's other name.
pub(crate) const RENAMED: &str = "alicia";
const ALICE_UID: u32 = 2001;

/// What has become of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Old,
    New,
}

/// A world in which they can be run.
pub(crate) fn place() -> World {
    let world = hasty();
    // Brings the program into the world.
    drop(Client::new(&world, "sshd", "alice").command());
    world.pam_service("locker", LOCKER);
    world.pam_service("service", LOCKER);
    let config = world.read_text("/etc/onetime/onetime.toml");
    let may_ask = "may_ask = [{ user = \"bob\", services = [\"service\"] }]";
    let config = config.replace("#may_ask = []", may_ask);
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    let line = |(user, digit): (&str, char)| {
        format!("HOTP/T30\t{user}\t-\t{}\n", digit.to_string().repeat(40))
    };
    let file: String = USERS.into_iter().zip('1'..).map(line).collect();
    world.write("/root/users.oath", file.as_bytes(), 0o600);
    for (path, mode) in [("/etc/passwd", 0o644), ("/etc/shadow", 0o640)] {
        let text = world.read_text(path);
        let alice = text.lines().find_map(|line| line.strip_prefix("alice:")).expect("alice");
        world.write(path, format!("{text}{RENAMED}:{alice}\n").as_bytes(), mode);
    }
    world
}

/// All of them.
pub(crate) fn all() -> Vec<Operation> {
    let world = place();
    let tool = |arguments: &[&str]| {
        ["onetimectl"].iter().chain(arguments).map(ToString::to_string).collect::<Vec<_>>()
    };
    let nobody = Snapshot::of(&world);
    let totp = enable(&world, "alice");
    let code = |time| code_at(&totp, TotpOptions::default(), time);
    let pending = Snapshot::of(&world);
    activate(&world, &code(NOW - 300), NOW - 300);
    let active = Snapshot::of(&world);
    world.onetimectl(&["enable", "alice", "--new-secret", "--kind", "hotp"]).ok();
    let hotp = secret(&world, "alice");
    activate(&world, &hotp_code(&hotp, 0, 6), NOW);
    let counter = Snapshot::of(&world);
    active.put(&world);
    let added = ["token", "add", "alice", "--kind", "hotp", "--stdin"];
    finish(world.command("onetimectl").args(added), KEY.as_bytes()).ok();
    for counter in [0, 1] {
        activate(&world, &hotp_code(KEY, counter, 6), NOW);
    }
    let two_tokens = Snapshot::of(&world);
    world.onetimectl(&["token", "remove", "alice", "2"]).ok();
    let removed = Snapshot::of(&world);

    nobody.put(&world);
    world.onetimectl(&["import", "/root/users.oath"]).ok();
    let three = Snapshot::of(&world);
    active.put(&world);

    let unbound = unbound(&world, &nobody);
    let later_totp = secret(&world, "alice");
    let code_of_later = |time| code_at(&later_totp, TotpOptions::default(), time);

    let change = |name: &str, before: &Snapshot, arguments: &[&str], told, makes| Operation {
        name: name.to_owned(),
        victim: Victim::Itself,
        before: before.clone(),
        was: accounts(before),
        program: tool(arguments),
        input: String::new(),
        told,
        users: &["alice"],
        makes,
        code: None,
        later: (*before == active).then(|| code(LATER)),
        key: None,
        kind: Kind::Changes,
    };
    let login = |name: &str, before: &Snapshot, typed, later, told, makes| Operation {
        name: name.to_owned(),
        victim: Victim::Itself,
        before: before.clone(),
        was: accounts(before),
        program: client(&[]),
        input: format!("{ALICE_PASSWORD}\n{typed}\n"),
        told,
        users: &["alice"],
        makes,
        code: (told == "result authenticate 0").then_some(typed),
        later: Some(later),
        key: None,
        kind: Kind::Changes,
    };
    // Of a key that goes or comes, the code before is not to be good again.
    let with_key = |operation: Operation, input: &str, later: Option<String>| Operation {
        input: input.to_owned(),
        later,
        key: Some((KEY.to_owned(), hotp_code(KEY, 1, 6))),
        ..operation
    };
    let (admitted, refused) = ("result authenticate 0", "result authenticate 7");
    let enabled = "alice: enabled;";
    vec![
        change(
            "enable, the first of all",
            &Snapshot::default(),
            &["enable", "alice"],
            enabled,
            is_pending,
        ),
        change("enable", &nobody, &["enable", "alice"], enabled, is_pending),
        change(
            "enable --new-secret",
            &active,
            &["enable", "alice", "--new-secret"],
            enabled,
            is_pending,
        ),
        change("disable", &active, &["disable", "alice", "--yes"], "alice: disabled;", is_gone),
        with_key(
            change(
                "disable of a used counter",
                &two_tokens,
                &["disable", "alice", "--yes"],
                "alice: disabled;",
                is_gone,
            ),
            "",
            Some(code(LATER)),
        ),
        with_key(
            change(
                "token remove",
                &two_tokens,
                &["token", "remove", "alice", "2"],
                "alice: token 2 removed;",
                has_another_number_of_tokens,
            ),
            "",
            Some(code(LATER)),
        ),
        with_key(
            change(
                "token add of a key from before",
                &removed,
                &added,
                "alice: token 2 added;",
                has_another_number_of_tokens,
            ),
            KEY,
            Some(code(LATER)),
        ),
        Operation {
            kind: Kind::Renames,
            ..change("rename", &active, &["rename", "alice", RENAMED], "alicia: renamed;", is_gone)
        },
        change(
            "recovery",
            &active,
            &["recovery", "alice"],
            "alice: the recovery codes above are valid now",
            has_recovery_codes,
        ),
        of_three(change(
            "import of three users",
            &nobody,
            &["import", "/root/users.oath"],
            "3 imported",
            is_imported,
        )),
        of_three(change(
            "import --replace of three users",
            &three,
            &["import", "--replace", "--yes", "/root/users.oath"],
            "3 imported",
            is_imported,
        )),
        of_three(change(
            "enable of three users",
            &nobody,
            &["enable", "alice", "bob", "carol"],
            "USER: enabled;",
            is_pending,
        )),
        of_three(change(
            "repair --restored of three users",
            &three,
            &["repair", "--restored", "alice", "bob", "carol"],
            "USER: it is active;",
            is_spent,
        )),
        of_three(change(
            "disable of three users",
            &three,
            &["disable", "--yes", "alice", "bob", "carol"],
            "USER: disabled;",
            is_gone,
        )),
        login("login that activates", &pending, code(NOW), code(LATER), admitted, is_activated),
        Operation {
            kind: Kind::Binds,
            ..login(
                "login that binds a record of enable --force",
                &unbound,
                code_of_later(NOW),
                code_of_later(LATER),
                admitted,
                is_bound,
            )
        },
        login("login with a code", &active, code(NOW), code(LATER), admitted, has_spent),
        login(
            "login with a counter's code",
            &counter,
            hotp_code(&hotp, 1, 6),
            hotp_code(&hotp, 2, 6),
            admitted,
            has_spent,
        ),
        login(
            "login with a wrong code",
            &active,
            code(NOW + 3600),
            code(LATER),
            refused,
            has_counted,
        ),
    ]
}

/// Of three accounts at once.
fn of_three(change: Operation) -> Operation {
    Operation { users: &USERS, ..change }
}

/// Those that are logins, by a program of alice's own, which `onetimed` judges; in the short
/// form some of them.
pub(crate) fn by_onetimed() -> Vec<Operation> {
    let chosen = |it: &Operation| it.is_login() && (long() || it.kind == Kind::Changes);
    let program = ["pam_client", "locker", "alice"].map(str::to_owned).to_vec();
    let by = |victim, whose: &str, login: &Operation| Operation {
        name: format!("{}; {whose}", login.name),
        victim,
        program: program.clone(),
        ..login.clone()
    };
    let logins: Vec<_> = all().into_iter().filter(chosen).collect();
    let judged = logins.iter().map(|login| by(Victim::Onetimed, "onetimed", login));
    let with_a = |code: &'static str| logins.iter().filter(move |it| it.name.ends_with(code));
    let asking = with_a("with a code").map(|login| by(Victim::ItsCaller, "its caller", login));
    let counting = with_a("with a wrong code").map(|login| Operation {
        program: ["pam_client", "service", "alice"].map(str::to_owned).to_vec(),
        kind: Kind::CountsAtService,
        users: &[],
        ..by(Victim::Onetimed, "onetimed, asked by a service", login)
    });
    judged.chain(counting).chain(asking).collect()
}

/// What a campaign finds with each of them, all under way at once.
#[track_caller]
pub(crate) fn side_by_side<T: Send>(
    operations: &[Operation],
    campaign: impl Fn(&Operation) -> T + Sync,
) -> Vec<T> {
    let campaign = &campaign;
    thread::scope(|scope| {
        let runs: Vec<_> = operations.iter().map(|it| scope.spawn(move || campaign(it))).collect();
        runs.into_iter().map(|run| run.join().expect("it came to its end")).collect()
    })
}

impl Operation {
    /// Whether it is about a login.
    pub(crate) fn is_login(&self) -> bool {
        self.program.first().is_some_and(|program| program == "pam_client")
    }

    /// Whether it has said that it has been done.
    pub(crate) fn is_told(&self, said: &str) -> bool {
        self.users.iter().all(|user| self.is_told_of(user, said)) && said.contains(self.last_told())
    }

    fn is_told_of(&self, user: &str, said: &str) -> bool {
        said.contains(&self.told.replace("USER", user))
    }

    /// What it says at the end, whoever it is about.
    fn last_told(&self) -> &'static str {
        self.told.strip_prefix("USER").unwrap_or(self.told)
    }

    /// That of several users each of whom it has said so has become another.
    pub(crate) fn keeps_what_it_said(&self, found: &Snapshot, said: &str) -> Result<(), String> {
        if self.users.len() < 2 {
            return Ok(());
        }
        let found = found.opened();
        for (user, was) in USERS.into_iter().zip(&self.was) {
            if self.told.starts_with("USER")
                && self.is_told_of(user, said)
                && *was == found.account(user)?
            {
                return Err(format!("what was told of {user} alone is lost"));
            }
        }
        Ok(())
    }

    /// What has become of the accounts; an error if it is anything but what was
    /// before or what was to be, if what was reported has not been kept, if a code serves
    /// twice, or if the user's next code does not.
    pub(crate) fn outcome(&self, found: &Snapshot, told: bool) -> Result<Outcome, String> {
        let counted = self.counted(found)?;
        let found = found.opened();
        if self.kind == Kind::Renames {
            return self.renamed(&found, told);
        }
        if !self.before.0.contains_key(STORE) && found.store.is_err() {
            return self.no_store(found, told);
        }
        let mut outcome = counted;
        if told && self.kind == Kind::CountsAtService && outcome == Outcome::Old {
            return Err("what was told is not counted".to_owned());
        }
        for (user, was) in USERS.into_iter().zip(&self.was) {
            let is = found.account(user)?;
            let changed = *was != is;
            if changed && !self.users.contains(&user) {
                return Err(format!("{user} has become another"));
            }
            if changed && !(self.makes)(was.as_ref(), is.as_ref()) {
                return Err(format!("{user} is neither the old account nor the new one: {is:?}"));
            }
            let uid = is.as_ref().map(|account| account.record.uid);
            if told && self.kind == Kind::Binds && user == "alice" && uid == Some(Uid::Any) {
                return Err("what was told is not bound to who was told".to_owned());
            }
            if told && !changed && self.users.contains(&user) {
                return Err(format!("what was told of {user} is lost"));
            }
            if changed {
                outcome = Outcome::New;
            }
        }
        self.codes(&found, outcome)?;
        if let Some((key, used)) = &self.key {
            found.bring_back(key)?;
            if found.serves("alice", used, NOW)? {
                return Err(FORGOTTEN.to_owned());
            }
        }
        Ok(outcome)
    }

    /// Whose program it is, where that is not root's.
    pub(crate) const fn caller(&self) -> &'static str {
        match self.kind {
            Kind::CountsAtService => "bob",
            Kind::Changes | Kind::Renames | Kind::Binds => "alice",
        }
    }

    /// Whether what a service has failed is counted; an error if it is anything but one failure.
    fn counted(&self, found: &Snapshot) -> Result<Outcome, String> {
        match found.0.get(&format!("{STORE}/services/alice.toml")) {
            None => Ok(Outcome::Old),
            Some(Entry::File(bytes)) => {
                let text = String::from_utf8_lossy(bytes);
                let is_right = text.contains("name = \"bob\"\ncount = 1\n")
                    && sealed(&text) == text
                    && self.kind == Kind::CountsAtService;
                is_right.then_some(Outcome::New).ok_or_else(|| format!("counted is {text}"))
            }
            Some(Entry::Directory) => Err("a directory in the place of what is counted".to_owned()),
        }
    }

    /// The files by which its key is remembered, below the store.
    pub(crate) fn memory(&self) -> Vec<String> {
        let Some((key, _)) = &self.key else { return Vec::new() };
        let name = fingerprint(key);
        ["retired".to_owned(), format!("retired/{name}"), format!("retired/.new-{name}")].into()
    }

    /// One of the two names has the account, whole, and the other is refused. It can be
    /// finished, and no code serves by both.
    fn renamed(&self, found: &Opened, told: bool) -> Result<Outcome, String> {
        let [Some(was), bob, carol] = &self.was else { return Err("nobody to rename".to_owned()) };
        let has_it = |user: &str| {
            let record = Record { user: name(user), ..was.record.clone() };
            let account = Account { record, state: was.state };
            matches!(found.account(user), Ok(Some(is)) if is == account)
        };
        let (outcome, owner, other) = match (has_it("alice"), has_it(RENAMED)) {
            (true, false) => (Outcome::Old, "alice", RENAMED),
            (false, true) => (Outcome::New, RENAMED, "alice"),
            (both, _) => return Err(format!("both names have the account, or none: {both}")),
        };
        if told && outcome == Outcome::Old {
            return Err("what was told is lost".to_owned());
        }
        if found.account("bob")? != *bob || found.account("carol")? != *carol {
            return Err("somebody else has become another".to_owned());
        }
        let store = found.store.as_ref().map_err(ToString::to_string)?;
        if let Ok(admitted) = store.load(&name(other), ALICE_UID) {
            let admitted = admitted.is_some();
            return Err(format!("{other} is not refused, with an account: {admitted}"));
        }
        let later = self.later.as_deref().unwrap_or_default();
        if !found.serves(owner, later, LATER)? {
            return Err("the next code does not serve".to_owned());
        }
        match store.rename(&name("alice"), &name(RENAMED), Uid::Is(ALICE_UID)) {
            Ok(_) => {}
            // It was finished.
            Err(StoreError::NotEnabled(_)) if outcome == Outcome::New => {}
            Err(error) => return Err(format!("it cannot be finished: {error}")),
        }
        if found.serves(RENAMED, later, LATER)? {
            return Err("the code served by both names".to_owned());
        }
        Ok(outcome)
    }

    /// Where there was no store, there may be none, or half of one, until it is reported.
    fn no_store(&self, mut found: Opened, told: bool) -> Result<Outcome, String> {
        if told {
            return Err(format!("what was told is lost: {:?}", found.store));
        }
        found.init()?;
        match found.account("alice")? {
            None => Ok(Outcome::Old),
            Some(account) => Err(format!("an account that nobody was told of: {account:?}")),
        }
    }

    fn codes(&self, found: &Opened, outcome: Outcome) -> Result<(), String> {
        if let Some(code) = &self.code {
            let serves = found.serves("alice", code, NOW)?;
            if serves != (outcome == Outcome::Old) {
                return Err(format!("the code of an {outcome:?} account: {serves}"));
            }
            if found.serves("alice", code, NOW)? {
                return Err("the code served twice".to_owned());
            }
        }
        match &self.later {
            Some(later) if self.has_her_token(found.account("alice")?.as_ref()) => {
                let serves = found.serves("alice", later, LATER)?;
                serves.then_some(()).ok_or_else(|| "the next code does not serve".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn has_her_token(&self, found: Option<&Account>) -> bool {
        let [was, ..] = &self.was;
        was.as_ref().zip(found).is_some_and(|(a, b)| a.record.generation == b.record.generation)
    }

    /// Holds a real login against what the library makes of this store: a secret is
    /// shown to a pending user, never to an active one, who gets in with a code alone.
    #[track_caller]
    pub(crate) fn log_in(&self, world: &World, found: &Snapshot, at: &str) {
        found.put(world);
        let opened = found.opened();
        if self.kind == Kind::Renames {
            return self.log_in_by_both_names(world, &opened, at);
        }
        let client = || Client::new(world, "sshd", "alice").option(&format!("time={LATER}"));
        let run = client().run(&Answers::new(&[ALICE_PASSWORD, ""]));
        let dialogue = run.dialogue();
        let prompts = dialogue.iter().filter(|event| matches!(event, Event::Prompt(_))).count();
        let infos = dialogue.len() - prompts;
        let account = match &opened.store {
            Ok(_) => opened.account("alice").unwrap_or_else(|error| panic!("{at}: {error}")),
            Err(_) => {
                assert_eq!(run.result(), AUTHINFO_UNAVAIL, "{at}: {run:?}");
                return;
            }
        };
        let phase = account.as_ref().map(Account::phase);
        let expected = match phase {
            None => (SUCCESS, 1, 0),
            // The QR code, and the key below it.
            Some(Phase::Pending) => (SUCCESS, 2, 2),
            Some(Phase::Active { .. }) => (AUTH_ERR, 2, 0),
        };
        assert_eq!((run.result(), prompts, infos), expected, "{at}: {run:?}");
        if let (Some(later), true) = (&self.later, self.has_her_token(account.as_ref())) {
            let run = client().run(&Answers::new(&[ALICE_PASSWORD, later]));
            assert_eq!(run.result(), SUCCESS, "{at}: {run:?}");
        }
    }
}

impl Operation {
    /// The one who has the account gets in with a code, the other not at all.
    #[track_caller]
    fn log_in_by_both_names(&self, world: &World, found: &Opened, at: &str) {
        let later = self.later.as_deref().unwrap_or_default();
        let login = |user: &str| {
            let client = Client::new(world, "sshd", user).option(&format!("time={LATER}"));
            client.run(&Answers::new(&[ALICE_PASSWORD, later])).result()
        };
        let alice_has_it = matches!(found.account("alice"), Ok(Some(_)));
        let expected = match alice_has_it {
            true => [SUCCESS, AUTHINFO_UNAVAIL],
            false => [AUTHINFO_UNAVAIL, SUCCESS],
        };
        assert_eq!(["alice", RENAMED].map(login), expected, "{at}");
    }
}

/// A store with a record for whoever is called alice.
#[track_caller]
fn unbound(world: &World, nobody: &Snapshot) -> Snapshot {
    nobody.put(world);
    let passwd = world.read_text("/etc/passwd");
    world.write("/etc/passwd", passwd.replace("alice:", "somebody:").as_bytes(), 0o644);
    world.onetimectl(&["enable", "--force", "alice"]).ok();
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    Snapshot::of(world)
}

/// The name of the file in which the key of a hotp token is remembered (docs/FILEFORMAT.md).
fn fingerprint(base32: &str) -> String {
    let alphabet = base32::Alphabet::Rfc4648 { padding: false };
    let mut key = base32::decode(alphabet, base32).expect("a key in base32");
    key.resize(64, 0);
    let hash = Sha256::new()
        .chain_update(b"pam_onetime: a key and what moves it\0SHA1\0\0\0")
        .chain_update(key)
        .finalize();
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.toml")
}

fn accounts(store: &Snapshot) -> [Option<Account>; 3] {
    let opened = store.opened();
    USERS.map(|user| opened.account(user).unwrap_or(None))
}

/// The words of `pam_client`, which [`Client`] brings into the world.
pub(crate) fn client(options: &[&str]) -> Vec<String> {
    let time = format!("time={NOW}");
    let words = ["pam_client", "sshd", "alice", &time].into_iter().chain(options.iter().copied());
    words.map(str::to_owned).collect()
}

#[track_caller]
fn activate(world: &World, code: &str, now: u64) {
    let client = Client::new(world, "sshd", "alice").option(&format!("time={now}"));
    assert_eq!(client.run(&Answers::new(&[ALICE_PASSWORD, code])).result(), SUCCESS);
}

// --- what an operation is for ---

fn is_pending(was: Option<&Account>, is: Option<&Account>) -> bool {
    is.is_some_and(|is| {
        let issue = |account: &Account| (account.record.generation, account.record.tokens.clone());
        let (generation, tokens) = issue(is);
        let differs = was.map(issue).is_none_or(|old| old.0 != generation && old.1 != tokens);
        differs && is.state == State::fresh(generation)
    })
}

/// Both tokens or one: what the other one has done stays.
fn has_another_number_of_tokens(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| {
        let tokens = |account: &Account| account.record.tokens.len();
        let mut record = was.record.clone();
        record.tokens.clone_from(&is.record.tokens);
        let first = |account: &Account| {
            (account.record.tokens[0].clone(), account.state.token(TokenId::FIRST))
        };
        (tokens(was) == tokens(is) || tokens(was).abs_diff(tokens(is)) == 1)
            && is.record == record
            && first(is) == first(was)
            && (tokens(is) == 1 || is.state.token(TokenId::Second).next.0 >= 2)
    })
}

fn is_gone(_was: Option<&Account>, is: Option<&Account>) -> bool {
    is.is_none()
}

fn has_recovery_codes(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| {
        let mut record = was.record.clone();
        record.recovery.clone_from(&is.record.recovery);
        is.recovery_codes_left().is_some() && is.record == record && is.state == was.state
    })
}

fn is_imported(was: Option<&Account>, is: Option<&Account>) -> bool {
    let generation = |account: &Account| account.record.generation;
    let is_new = was.map(generation) != is.map(generation);
    is_new && is.is_some_and(|is| matches!(is.phase(), Phase::Active { .. }))
}

/// The same account, none of whose codes up to now are good any more.
fn is_spent(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| is.record == was.record && next(is) > next(was))
}

fn is_activated(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| {
        is.record == was.record
            && was.state.activated_at.is_none()
            && is.state.activated_at == Some(Timestamp(NOW))
            && next(is) > next(was)
    })
}

/// Bound once it is told; a moment before, it is only active.
fn is_bound(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| {
        let bound = Record { uid: Uid::Is(ALICE_UID), ..was.record.clone() };
        let is_hers = is.record == bound || is.record == was.record;
        let was = Account { record: is.record.clone(), state: was.state };
        is_hers && is_activated(Some(&was), Some(is))
    })
}

fn has_spent(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| {
        is.record == was.record
            && is.state.activated_at == was.state.activated_at
            && is.state.last_login == Some(Timestamp(NOW))
            && next(is) > next(was)
    })
}

fn has_counted(was: Option<&Account>, is: Option<&Account>) -> bool {
    was.zip(is).is_some_and(|(was, is)| {
        let mut state = was.state;
        (state.failures.count, state.failures.since) = (1, Timestamp(NOW));
        is.record == was.record && is.state == state
    })
}

fn next(account: &Account) -> u64 {
    account.state.token(TokenId::FIRST).next.0
}
