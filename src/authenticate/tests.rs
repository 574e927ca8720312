//! The driver by scripts: what libpam and the store would see, event by event. A script
//! that is not played to its end fails, and so does an event that it does not expect.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::CStr;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use super::*;
use crate::account::tests::record;
use crate::account::{Phase, State, TokenId, UserName};
use crate::code::{MovingFactor, Period};
use crate::config::{AtLogin, GroupNames, Missing, UpTo};
use crate::login::ports::{PasswordAnswer, RawAnswer};
use crate::login::{GroupFault, Judgement, NotNeeded, Output, PasswordProof, ServiceReport};

/// The code of RFC 4226 appendix D for counter 5, which is that of step 5.
const CODE: &str = "254676";
/// Seconds: within step 5 of a period of 30.
const NOW: u64 = 155;
const PASSWORD: &str = "correct horse";

/// What the world is asked, and what it answers.
#[derive(Debug)]
enum Event {
    /// The name is asked for; this is it.
    User(&'static str),
    /// The password is asked for.
    Password(&'static str),
    /// The password service is asked about this one.
    Verify(&'static str, ServiceReply),
    /// A prompt that begins so is answered with this.
    Ask(&'static str, &'static str),
    /// A prompt to which the application has no answer.
    AskInVain(&'static str),
    /// A text that holds this is shown.
    Show(&'static str),
    /// The password is left for later modules.
    Leave(&'static str),
    /// It is taken back.
    TakeBack,
    /// The account is read.
    Load,
    /// The account is judged and written.
    Update,
    /// A record is issued.
    Enroll,
    /// Recovery codes are issued.
    AddRecovery,
    /// A line with these words goes to the log.
    Log(&'static str),
    /// This is kept for the account phase.
    Note(AccountVerdict),
}

/// What the password service says.
#[derive(Debug, Clone, Copy)]
enum ServiceReply {
    Right,
    Wrong,
    Broken,
    /// It asks for something else, too.
    Asking,
}

use Event::{
    AddRecovery, Ask, AskInVain, Enroll, Leave, Load, Log, Note, Password, Show, TakeBack, Update,
    User, Verify,
};
use ServiceReply::{Asking, Broken, Right, Wrong};

/// The events still to come.
struct Script(RefCell<VecDeque<Event>>);

impl Script {
    fn next(&self, happened: &str) -> Event {
        let next = self.0.borrow_mut().pop_front();
        next.unwrap_or_else(|| panic!("{happened}, but the script is at its end"))
    }
}

struct ScriptedDoor<'s> {
    script: &'s Script,
    /// What an earlier module left.
    left: Option<&'static str>,
    silent: bool,
    user: Option<&'static str>,
    /// What the password service says besides, as long as nobody has heard it.
    report: Option<Result<ServiceReport, ServiceFault>>,
    can_note: bool,
}

impl Door for ScriptedDoor<'_> {
    fn service(&self) -> Option<String> {
        Some("sshd".to_owned())
    }

    fn ruser(&self) -> Option<String> {
        None
    }

    fn rhost(&self) -> Option<String> {
        None
    }

    fn tty(&self) -> Option<String> {
        None
    }

    fn output(&self) -> Output {
        Output::Elsewhere
    }

    fn wants_silence(&self) -> bool {
        self.silent
    }

    fn user(&mut self) -> Result<String, ConversationError> {
        let User(name) = self.script.next("the name was asked for") else { panic!("the name") };
        self.user.get_or_insert(name);
        Ok(name.to_owned())
    }

    fn current_user(&self) -> Option<String> {
        self.user.map(str::to_owned)
    }

    fn left_password(&self) -> Option<RawAnswer> {
        self.left.map(typed)
    }

    fn ask_password(&mut self) -> Result<RawAnswer, ConversationError> {
        match self.script.next("the password was asked for") {
            Password(answer) => Ok(typed(answer)),
            other => panic!("the password was asked for, not: {other:?}"),
        }
    }

    fn leave_password(&mut self, password: Option<&[u8]>) {
        match (self.script.next("a password was left"), password) {
            (Leave(expected), Some(password)) => assert_eq!(password, expected.as_bytes()),
            (TakeBack, None) => self.left = None,
            (other, _) => panic!("a password was left or taken back, not: {other:?}"),
        }
    }

    fn verify_password(&mut self, service: &str, user: &str, password: &[u8]) -> PasswordAnswer {
        assert_eq!(service, "onetime-password");
        assert!(!user.is_empty());
        match self.script.next("a password was verified") {
            Verify(expected, said) => {
                assert_eq!(password, expected.as_bytes());
                match said {
                    Right => PasswordAnswer::Right(PasswordProof::by_transaction()),
                    Wrong => PasswordAnswer::Wrong,
                    Broken => PasswordAnswer::Unavailable(ServiceFault::Result(9)),
                    Asking => PasswordAnswer::Unavailable(ServiceFault::Asked {
                        prompt: "New password: ".to_owned(),
                        result: 19,
                    }),
                }
            }
            other => panic!("a password was verified, not: {other:?}"),
        }
    }

    fn hear_service(&mut self) -> Result<ServiceReport, ServiceFault> {
        self.report.take().expect("the service is heard once")
    }

    fn note_account(&mut self, note: AccountNote) -> Result<(), NoteError> {
        match self.script.next("a verdict was noted") {
            Note(verdict) => assert_eq!((note.name.as_str(), note.verdict()), ("alice", verdict)),
            other => panic!("a verdict was noted, not: {other:?}"),
        }
        if self.can_note { Ok(()) } else { Err(NoteError("PAM_BUF_ERR".to_owned())) }
    }

    fn ask(&mut self, prompt: &str, _echo: Echo) -> Result<RawAnswer, ConversationError> {
        match self.script.next(prompt) {
            Ask(beginning, answer) => {
                assert!(prompt.starts_with(beginning), "{prompt}");
                Ok(typed(answer))
            }
            AskInVain(beginning) => {
                assert!(prompt.starts_with(beginning), "{prompt}");
                Err(ConversationError("PAM_CONV_ERR".to_owned()))
            }
            other => panic!("asked {prompt:?}, not: {other:?}"),
        }
    }

    fn show(&mut self, text: &str, _tone: Tone) -> Result<(), ConversationError> {
        match self.script.next(text) {
            Show(part) => assert!(text.contains(part), "{text}"),
            other => panic!("shown {text:?}, not: {other:?}"),
        }
        // An application that cannot show texts refuses none of its users.
        Err(ConversationError("PAM_CONV_ERR".to_owned()))
    }
}

/// It is shown by itself.
const QR_CODE: Event = Show("\u{2588}");

fn typed(text: &str) -> RawAnswer {
    Zeroizing::new(text.as_bytes().to_vec())
}

struct ScriptedHost<'s> {
    script: &'s Script,
    /// Each look at it takes ten milliseconds.
    uptime: Cell<Duration>,
    /// Until when somebody waited, beside how many events there were still to come.
    waited: RefCell<Vec<(Duration, usize)>>,
}

impl Host for ScriptedHost<'_> {
    fn now(&self) -> Result<Timestamp, SystemError> {
        Ok(Timestamp(NOW))
    }

    fn uptime(&self) -> Duration {
        self.uptime.set(self.uptime.get() + Duration::from_millis(10));
        self.uptime.get()
    }

    fn wait_until(&self, uptime: Duration) {
        self.waited.borrow_mut().push((uptime, self.script.0.borrow().len()));
        self.uptime.set(uptime);
    }

    fn person(&self, given: &str) -> Result<Option<Person>, SystemError> {
        if given == "not-looked-up" {
            return Err(SystemError::Users(nix::Error::ENOENT));
        }
        let name = UserName::new(given)?;
        Ok((given != "nobody-here").then(|| Person::new(name, 2001, 2001)))
    }

    fn groups_among<'a>(
        &self,
        _person: &Person,
        groups: impl Iterator<Item = &'a String>,
    ) -> Vec<GroupAnswer> {
        let membership = |group: &str| match group {
            "robots" => Membership::Member,
            "typo" => Membership::Unknown(GroupFault::Missing),
            "directory" => Membership::Unknown(GroupFault::NotLookedUp("EIO".to_owned())),
            _ => Membership::NotMember,
        };
        let answer =
            |group: &String| GroupAnswer { group: group.clone(), membership: membership(group) };
        groups.map(answer).collect()
    }

    fn name(&self) -> Result<String, SystemError> {
        Ok("host.example.org".to_owned())
    }

    fn rng(&self) -> impl TryRng {
        SysRng
    }

    fn log(&self, _outcome: Outcome, subject: &Subject, reason: &str) {
        assert_eq!(subject.service, "sshd");
        match self.script.next(reason) {
            Log(part) => assert!(reason.contains(part), "{reason}"),
            other => panic!("logged {reason:?}, not: {other:?}"),
        }
    }

    fn debug(&self, _subject: &Subject, what: &str) {
        assert!(!what.contains(PASSWORD), "{what}");
    }
}

/// One account, in memory.
struct ScriptedAccounts<'s> {
    script: &'s Script,
    account: RefCell<Option<Account>>,
    broken: Cell<bool>,
}

struct AccountCopy(Account);

impl AsRef<Account> for AccountCopy {
    fn as_ref(&self) -> &Account {
        &self.0
    }
}

impl Accounts for &ScriptedAccounts<'_> {
    type Error = &'static str;
    type Snapshot = AccountCopy;

