//! What a check finds. Each kind of finding has a name, which decides the check
//! that it is of and how bad it is; onetimectl(8) explains each.

use serde::Serialize;

use crate::error::without_numbers;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// It works, but an admin should know.
    Warn,
    /// Somebody is refused, or let in, who should not be.
    Fail,
}

impl Level {
    /// As in the report.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Check {
    #[serde(rename = "pam.d")]
    PamD,
    #[serde(rename = "profile")]
    Profile,
    #[serde(rename = "password service")]
    PasswordService,
    #[serde(rename = "sshd")]
    Sshd,
    #[serde(rename = "programs")]
    Programs,
    #[serde(rename = "units")]
    Units,
    #[serde(rename = "module")]
    Module,
    #[serde(rename = "configuration")]
    Configuration,
    #[serde(rename = "store")]
    Store,
    #[serde(rename = "accounts")]
    Accounts,
    #[serde(rename = "clock")]
    Clock,
    #[serde(rename = "syslog")]
    Syslog,
    #[serde(rename = "selinux")]
    Selinux,
}

impl Check {
    /// As in the report.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::PamD => "pam.d",
            Self::Profile => "profile",
            Self::PasswordService => "password service",
            Self::Sshd => "sshd",
            Self::Programs => "programs",
            Self::Units => "units",
            Self::Module => "module",
            Self::Configuration => "configuration",
            Self::Store => "store",
            Self::Accounts => "accounts",
            Self::Clock => "clock",
            Self::Syslog => "syslog",
            Self::Selinux => "selinux",
        }
    }
}

macro_rules! finding_ids {
    ($($id:ident = $word:literal, $check:ident, $level:ident;)+) => {
        /// The name of a finding. Programs rely on it: a name keeps its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub(crate) enum FindingId {
            $(#[serde(rename = $word)] $id,)+
        }

        impl FindingId {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$id),+];

            /// As in the report.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Self::$id => $word,)+ }
            }

            /// The check that it is of.
            pub(crate) const fn check(self) -> Check {
                match self { $(Self::$id => Check::$check,)+ }
            }

            /// How bad it is.
            pub(crate) const fn level(self) -> Level {
                match self { $(Self::$id => Level::$level,)+ }
            }
        }
    };
}

