//! Makes an account of what the files say of a user, whole or not at all.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use pam_onetime::account::{
    Account, Generation, MAX_TOKENS, Record, State, Timestamp, TokenId, TokenState, Uid, UserName,
};
use pam_onetime::code::{MovingFactor, Step, Token};
use pam_onetime::config::{MaxDrift, is_issuer};
use pam_onetime::store::{Batch, IssueOutcome, Replace, Store, StoreError};
use pam_onetime::system::{host_name, now};
use rand::rngs::SysRng;

use super::findings::{Candidate, Findings, NameSource};
use super::report::{Completion, ImportReport};
use crate::cli::ImportOptions;
use crate::context::Context;
use crate::error::ToolError;
use crate::formats::ForeignToken;
use crate::people::People;
use crate::say::report;

/// A name that was given, or that the file has.
const NOBODY: ToolError =
    ToolError::unknown("check the name; for a user who is still to come: --force");
/// A label of another program's account that is no user here.
const LABEL_OF_NOBODY: ToolError = ToolError::new(
    "this system knows no such user: the name was guessed from the label in the file",
    "say whose it is: --user NAME, or --map FILE for the labels of several",
);
/// A path from which no user's name can be guessed.
const PATH_OF_NOBODY: ToolError = ToolError::new(
    "this system knows no such user: the name was guessed from the path of the file",
    "say whose it is: --user NAME",
);
/// Bits; RFC 4226 section 4 (R6).
const WEAK_BELOW_BITS: usize = 128;
/// So many steps a token may have been ahead of its server's window: half an
/// hour, which is less than time zones differ by.
const AHEAD: u64 = 60;

/// What is said of who has an account and keeps it.
const ENABLED: &str = "is enabled already (--replace puts this in its place)";
/// What is said of a key that came back.
const MOVED_ON: &str = "its key was in use here before, and codes that were used stay spent";

/// An account that is to be issued.
struct Prepared<'u> {
    /// What the files call the user.
    given: &'u str,
    account: Account,
    report: ImportReport,
}

impl Prepared<'_> {
    const fn user(&self) -> &UserName {
        &self.account.record.user
    }
}

/// Where accounts go.
enum Goal {
    /// Nowhere, since this is a dry run; `None`: nor does the store exist yet.
    Foreseen(Option<Box<Store>>),
    Issued(Box<Batch>),
}

/// Turns what the files say of a user into an account.
pub(super) struct Importer<'a> {
    context: &'a Context,
    options: &'a ImportOptions,
    people: People,
    goal: Goal,
    issuer: String,
    now: Timestamp,
}

/// The users whose accounts were issued in this run.
pub(super) struct Issued<'a> {
    findings: &'a Findings,
    /// By their numbers in `findings`: whether they were issued by the name that they have.
    by_their_name: Vec<bool>,
    /// Those who were issued by another.
    by_another: BTreeSet<UserName>,
}

impl<'a> Issued<'a> {
    /// None yet.
    pub(super) fn none(findings: &'a Findings) -> Self {
        let by_their_name = vec![false; findings.numbers()];
        Self { findings, by_their_name, by_another: BTreeSet::new() }
    }

    /// Whether a user whom the files call `given` was issued: no name is twice in the files,
    /// but a user may have two.
    fn contains(&self, given: &str, name: &UserName) -> bool {
        let number = || self.findings.number(name.as_str());
        let by_their_name = || number().and_then(|number| self.by_their_name.get(number));
        self.by_another.contains(name) || (name.as_str() != given && by_their_name() == Some(&true))
    }