    fn load(&self, _user: &UserName, uid: u32) -> Result<Option<AccountCopy>, &'static str> {
        assert_eq!(uid, 2001);
        assert!(matches!(self.script.next("the account was loaded"), Load));
        if self.broken.get() {
            Err("broken")
        } else {
            Ok(self.account.borrow().clone().map(AccountCopy))
        }
    }

    fn update(
        &self,
        _user: &UserName,
        _uid: u32,
        _known: Option<&AccountCopy>,
        mut judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, &'static str> {
        assert!(matches!(self.script.next("the account was updated"), Update));
        if self.broken.get() {
            return Err("broken");
        }
        let before = self.account.borrow().clone();
        judge(before.as_ref()).settle(|state| {
            if let Some(account) = &mut *self.account.borrow_mut() {
                account.state = *state;
            }
            Ok(())
        })
    }

    fn enroll(&self, account: &Account) -> Result<(), &'static str> {
        assert!(matches!(self.script.next("a record was issued"), Enroll));
        self.account.borrow_mut().get_or_insert_with(|| account.clone());
        Ok(())
    }

    fn add_recovery(&self, _user: &UserName, recovery: Recovery) -> Result<Addition, &'static str> {
        assert!(matches!(self.script.next("recovery codes were issued"), AddRecovery));
        if let Some(account) = &mut *self.account.borrow_mut() {
            account.record.recovery = Some(recovery);
        }
        Ok(Addition::Added)
    }

    fn take_overs(&self) -> Vec<String> {
        Vec::new()
    }
}