// In the order in which the findings of one check are reported.
finding_ids! {
    PamSound = "pam-sound", PamD, Ok;
    PamNeverAsked = "pam-never-asked", PamD, Ok;
    PamOtherFactor = "pam-other-factor", PamD, Ok;
    PamLocker = "pam-locker", PamD, Ok;
    PamUnused = "pam-unused", PamD, Warn;
    PamUnusedByAccounts = "pam-unused-by-accounts", PamD, Fail;
    PamWithoutCode = "pam-without-code", PamD, Warn;
    PamServiceBroken = "pam-service-broken", PamD, Warn;
    PamLineBroken = "pam-line-broken", PamD, Fail;
    PamModuleMissing = "pam-module-missing", PamD, Fail;
    PamTypeWrong = "pam-type-wrong", PamD, Fail;
    PamArgumentsRefused = "pam-arguments-refused", PamD, Fail;
    PamCodeSkipped = "pam-code-skipped", PamD, Fail;
    PamFactorInstead = "pam-factor-instead", PamD, Warn;
    PamConditionInstead = "pam-condition-instead", PamD, Warn;
    PamNeverReached = "pam-never-reached", PamD, Warn;
    PamListedTwice = "pam-listed-twice", PamD, Fail;
    PamCodeOverruled = "pam-code-overruled", PamD, Fail;
    PamSufficient = "pam-sufficient", PamD, Warn;
    PamOthersRefused = "pam-others-refused", PamD, Fail;
    PamPasswordUnchecked = "pam-password-unchecked", PamD, Fail;
    PamPasswordOverruled = "pam-password-overruled", PamD, Fail;
    PamStrangersLock = "pam-strangers-lock", PamD, Warn;
    PamPasswordTwice = "pam-password-twice", PamD, Warn;
    PamCodeAlone = "pam-code-alone", PamD, Warn;
    PamAccountMissing = "pam-account-missing", PamD, Fail;
    PamAccountOverruled = "pam-account-overruled", PamD, Fail;
    PamWithoutRoot = "pam-without-root", PamD, Fail;
    PamOnePrompt = "pam-one-prompt", PamD, Fail;
    PamRepeats = "pam-repeats", PamD, Warn;
    PamRememberIdle = "pam-remember-idle", PamD, Warn;

    ProfileInForce = "profile-in-force", Profile, Ok;
    ProfileOff = "profile-off", Profile, Ok;
    ProfileNeverAsks = "profile-never-asks", Profile, Ok;
    ProfileCannotAsk = "profile-cannot-ask", Profile, Warn;
    ProfileEdited = "profile-edited", Profile, Warn;
    ProfileNotInForce = "profile-not-in-force", Profile, Fail;

    PasswordServiceSound = "password-service-sound", PasswordService, Ok;
    PasswordServiceMissing = "password-service-missing", PasswordService, Fail;
    PasswordServiceShared = "password-service-shared", PasswordService, Fail;
    PasswordServiceLineBroken = "password-service-line-broken", PasswordService, Fail;
    PasswordServiceRecursion = "password-service-recursion", PasswordService, Fail;
    PasswordServiceAcceptsAny = "password-service-accepts-any", PasswordService, Fail;
    PasswordServiceChecksNone = "password-service-checks-none", PasswordService, Fail;
    PasswordServiceUnknown = "password-service-unknown", PasswordService, Warn;
    PasswordServiceRefusesAll = "password-service-refuses-all", PasswordService, Warn;
    PasswordServiceAccountMissing = "password-service-account-missing", PasswordService, Fail;
    PasswordServiceAccountRefuses = "password-service-account-refuses", PasswordService, Fail;
    PasswordServiceAsksMore = "password-service-asks-more", PasswordService, Warn;

    SshdSound = "sshd-sound", Sshd, Ok;
    SshdPenalties = "sshd-penalties", Sshd, Ok;
    SshdWithoutCode = "sshd-without-code", Sshd, Fail;
    SshdNotAsked = "sshd-not-asked", Sshd, Warn;
    SshdConfigRefused = "sshd-config-refused", Sshd, Fail;
    SshdConfigUnreadable = "sshd-config-unreadable", Sshd, Warn;
    SshdWithoutPam = "sshd-without-pam", Sshd, Fail;
    SshdWithoutPrompts = "sshd-without-prompts", Sshd, Fail;
    SshdPasswordMethod = "sshd-password-method", Sshd, Warn;
    SshdCodeAlone = "sshd-code-alone", Sshd, Fail;
    SshdMethodWithoutCode = "sshd-method-without-code", Sshd, Warn;
    SshdMatchDiffers = "sshd-match-differs", Sshd, Warn;

    ProftpdSecondWay = "proftpd-second-way", Programs, Fail;
    DovecotSecondWay = "dovecot-second-way", Programs, Fail;
    SaslauthdCache = "saslauthd-cache", Programs, Fail;
    SambaWithoutCode = "samba-without-code", Programs, Warn;
    ProgramConfigUnreadable = "program-config-unreadable", Programs, Warn;
    AdministratorsWithoutCode = "administrators-without-code", Programs, Warn;

    UnitStoreReadOnly = "unit-store-read-only", Units, Fail;
    OnetimedSocketMode = "onetimed-socket-mode", Units, Fail;

    ModuleSound = "module-sound", Module, Ok;
    ModuleMissing = "module-missing", Module, Fail;
    ModuleDirUnknown = "module-dir-unknown", Module, Warn;
    ModuleExposed = "module-exposed", Module, Fail;
    ModuleNotLoadable = "module-not-loadable", Module, Fail;

    ConfigurationSound = "configuration-sound", Configuration, Ok;
    ConfigurationRefused = "configuration-refused", Configuration, Fail;
    PolicyRequiredGroupUnknown = "policy-required-group-unknown", Configuration, Fail;
    PolicyExemptGroupUnknown = "policy-exempt-group-unknown", Configuration, Warn;
    PolicyNetworkWide = "policy-network-wide", Configuration, Warn;
    PolicyNoLimits = "policy-no-limits", Configuration, Warn;
    PolicyLimitsWeak = "policy-limits-weak", Configuration, Warn;
    PolicySecretShown = "policy-secret-shown", Configuration, Warn;
    PolicyShowAtUnsafe = "policy-show-at-unsafe", Configuration, Fail;
    PolicyShowAtShort = "policy-show-at-short", Configuration, Warn;
    PolicyShowAtUnknown = "policy-show-at-unknown", Configuration, Warn;
    PolicyNothingShown = "policy-nothing-shown", Configuration, Warn;
    PolicyQrAscii = "policy-qr-ascii", Configuration, Warn;
    PolicyIssuerCommon = "policy-issuer-common", Configuration, Warn;
    PolicyMayAskRoot = "policy-may-ask-root", Configuration, Warn;
    PolicyMayAskUnknown = "policy-may-ask-unknown", Configuration, Warn;
    PolicyMayAskService = "policy-may-ask-service", Configuration, Warn;

    StoreSound = "store-sound", Store, Ok;
    StoreMissing = "store-missing", Store, Fail;
    StoreFormat = "store-format", Store, Fail;
    StoreIncomplete = "store-incomplete", Store, Fail;
    StoreUnreadable = "store-unreadable", Store, Fail;
    StorePathExposed = "store-path-exposed", Store, Fail;
    StoreDirExposed = "store-dir-exposed", Store, Fail;
    StoreFileExposed = "store-file-exposed", Store, Fail;
    StoreEntryStrange = "store-entry-strange", Store, Fail;
    StoreLeftovers = "store-leftovers", Store, Warn;
    StoreForeignName = "store-foreign-name", Store, Warn;
    StoreIndexMissing = "store-index-missing", Store, Fail;
    StoreIndexDamaged = "store-index-damaged", Store, Fail;
    StoreNocowMissing = "store-nocow-missing", Store, Warn;

    AccountsSound = "accounts-sound", Accounts, Ok;
    AccountUnreadable = "account-unreadable", Accounts, Fail;
    AccountFileRefused = "account-file-refused", Accounts, Fail;
    AccountRecordDamaged = "account-record-damaged", Accounts, Fail;
    AccountStateDamaged = "account-state-damaged", Accounts, Fail;
    AccountServicesDamaged = "account-services-damaged", Accounts, Fail;
    AccountUidDiffers = "account-uid-differs", Accounts, Fail;
    AccountUserNotLookedUp = "account-user-not-looked-up", Accounts, Fail;
    AccountUserUnknown = "account-user-unknown", Accounts, Warn;
    AccountRenamed = "account-renamed", Accounts, Fail;
    AccountAlias = "account-alias", Accounts, Fail;
    AccountSecondName = "account-second-name", Accounts, Warn;
    AccountUidShared = "account-uid-shared", Accounts, Warn;
    AccountNotIndexed = "account-not-indexed", Accounts, Fail;
    AccountDeadlinePassed = "account-deadline-passed", Accounts, Warn;
    AccountDeadlineUnknown = "account-deadline-unknown", Accounts, Fail;
    AccountCodesAhead = "account-codes-ahead", Accounts, Fail;
    AccountLockAhead = "account-lock-ahead", Accounts, Warn;
    AccountTimesAhead = "account-times-ahead", Accounts, Warn;
    AccountStateOrphaned = "account-state-orphaned", Accounts, Warn;

    ClockSynchronized = "clock-synchronized", Clock, Ok;
    ClockFarOff = "clock-far-off", Clock, Fail;
    ClockUnsynchronized = "clock-unsynchronized", Clock, Warn;
    ClockUnknown = "clock-unknown", Clock, Warn;

    SyslogListens = "syslog-listens", Syslog, Ok;
    SyslogMissing = "syslog-missing", Syslog, Warn;

    SelinuxOff = "selinux-off", Selinux, Ok;
    SelinuxSound = "selinux-sound", Selinux, Ok;
    SelinuxUnlabelled = "selinux-unlabelled", Selinux, Warn;
    SelinuxDenials = "selinux-denials", Selinux, Warn;
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: FindingId,
    pub(crate) check: Check,
    #[serde(rename = "result")]
    pub(crate) level: Level,
    /// Printable, in one line.
    pub(crate) what: String,
    /// Printable, in one line; none if nothing is wrong.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    /// Something is as it should be.
    pub(crate) fn sound(id: FindingId, what: impl AsRef<str>) -> Self {
        Self {
            id,
            check: id.check(),
            level: id.level(),
            what: printable(what.as_ref()),
            remedy: None,
        }
    }

    /// Something is not as it should be.
    pub(crate) fn new(id: FindingId, what: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self { remedy: Some(printable(remedy.as_ref())), ..Self::sound(id, what) }
    }
}