    fn insert(&mut self, given: &str, name: UserName) {
        if name.as_str() != given {
            self.by_another.insert(name);
        } else if let Some(number) = self.findings.number(given)
            && let Some(issued) = self.by_their_name.get_mut(number)
        {
            *issued = true;
        }
    }
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        context: &'a Context,
        options: &'a ImportOptions,
        people: People,
    ) -> anyhow::Result<Self> {
        let goal = match options.dry_run {
            true if context.dir_exists()? => Goal::Foreseen(Some(Box::new(context.store()?))),
            true => Goal::Foreseen(None),
            false => Goal::Issued(Box::new(context.open_or_make()?.into_batch()?)),
        };
        let issuer = context.config.issuer.clone().map_or_else(host_name, Ok)?;
        Ok(Self { context, options, people, goal, issuer, now: now()? })
    }

    /// How many users are best imported at once.
    pub(super) fn size(&self) -> usize {
        match &self.goal {
            Goal::Foreseen(_) => 1,
            Goal::Issued(batch) => batch.size(),
        }
    }

    /// Issues the accounts of these users. `issued` has those who were issued.
    ///
    /// Of each, why nothing was issued or what is to be said of it.
    pub(super) fn import(
        &self,
        users: &[&str],
        issued: &mut Issued<'_>,
    ) -> Vec<anyhow::Result<ImportReport>> {
        let mut results = Vec::new();
        let mut waiting: Vec<anyhow::Result<Prepared<'_>>> = Vec::new();
        for user in users {
            let mut prepared = self.prepare(user, issued);
            let is_of_two_names = prepared
                .as_ref()
                .is_ok_and(|it| waiting.iter().flatten().any(|other| other.user() == it.user()));
            if is_of_two_names {
                // It depends on what comes of the other.
                results.extend(self.issue(std::mem::take(&mut waiting), issued));
                prepared = self.prepare(user, issued);
            }
            waiting.push(prepared);
        }
        results.extend(self.issue(waiting, issued));
        results
    }

    /// Makes the account of one user.
    fn prepare<'u>(&self, user: &'u str, issued: &Issued<'_>) -> anyhow::Result<Prepared<'u>> {
        let candidate = issued.findings.candidate(user);
        let Candidate { named_by, tokens, problem } = candidate;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let known = self.people.find(user)?;
        let uid = match (&known.person, named_by) {
            (Some(person), _) => person.uid(),
            (None, _) if self.options.force => Uid::Any,
            // --force would enrol nobody, and whoever it is would go on without a code.
            (None, NameSource::Label) => bail!(LABEL_OF_NOBODY),
            (None, NameSource::Path) => bail!(PATH_OF_NOBODY),
            (None, NameSource::Known) => bail!(NOBODY),
        };
        ensure!(
            !issued.contains(user, &known.name),
            "is another name of {}, who was imported already",
            known.name
        );
        let mut report = ImportReport {
            result: match self.options.dry_run {
                true => Completion::WouldBeImported,
                false => Completion::Imported,
            },
            tokens: tokens.len(),
            activated: !self.options.pending,
            not_carried_over: Vec::new(),
            warnings: Vec::new(),
        };
        match (uid, named_by) {
            (Uid::Any, NameSource::Label | NameSource::Path) => report.warnings.push(
                "this system knows no such user, and the name was guessed: whoever has the token \
                 is not asked for a code under another name (--user NAME)"
                    .to_owned(),
            ),
            (Uid::Any, NameSource::Known) | (Uid::Is(_), _) => {}
        }
        let account = self.account(known.name, uid, tokens, &mut report)?;
        Ok(Prepared { given: user, account, report })
    }

    fn account(
        &self,
        user: UserName,
        uid: Uid,
        foreign: Vec<ForeignToken>,
        report: &mut ImportReport,
    ) -> anyhow::Result<Account> {
        ensure!(foreign.len() <= MAX_TOKENS, "has more than {MAX_TOKENS} tokens");
        let generation = Generation::generate(&mut SysRng)?;
        let mut state = State::fresh(generation);
        state.activated_at = (!self.options.pending).then_some(self.now);
        let mut tokens: Vec<(TokenId, Token)> = Vec::new();
        let mut issuer = None;
        for (id, foreign) in TokenId::all().zip(foreign) {
            let ForeignToken { token, state: at, issuer: named, not_carried_over, warnings } =
                foreign;
            // A code that one has spent would be good with the other.
            ensure!(
                tokens.iter().all(|(_, other)| !other.secret.is_same_key(&token.secret)),
                "two of the tokens have the same secret"
            );
            self.check(&token, at, &mut report.warnings)?;
            report.warnings.extend(warnings);
            report.not_carried_over.extend(not_carried_over);
            state = state.with_token(id, at);
            tokens.push((id, token));
            match (&issuer, named) {
                (None, Some(named)) if is_issuer(&named) => issuer = Some(named),
                (_, None) => {}
                (Some(kept), Some(named)) if *kept == named => {}
                (_, Some(_)) => report.not_carried_over.push(
                    "an issuer: an account has one, of 1 to 64 characters without ':'".to_owned(),
                ),
            }
        }
        let deadline = self.context.config.enrollment.deadline.seconds();
        let record = Record {
            user,
            uid,
            generation,
            issuer: issuer.unwrap_or_else(|| self.issuer.clone()),
            issued_at: self.now,
            deadline: deadline.filter(|_| self.options.pending).map(|time| self.now.plus(time)),
            tokens,
            recovery: None,
        };
        Ok(Account { record, state })
    }

    /// Adds what an admin should know of a token.
    ///
    /// # Errors
    /// Codes of it could not log in.
    fn check(
        &self,
        token: &Token,
        at: TokenState,
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<()> {
        let bits = token.secret.bits();
        if bits < WEAK_BELOW_BITS {
            warnings.push(format!(
                "the secret has {bits} bits; RFC 4226 asks for {WEAK_BELOW_BITS} or more \
                 (onetimectl enable --new-secret issues one of 160)"
            ));
        }
        ensure!(at.next != Step::END, StoreError::NoCodesLeft);
        match token.kind {
            MovingFactor::Hotp if self.options.pending && at.next.0 > 0 => warnings.push(
                "the QR code shown at logins begins at counter 0, but the token has moved on: \
                 the user must go on with the device they have"
                    .to_owned(),
            ),
            MovingFactor::Hotp => {}
            MovingFactor::Totp { period } => {
                let present = self.now.step(period).0;
                // No clock is followed further.
                let most = i64::try_from(MaxDrift::MOST).unwrap_or(i64::MAX);
                let drift = i64::from(at.drift).clamp(most.saturating_neg(), most);
                let present = present.saturating_add_signed(drift);
                ensure!(
                    at.next.0 <= present.saturating_add(AHEAD),
                    "its last code was used in the future: is the clock wrong, or was the file \
                     written in another time zone (then: TZ=Area/City onetimectl import)"
                );
                let most = self.context.config.code.max_drift.get();
                if u64::from(at.drift.unsigned_abs()) > most {
                    warnings.push(format!(
                        "the token's clock is {} steps off, but max_drift in [code] of \
                         onetime.toml follows {most} only: its codes are not accepted until it \
                         is raised",
                        at.drift
                    ));
                } else if u64::from(at.drift.unsigned_abs()) > self.context.config.code.window.get()
                {
                    // The code may have been typed late, or read from a clock that is off.
                    warnings.push(format!(
                        "its clock is taken to be {} steps off, as its last code was: if codes \
                         are refused, two in a row put that right (onetimectl resync)",
                        at.drift
                    ));
                }
            }
        }
        Ok(())
    }

    fn issue(
        &self,
        prepared: Vec<anyhow::Result<Prepared<'_>>>,
        issued: &mut Issued<'_>,
    ) -> Vec<anyhow::Result<ImportReport>> {
        report::of_those(prepared, |prepared| {
            let (accounts, rest): (Vec<Account>, Vec<_>) =
                prepared.into_iter().map(|it| (it.account, (it.given, it.report))).unzip();
            let outcomes = self.outcomes(&accounts);
            let rows = accounts.into_iter().zip(rest).zip(outcomes);
            rows.map(|((account, (given, mut report)), outcome)| {
                match outcome? {
                    IssueOutcome::New => {}
                    IssueOutcome::NewMovedOn => report.warnings.push(MOVED_ON.to_owned()),
                    IssueOutcome::AlreadyThere => bail!(ENABLED),
                }
                if !self.options.dry_run {
                    let what = "imported: a secret from elsewhere was issued";
                    report::log(&account.record.user, what);
                }
                issued.insert(given, account.record.user);
                Ok(report)
            })
            .collect()
        })
    }

    /// What came of each, or what would come of it.
    fn outcomes(&self, accounts: &[Account]) -> Vec<anyhow::Result<IssueOutcome>> {
        let replace = if self.options.replace { Replace::Yes } else { Replace::No };
        let foresee = |account: &Account, store: &Store| {
            let there = replace == Replace::No && store.inspect(&account.record.user)?.is_some();
            Ok(if there { IssueOutcome::AlreadyThere } else { IssueOutcome::New })
        };
        match &self.goal {
            Goal::Issued(batch) => {
                batch.issue(accounts, replace).into_iter().map(|outcome| Ok(outcome?)).collect()
            }
            Goal::Foreseen(Some(store)) => accounts.iter().map(|it| foresee(it, store)).collect(),
            Goal::Foreseen(None) => accounts.iter().map(|_| Ok(IssueOutcome::New)).collect(),
        }
    }
}