/// One login, and how it is set up.
struct Scene {
    config: Config,
    line: Vec<&'static CStr>,
    account: Option<Account>,
    left: Option<&'static str>,
    silent: bool,
    broken: bool,
    user_at_the_end: Option<&'static str>,
    report: fn() -> Result<ServiceReport, ServiceFault>,
    can_note: bool,
    /// As [`ScriptedHost`] has it, of the last play.
    waited: RefCell<Vec<(Duration, usize)>>,
}

impl Scene {
    fn with(account: Option<Account>) -> Self {
        Self {
            config: Config::default(),
            line: Vec::new(),
            account,
            left: None,
            silent: false,
            broken: false,
            user_at_the_end: None,
            waited: RefCell::default(),
            report: || Ok(ServiceReport::default()),
            can_note: true,
        }
    }

    /// Plays the script to its end; the verdict, or why the login ended without one.
    fn play(&self, events: impl IntoIterator<Item = Event>) -> Result<Verdict, String> {
        self.play_and_look(events).0
    }

    fn play_and_look(
        &self,
        events: impl IntoIterator<Item = Event>,
    ) -> (Result<Verdict, String>, Option<Account>) {
        let script = Script(RefCell::new(events.into_iter().collect()));
        let mut door = ScriptedDoor {
            script: &script,
            left: self.left,
            silent: self.silent,
            user: self.user_at_the_end,
            report: Some((self.report)()),
            can_note: self.can_note,
        };
        let accounts = ScriptedAccounts {
            script: &script,
            account: RefCell::new(self.account.clone()),
            broken: Cell::new(self.broken),
        };
        let arguments = Arguments::parse(&self.line).unwrap();
        let config = arguments.apply(self.config.clone()).unwrap();
        let settings = LoginSettings { config: &config, arguments: &arguments };
        let host = ScriptedHost {
            script: &script,
            uptime: Cell::new(Duration::ZERO),
            waited: RefCell::default(),
        };
        let mut subject = Subject { service: "sshd".to_owned(), ..Subject::default() };
        let ended = authenticate(&mut door, &host, settings, || Ok(&accounts), &mut subject);
        self.waited.replace(host.waited.take());
        let left = script.0.take();
        assert!(left.is_empty(), "left over: {left:?}, after {ended:?}");
        (ended.map_err(|failure| failure.to_string()), accounts.account.take())
    }
}

fn pending() -> Option<Account> {
    Some(Account::fresh(record(MovingFactor::Totp { period: Period::default() })))
}

fn active() -> Option<Account> {
    let mut account = pending().unwrap();
    account.state = State { activated_at: Some(Timestamp(1)), ..account.state };
    Some(account)
}

const ALICE: Event = User("alice");

#[test]
fn a_disabled_user_is_asked_for_the_password_and_nothing_else() {
    let scene = Scene::with(None);
    let events = |said| [ALICE, Password(PASSWORD), Verify(PASSWORD, said), Load];
    assert_eq!(scene.play(events(Right)), Ok(Verdict::Admitted(Grant::PasswordAlone)));
    assert_eq!(scene.play(events(Wrong)), Ok(Verdict::Refused(Refusal::WrongPassword)));
    let broken = Verdict::Refused(Refusal::PasswordService { result: 9 });
    assert_eq!(scene.play(events(Broken)), Ok(broken));
}

#[test]
fn a_pending_user_sees_the_key_may_err_twice_and_is_activated_by_a_right_code() {
    let (verdict, account) = Scene::with(pending()).play_and_look([
        ALICE,
        Password(PASSWORD),
        Verify(PASSWORD, Right),
        Load,
        QR_CODE,
        Show("Key: "),
        Ask("One-time code (Enter to skip", "000000"),
        Update,
        Ask("Wrong code. ", "letters"),
        Update,
        Ask("Wrong code. ", CODE),
        Update,
        Show("One-time codes are on now"),
    ]);
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Activated)));
    let account = account.unwrap();
    assert_eq!(account.phase(), Phase::Active { since: Timestamp(NOW) });
    assert_eq!(account.state.token(TokenId::FIRST).next.0, 6, "the code is spent");
}

#[test]
fn a_pending_user_whose_password_is_wrong_is_shown_and_asked_nothing() {
    let events = [ALICE, Password("x"), Verify("x", Wrong), Load];
    let refused = Ok(Verdict::Refused(Refusal::WrongPassword));
    assert_eq!(Scene::with(pending()).play(events), refused);
}

#[test]
fn the_third_wrong_code_of_a_pending_user_is_the_last() {
    let again = "Wrong code. ";
    let verdict = Scene::with(pending()).play([
        ALICE,
        Password(PASSWORD),
        Verify(PASSWORD, Right),
        Load,
        QR_CODE,
        Show("Key: "),
        Ask("One-time code (Enter", "000000"),
        Update,
        Ask(again, "000000"),
        Update,
        Ask(again, "000000"),
        Update,
    ]);
    assert_eq!(verdict, Ok(Verdict::Refused(Refusal::WrongCode)));
}