/// Names out of files reach a terminal: no control characters among them. Nor are there
/// numbers of errors, which nobody knows.
fn printable(text: &str) -> String {
    without_numbers(text).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Names in their order, each once, and none left out: whoever is not named is not found.
#[derive(Debug, Default)]
pub(crate) struct NameList(std::collections::BTreeSet<String>);

impl NameList {
    pub(crate) fn add(&mut self, name: impl Into<String>) {
        self.0.insert(name.into());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for NameList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const PAGE: &str = include_str!("../../../../docs/onetimectl.8");

    #[test]
    fn every_finding_is_explained_in_the_manual_page_and_back() {
        let section = PAGE.split_once("\n.Sh FINDINGS\n").expect("a section FINDINGS").1;
        let section = section.split("\n.Sh ").next().unwrap_or_default();
        let explained: Vec<_> =
            section.lines().filter_map(|line| line.strip_prefix(".It Cm ")).collect();
        let all: Vec<_> = FindingId::ALL.iter().map(|id| id.word()).collect();
        assert_eq!(explained, all, "the same, and in the same order");
        // A paragraph each.
        for paragraph in section.split("\n.It Cm ").skip(1) {
            assert!(paragraph.lines().filter(|line| !line.starts_with(".El")).count() > 1);
        }
    }

    #[test]
    fn every_finding_is_made_by_a_test() {
        let sources = |dir: &str| {
            let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
            let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
            files.filter(|file| file.extension().is_some_and(|ending| ending == "rs"))
        };
        let read = |file| std::fs::read_to_string(file).unwrap();
        let mut tests: String = sources("tests/it").map(read).collect();
        for file in
            sources("src/bin/onetimectl/doctor").filter(|file| !file.ends_with("finding.rs"))
        {
            tests.push_str(read(file).split_once("#[cfg(test)]\nmod").map_or("", |parts| parts.1));
        }
        let words: BTreeSet<_> =
            tests.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
        for id in FindingId::ALL {
            assert!(
                words.contains(id.word()) || words.contains(format!("{id:?}").as_str()),
                "{id:?}"
            );
        }
    }

    #[test]
    fn names_are_of_one_form_and_one_each_also_as_json() {
        let mut seen = BTreeSet::new();
        for id in FindingId::ALL {
            assert!(seen.insert(id.word()), "{id:?}");
            assert!(id.word().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{id:?}");
            assert_eq!(serde_json::to_value(id).unwrap(), id.word());
            assert_eq!(serde_json::to_value(id.check()).unwrap(), id.check().word());
            assert_eq!(serde_json::to_value(id.level()).unwrap(), id.level().word());
        }
    }

    #[test]
    fn every_name_is_shown_once_and_in_order() {
        let mut names = NameList::default();
        for number in (0..1_000).rev() {
            names.add(format!("u{number:06}"));
            names.add("u000000");
        }
        assert!(names.to_string().starts_with("u000000, u000001, "), "{names}");
        assert!(names.to_string().ends_with(", u000999"), "{names}");
        assert_eq!(names.to_string().split(", ").count(), 1_000);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(Finding::sound(FindingId::ModuleSound, "a\u{1b}[2Jb\nc").what, "a?[2Jb?c");
    }

    #[test]
    fn an_error_of_the_system_is_in_words_alone() {
        let error = std::io::Error::from_raw_os_error(2);
        let finding = Finding::new(FindingId::ConfigurationRefused, format!("a: {error}"), "b");
        assert_eq!(finding.what, "a: No such file or directory");
    }
}