#[test]
fn an_active_user_meets_the_same_events_whichever_factor_is_wrong() {
    let events = |said, code| {
        [
            ALICE,
            Password(PASSWORD),
            Verify(PASSWORD, said),
            Load,
            Ask("One-time code: ", code),
            Update,
        ]
    };
    let play = |said, code| Scene::with(active()).play(events(said, code));
    assert_eq!(play(Right, CODE), Ok(Verdict::Admitted(Grant::Code)));
    assert_eq!(play(Wrong, CODE), Ok(Verdict::Refused(Refusal::WrongPassword)));
    assert_eq!(play(Right, "000000"), Ok(Verdict::Refused(Refusal::WrongCode)));
    assert_eq!(play(Right, ""), Ok(Verdict::Refused(Refusal::NoCode)));
}

#[test]
fn a_wrong_password_spends_no_code() {
    let events =
        [ALICE, Password("x"), Verify("x", Wrong), Load, Ask("One-time code: ", CODE), Update];
    let (_, account) = Scene::with(active()).play_and_look(events);
    assert_eq!(account, active());
}

#[test]
fn an_unknown_user_goes_the_way_of_a_known_one_and_is_refused() {
    let mut scene = Scene::with(None);
    let start = || [User("nobody-here"), Password(PASSWORD), Verify(PASSWORD, Wrong)];
    assert_eq!(scene.play(start()), Err("unknown user".to_owned()));
    scene.config.login.uniform = true;
    let events = start().into_iter().chain([Ask("One-time code: ", CODE)]);
    assert_eq!(scene.play(events), Err("unknown user".to_owned()));
}

#[test]
fn a_store_that_cannot_be_read_refuses_everybody() {
    for account in [None, pending(), active()] {
        let mut scene = Scene::with(account);
        scene.broken = true;
        let events = [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
        assert_eq!(scene.play(events), Err("broken".to_owned()));
    }
}

#[test]
fn a_prompt_that_gets_no_answer_ends_the_login() {
    let start = [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let events = start.into_iter().chain([AskInVain("One-time code: ")]);
    let failed = "the conversation failed (PAM_CONV_ERR)".to_owned();
    assert_eq!(Scene::with(active()).play(events), Err(failed));
}

#[test]
fn a_program_that_gives_the_password_to_every_prompt_skips_what_may_be_skipped() {
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let mut scene = Scene::with(pending());
    scene.left = Some(PASSWORD);
    let events = [QR_CODE, Show("Key: "), Ask("One-time code (Enter", PASSWORD), Update];
    let verdict = scene.play(start().into_iter().chain(events));
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Skipped)));
    let mut scene = Scene::with(active());
    scene.left = Some(PASSWORD);
    let (verdict, account) =
        scene.play_and_look(start().into_iter().chain([Ask("One-time code: ", PASSWORD), Update]));
    assert_eq!(verdict, Ok(Verdict::Refused(Refusal::PasswordAgain)));
    assert_eq!(account, active(), "no failure is counted");
}

#[test]
fn where_a_secret_may_not_be_shown_the_prompt_alone_is() {
    let mut scene = Scene::with(pending());
    scene.config.enrollment.show_at = vec!["su".to_owned()].try_into().unwrap();
    scene.config.enrollment.recovery_codes = UpTo::of::<8>();
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let verdict = scene.play(start().into_iter().chain([Ask("One-time code (Enter", ""), Update]));
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Skipped)));
    // Enrolled elsewhere: it counts. Recovery codes that nobody may see are not issued.
    let events = [Ask("One-time code (Enter", CODE), Update, Show("One-time codes are on now")];
    let verdict = scene.play(start().into_iter().chain(events));
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Activated)));
}

#[test]
fn a_user_name_that_another_module_has_changed_is_refused_after_all() {
    let mut scene = Scene::with(None);
    scene.user_at_the_end = Some("bob");
    let events = [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let changed = "the user name was changed during the login".to_owned();
    assert_eq!(scene.play(events), Err(changed));
}

#[test]
fn a_record_is_issued_at_login_only_to_who_has_proven_the_password() {
    let mut scene = Scene::with(None);
    scene.config.login.missing = Missing::Enrol;
    let start = |said| [ALICE, Password(PASSWORD), Verify(PASSWORD, said), Load];
    assert_eq!(scene.play(start(Wrong)), Ok(Verdict::Refused(Refusal::WrongPassword)));
    let rest = [
        Enroll,
        Log("enabled at login"),
        Load,
        QR_CODE,
        Show("Key: "),
        Ask("One-time code (Enter to skip", ""),
        Update,
    ];
    let (verdict, account) = scene.play_and_look(start(Right).into_iter().chain(rest));
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Skipped)));
    assert_eq!(account.unwrap().phase(), Phase::Pending);
}

#[test]
fn recovery_codes_are_issued_and_shown_after_activation_and_not_in_silence() {
    let mut scene = Scene::with(pending());
    scene.config.enrollment.recovery_codes = UpTo::of::<8>();
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let ask = || Ask("One-time code (Enter to skip", CODE);
    let shown = [QR_CODE, Show("Key: "), ask(), Update, Show("codes are on now"), AddRecovery];
    let events = start().into_iter().chain(shown).chain([Show("recovery codes")]);
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Activated)));
    scene.silent = true;
    let (_, account) = scene.play_and_look(start().into_iter().chain([ask(), Update]));
    assert_eq!(account.unwrap().record.recovery, None);
}

#[test]
fn a_stack_that_answers_for_the_password_is_asked_for_proof_before_a_secret_is_shown() {
    let mut scene = Scene::with(pending());
    scene.line = vec![c"password=stack"];
    let ask = || Ask("One-time code (Enter to skip", "");
    let skipped = Ok(Verdict::NotNeeded(NotNeeded::Skipped));
    assert_eq!(scene.play([ALICE, Load, ask(), Update]), skipped, "no password was left");
    scene.left = Some(PASSWORD);
    let events = [ALICE, Load, Verify(PASSWORD, Right), QR_CODE, Show("Key: "), ask(), Update];
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Skipped)));
    let events = [ALICE, Load, Verify(PASSWORD, Wrong)];
    assert_eq!(scene.play(events), Ok(Verdict::Refused(Refusal::WrongPassword)));
    scene.account = active();
    let verdict = scene.play([ALICE, Load, Ask("One-time code: ", CODE), Update]);
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Code)));
}

#[test]
fn the_first_pass_is_tried_and_asked_for_again_as_the_line_says() {
    let mut scene = Scene::with(None);
    scene.left = Some("stale");
    scene.line = vec![c"try_first_pass"];
    let events = [
        ALICE,
        Verify("stale", Wrong),
        TakeBack,
        Password(PASSWORD),
        Verify(PASSWORD, Right),
        Load,
    ];
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::PasswordAlone)));
    scene.line = vec![c"use_first_pass"];
    let wrong = Ok(Verdict::Refused(Refusal::WrongPassword));
    assert_eq!(scene.play([ALICE, Verify("stale", Wrong), Load]), wrong);
    scene.left = None;
    assert_eq!(scene.play([ALICE, Load]), wrong, "nobody is asked");
}

#[test]
fn password_and_code_in_one_answer_are_taken_apart_by_the_length_of_a_code() {
    let mut scene = Scene::with(active());
    scene.line = vec![c"prompt=combined"];
    let prompt = COMBINED;
    let events = [
        ALICE,
        Ask(prompt, "correct horse254676"),
        Load,
        Verify(PASSWORD, Right),
        Leave(PASSWORD),
        Update,
    ];
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Code)));
    scene.account = None;
    let events = [ALICE, Ask(prompt, PASSWORD), Load, Verify(PASSWORD, Right), Leave(PASSWORD)];
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::PasswordAlone)));
}

const COMBINED: &str = "Password and one-time code together";

fn leaked(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A login with one answer for both, in which the service is asked once, about `asked`.
fn one_question(
    account: Option<Account>,
    typed: &'static str,
    asked: &'static str,
    reply: ServiceReply,
    then: impl IntoIterator<Item = Event>,
) -> Result<Verdict, String> {
    let mut scene = Scene::with(account);
    scene.line = vec![c"prompt=combined"];
    let start = [ALICE, Ask(COMBINED, typed), Load, Verify(asked, reply), Leave(asked)];
    scene.play(start.into_iter().chain(then))
}

#[test]
fn with_one_answer_for_both_the_password_service_is_asked_once_whoever_it_is() {
    let refused = |refusal| Ok(Verdict::Refused(refusal));
    for (end, verdict) in [
        (CODE, Ok(Verdict::Admitted(Grant::Code))),
        ("254 676", Ok(Verdict::Admitted(Grant::Code))),
        ("000000", refused(Refusal::WrongCode)),
        ("2345-6789-ABCD", refused(Refusal::WrongCode)),
        ("23456789ABCD", refused(Refusal::WrongCode)),
        ("", refused(Refusal::NoCode)),
    ] {
        let typed = leaked(format!("{PASSWORD}{end}"));
        assert_eq!(one_question(active(), typed, PASSWORD, Right, [Update]), verdict, "{end}");
        let wrong = one_question(active(), typed, PASSWORD, Wrong, [Update]);
        assert_eq!(wrong, refused(Refusal::WrongPassword), "{end}");
        let broken = one_question(active(), typed, PASSWORD, Broken, [Update]);
        assert_eq!(broken, refused(Refusal::PasswordService { result: 9 }), "{end}");
        // Disabled: the whole is the password.
        let disabled = one_question(None, typed, typed, Right, []);
        assert_eq!(disabled, Ok(Verdict::Admitted(Grant::PasswordAlone)), "{end}");
        let disabled = one_question(None, typed, typed, Wrong, []);
        assert_eq!(disabled, refused(Refusal::WrongPassword), "{end}");
    }
    // Pending: the whole is the password, unless a right code is at its end.
    let skipped = Ok(Verdict::Admitted(Grant::Skipped));
    for end in ["", "000000", "2345-6789-ABCD"] {
        let typed = leaked(format!("{PASSWORD}{end}"));
        let shown = [QR_CODE, Show("Key: "), Update];
        assert_eq!(one_question(pending(), typed, typed, Right, shown), skipped, "{end}");
        let wrong = one_question(pending(), typed, typed, Wrong, []);
        assert_eq!(wrong, refused(Refusal::WrongPassword), "{end}");
    }
    let activated = [QR_CODE, Show("Key: "), Update, Show("One-time codes are on now")];
    let both = "correct horse254676";
    let verdict = one_question(pending(), both, PASSWORD, Right, activated);
    assert_eq!(verdict, Ok(Verdict::Admitted(Grant::Activated)));
    let wrong = one_question(pending(), both, PASSWORD, Wrong, []);
    assert_eq!(wrong, refused(Refusal::WrongPassword));
}

#[test]
fn with_one_answer_for_both_the_password_service_is_asked_once_where_the_account_is_not_known() {
    for broken in [false, true] {
        let mut scene = Scene::with(active());
        scene.line = vec![c"prompt=combined"];
        scene.broken = broken;
        let user = if broken { "alice" } else { "nobody-here" };
        let typed = "correct horse254676";
        let load = broken.then_some(Load);
        let events = [User(user), Ask(COMBINED, typed)].into_iter().chain(load);
        let events = events.chain([Verify(typed, Wrong), Leave(typed)]);
        let reason = if broken { "broken" } else { "unknown user" };
        assert_eq!(scene.play(events), Err(reason.to_owned()));
    }
}

#[test]
fn under_uniform_a_refused_user_hears_everything_at_a_beat_whoever_they_are() {
    let play = |account: Option<Account>, user, broken, then: Vec<Event>| {
        let mut scene = Scene::with(account);
        scene.config.login.uniform = true;
        scene.broken = broken;
        let start = [User(user), Password("x"), Verify("x", Wrong)];
        let ended = scene.play(start.into_iter().chain(then));
        assert!(matches!(ended, Ok(Verdict::Refused(_)) | Err(_)), "{ended:?}");
        scene.waited.take().into_iter().map(|(until, _)| until).collect::<Vec<_>>()
    };
    let code = || Ask("One-time code: ", CODE);
    let beats = play(active(), "alice", false, vec![Load, code(), Update]);
    // Before the password, before the code, before the refusal.
    assert_eq!(beats.len(), 3);
    assert_eq!(play(pending(), "alice", false, vec![Load, code()]), beats);
    assert_eq!(play(None, "alice", false, vec![Load, code()]), beats);
    assert_eq!(play(None, "nobody-here", false, vec![code()]), beats);
    assert_eq!(play(None, "not-looked-up", false, vec![code()]), beats);
    assert_eq!(play(active(), "alice", true, vec![Load, code()]), beats);
}

#[test]
fn under_uniform_who_needs_no_code_ends_at_the_beat_of_a_refusal_where_others_check_the_password() {
    let play = |account: Option<Account>, events: Vec<Event>| {
        let mut scene = Scene::with(account);
        scene.config.login.uniform = true;
        scene.line = vec![c"password=stack"];
        let ended = scene.play([ALICE].into_iter().chain(events));
        (ended, scene.waited.take().into_iter().map(|(until, _)| until).collect::<Vec<_>>())
    };
    let code = || Ask("One-time code: ", "000000");
    let (refused, beats) = play(active(), vec![Load, code(), Update]);
    assert_eq!(refused, Ok(Verdict::Refused(Refusal::WrongCode)));
    // Before the code, and at the end.
    assert_eq!(beats.len(), 2);
    let not_needed = Ok(Verdict::NotNeeded(crate::login::NotNeeded::NotEnabled));
    assert_eq!(play(None, vec![Load, code()]), (not_needed, beats));
}

#[test]
fn nobody_waits_without_uniform_and_with_it_who_is_admitted_is_admitted_at_once() {
    let mut scene = Scene::with(active());
    let events = |said| {
        [
            ALICE,
            Password(PASSWORD),
            Verify(PASSWORD, said),
            Load,
            Ask("One-time code: ", CODE),
            Update,
        ]
    };
    assert!(scene.play(events(Wrong)).is_ok());
    assert_eq!(scene.waited.take(), []);
    scene.config.login.uniform = true;
    assert_eq!(scene.play(events(Right)), Ok(Verdict::Admitted(Grant::Code)));
    let waited = scene.waited.take();
    assert!(matches!(waited[..], [(_, 5), (_, 2)]), "before each prompt: {waited:?}");
    // In one answer for both.
    scene.line = vec![c"prompt=combined"];
    let typed = "x000000";
    let events = [ALICE, Ask(COMBINED, typed), Load, Verify("x", Wrong), Leave("x"), Update];
    assert_eq!(scene.play(events), Ok(Verdict::Refused(Refusal::WrongPassword)));
    let waited = scene.waited.take();
    assert!(matches!(waited[..], [(_, 5), (_, 0)]), "before the prompt and the end: {waited:?}");
}

#[test]
fn who_needs_no_code_may_add_one_to_the_password_or_leave_it_out() {
    let mut scene = Scene::with(active());
    scene.line = vec![c"prompt=combined"];
    scene.config.login.exempt_groups = GroupNames(vec!["robots".to_owned()]);
    let exempt = Ok(Verdict::Admitted(Grant::Exempt(crate::login::Exemption::Group)));
    for (typed, asked) in
        [("correct horse254676", PASSWORD), ("horse 000000", "horse 000000"), (PASSWORD, PASSWORD)]
    {
        let events = [ALICE, Ask(COMBINED, typed), Load, Verify(asked, Right), Leave(asked)];
        assert_eq!(scene.play(events), exempt, "{typed}");
    }
}

#[test]
fn a_first_pass_for_both_that_is_not_right_is_asked_for_again_as_the_line_says() {
    let both = "correct horse254676";
    let play = |line: &[&'static CStr], account, user, left, events: Vec<Event>| {
        let mut scene = Scene::with(account);
        scene.line = line.to_vec();
        scene.left = left;
        scene.play([User(user)].into_iter().chain(events))
    };
    let try_first = [c"prompt=combined", c"try_first_pass"];
    let admitted = Ok(Verdict::Admitted(Grant::Code));
    let right = || vec![Load, Verify(PASSWORD, Right), Leave(PASSWORD), Update];
    let verdict = play(&try_first, active(), "alice", Some(both), right());
    assert_eq!(verdict, admitted, "nobody is asked");
    // The password is wrong, or the code is missing: the user sees the same.
    for (first, asked, reply) in [("stale000000", "stale", Wrong), (PASSWORD, PASSWORD, Right)] {
        let mut events =
            vec![Load, Verify(asked, reply), Leave(asked), TakeBack, Ask(COMBINED, both)];
        events.extend([Verify(PASSWORD, Right), Leave(PASSWORD), Update]);
        assert_eq!(play(&try_first, active(), "alice", Some(first), events), admitted, "{first}");
    }
    // A wrong code is one attempt.
    let events = vec![Load, Verify(PASSWORD, Right), Leave(PASSWORD), Update];
    let verdict = play(&try_first, active(), "alice", Some("correct horse000000"), events);
    assert_eq!(verdict, Ok(Verdict::Refused(Refusal::WrongCode)));
    // Who is unknown, or has no record, is asked as others are.
    let again = || {
        vec![
            Verify("stale", Wrong),
            Leave("stale"),
            TakeBack,
            Ask(COMBINED, both),
            Verify(both, Wrong),
            Leave(both),
        ]
    };
    let verdict = play(&try_first, None, "nobody-here", Some("stale"), again());
    assert_eq!(verdict, Err("unknown user".to_owned()));
    let events = [Load].into_iter().chain(again()).collect();
    let wrong = Ok(Verdict::Refused(Refusal::WrongPassword));
    assert_eq!(play(&try_first, None, "alice", Some("stale"), events), wrong);
    // Otherwise it is taken as it is.
    for line in [vec![c"prompt=combined"], vec![c"prompt=combined", c"use_first_pass"]] {
        let events = vec![Load, Verify("stale", Wrong), Leave("stale"), Update];
        assert_eq!(play(&line, active(), "alice", Some("stale000000"), events), wrong);
    }
}

#[test]
fn a_password_that_libpam_cannot_hand_on_is_wrong_and_the_service_is_not_asked() {
    let long: &'static str = Box::leak("x".repeat(513).into_boxed_str());
    let wrong = Ok(Verdict::Refused(Refusal::WrongPassword));
    assert_eq!(Scene::with(None).play([ALICE, Password(long), Load]), wrong);
    for typed in ["\0", "correct\0 horse"] {
        assert_eq!(Scene::with(None).play([ALICE, Password(typed), Load]), wrong);
    }
    for account in [None, active()] {
        let update = account.as_ref().map(|_| Update);
        let mut scene = Scene::with(account);
        scene.line = vec![c"prompt=combined"];
        let events = [ALICE, Ask(COMBINED, long), Load, Leave(long)];
        assert_eq!(scene.play(events.into_iter().chain(update)), wrong);
    }
}

#[test]
fn who_is_exempt_is_asked_for_the_password_alone_and_under_uniform_for_a_code_too() {
    let mut scene = Scene::with(active());
    scene.config.login.exempt_groups = GroupNames(vec!["robots".to_owned()]);
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let exempt = Ok(Verdict::Admitted(Grant::Exempt(crate::login::Exemption::Group)));
    assert_eq!(scene.play(start()), exempt);
    scene.config.login.uniform = true;
    let events = start().into_iter().chain([Ask("One-time code: ", "000000")]);
    assert_eq!(scene.play(events), exempt);
}

#[test]
fn a_group_that_is_unknown_is_named_in_the_log_and_refuses_those_whom_it_may_require() {
    let mut scene = Scene::with(None);
    scene.config.login.require_groups = GroupNames(vec!["typo".into(), "wheel".into()]);
    scene.config.login.exempt_groups = GroupNames(vec!["directory".into()]);
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let named = || {
        [
            Log("require_groups: typo: there is no such group (create it, or correct its name"),
            Log("exempt_groups: directory: it cannot be looked up: EIO (look at the sources"),
        ]
    };
    let refused = Ok(Verdict::Refused(Refusal::GroupUnknown));
    assert_eq!(scene.play(start().into_iter().chain(named())), refused);
    // Who has a code is not kept out by a directory that is down.
    scene.account = active();
    let asked = [Ask("One-time code: ", CODE), Update];
    let events = start().into_iter().chain(named()).chain(asked);
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Code)));
}

#[test]
fn a_user_who_cannot_be_looked_up_sees_what_an_unknown_one_sees() {
    let mut scene = Scene::with(None);
    let why = "the user database cannot be read: ENOENT: No such file or directory";
    let why = Err(format!("{why} (see whether it answers: getent passwd)"));
    let start = || [User("not-looked-up"), Password(PASSWORD), Verify(PASSWORD, Wrong)];
    assert_eq!(scene.play(start()), why);
    scene.config.login.uniform = true;
    let events = start().into_iter().chain([Ask("One-time code: ", CODE)]);
    assert_eq!(scene.play(events), why);
}

#[test]
fn where_enrollment_at_login_is_off_a_pending_user_is_shown_and_asked_nothing() {
    let mut scene = Scene::with(pending());
    scene.config.enrollment.at_login = AtLogin::Off;
    let events = [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Skipped)));
}

/// What a service says of an account whose password must be changed.
fn expired() -> Result<ServiceReport, ServiceFault> {
    let texts = vec![
        (Tone::Info, "Your password expires tomorrow.".to_owned()),
        (Tone::Error, "Change it.".to_owned()),
    ];
    Ok(ServiceReport { verdict: AccountVerdict::PasswordExpired, texts })
}

#[test]
fn what_the_password_service_says_is_noted_and_shown_after_the_verdict() {
    let said = || [Note(AccountVerdict::PasswordExpired), Show("expires tomorrow"), Show("Change")];
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let mut scene = Scene::with(None);
    scene.report = expired;
    let events = start().into_iter().chain(said());
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::PasswordAlone)));
    scene.account = active();
    let code = [Ask("One-time code: ", CODE), Update];
    let events = start().into_iter().chain(code).chain(said());
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Code)));
    scene.account = pending();
    let code =
        [QR_CODE, Show("Key: "), Ask("One-time code (Enter", CODE), Update, Show("are on now")];
    let events = start().into_iter().chain(code).chain(said());
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Activated)));
}

#[test]
fn a_user_who_is_refused_hears_nothing_of_the_password_service() {
    let mut scene = Scene::with(active());
    scene.report = expired;
    for (said, code) in [(Right, "000000"), (Wrong, CODE), (Right, "")] {
        let events = [ALICE, Password(PASSWORD), Verify(PASSWORD, said), Load];
        let verdict = scene.play(events.into_iter().chain([Ask("One-time code: ", code), Update]));
        assert!(matches!(verdict, Ok(Verdict::Refused(_))), "{verdict:?}");
    }
}

#[test]
fn in_silence_the_verdict_is_noted_and_the_texts_are_not_shown() {
    let mut scene = Scene::with(None);
    (scene.report, scene.silent) = (expired, true);
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let note = || Note(AccountVerdict::PasswordExpired);
    let admitted = Ok(Verdict::Admitted(Grant::PasswordAlone));
    assert_eq!(scene.play(start().into_iter().chain([note()])), admitted);
    scene.config.login.honour_silent = false;
    let events = [note(), Show("expires tomorrow"), Show("Change")];
    assert_eq!(scene.play(start().into_iter().chain(events)), admitted);
}

#[test]
fn with_password_and_code_in_one_answer_the_service_is_heard_as_well() {
    let mut scene = Scene::with(active());
    scene.line = vec![c"prompt=combined"];
    scene.report = expired;
    let events = [
        ALICE,
        Ask("Password and one-time code together", "correct horse254676"),
        Load,
        Verify(PASSWORD, Right),
        Leave(PASSWORD),
        Update,
        Note(AccountVerdict::PasswordExpired),
        Show("expires tomorrow"),
        Show("Change"),
    ];
    assert_eq!(scene.play(events), Ok(Verdict::Admitted(Grant::Code)));
}

#[test]
fn a_verdict_that_cannot_be_noted_refuses_the_login() {
    let mut scene = Scene::with(None);
    (scene.report, scene.can_note) = (expired, false);
    let events = [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let events = events.into_iter().chain([Note(AccountVerdict::PasswordExpired)]);
    let error = scene.play(events).unwrap_err();
    assert!(error.contains("could not be kept (PAM_BUF_ERR)"), "{error}");
}

#[test]
fn a_service_that_proves_another_user_in_its_account_phase_refuses_the_login() {
    let mut scene = Scene::with(active());
    scene.report = || Err(ServiceFault::OtherUser { name: "bob".to_owned(), result: 10 });
    let events = [ALICE, Password(PASSWORD), Verify(PASSWORD, Right), Load];
    let error = scene.play(events.into_iter().chain([Ask("One-time code: ", CODE), Update]));
    assert!(error.unwrap_err().contains("proved another user (\"bob\")"));
}

#[test]
fn a_service_that_asks_for_more_than_the_password_could_not_say_and_the_log_has_the_remedy() {
    let log = || Log("asked \"New password: \", and gets no answer");
    let could_not_say = Ok(Verdict::Refused(Refusal::PasswordService { result: 19 }));
    let start = || [ALICE, Password(PASSWORD), Verify(PASSWORD, Asking), log(), Load];
    assert_eq!(Scene::with(None).play(start()), could_not_say);
    let events = start().into_iter().chain([Ask("One-time code: ", CODE), Update]);
    assert_eq!(Scene::with(active()).play(events), could_not_say);
}
