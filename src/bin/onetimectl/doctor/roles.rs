//! What the known modules do in a stack, and logins that are tried on it: for
//! given passwords and codes, what would libpam say? Values in, values out.

use super::stack::{Action, ModuleResult, StackLine};
use super::walk::{Walk, walk};

/// The name of the module without `.so`.
const OURS: &str = "pam_onetime";

/// What a module does in a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// This module.
    Code,
    /// Asks for the password, and decides by it.
    Password,
    /// Lets in by something else that the user has.
    Factor,
    /// Always success.
    Permit,
    /// Always failure.
    Deny,
    /// Counts a failure, and has no opinion or refuses: pam_faillock.so authfail.
    Count,
    /// Has no opinion.
    Silent,
    /// Decides by who, where or when.
    Condition,
    /// Lets in whom root has started it for: pam_rootok.so.
    Root,
    /// Not known here. It may be what checks passwords.
    Unknown,
}

pub(super) fn role(entry: &StackLine) -> Role {
    match entry.name() {
        _ if entry.is_idle => Role::Deny,
        OURS => Role::Code,
        "pam_unix" | "pam_unix2" | "pam_tcb" | "pam_sss" | "pam_krb5" | "pam_ldap"
        | "pam_winbind" | "pam_pwdfile" | "pam_userdb" | "pam_mysql" | "pam_pgsql"
        | "pam_radius_auth" | "pam_tacplus" | "pam_himmelblau" | "pam_systemd_home" => {
            Role::Password
        }
        "pam_u2f"
        | "pam_fprintd"
        | "pam_google_authenticator"
        | "pam_oath"
        | "pam_yubico"
        | "pam_pkcs11"
        | "pam_p11"
        | "pam_ssh_agent_auth"
        | "pam_duo" => Role::Factor,
        "pam_permit" => Role::Permit,
        "pam_deny" => Role::Deny,
        "pam_faillock" if entry.has_argument("authfail") => Role::Count,
        // It looks at the real uid, which is the daemon's.
        "pam_rootok" if entry.is_run_by_root => Role::Permit,
        "pam_rootok" => Role::Root,
        "pam_faildelay"
        | "pam_nologin"
        | "pam_env"
        | "pam_group"
        | "pam_cap"
        | "pam_mail"
        | "pam_warn"
        | "pam_echo"
        | "pam_keyinit"
        | "pam_gnome_keyring"
        | "pam_kwallet"
        | "pam_kwallet5"
        | "pam_ecryptfs"
        | "pam_mount"
        | "pam_motd"
        | "pam_lastlog"
        | "pam_loginuid"
        | "pam_selinux"
        | "pam_systemd_loadkey"
        | "pam_umask" => Role::Silent,
        "pam_access" | "pam_faillock" | "pam_listfile" | "pam_localuser" | "pam_rhosts"
        | "pam_securetty" | "pam_shells" | "pam_succeed_if" | "pam_tally" | "pam_tally2"
        | "pam_time" | "pam_timestamp" | "pam_usertype" | "pam_wheel" => Role::Condition,
        _ if entry.is_broken() => Role::Deny,
        _ => Role::Unknown,
    }
}

/// A login that is tried on a stack.
#[derive(Clone, Copy)]
pub(super) struct Trial {
    /// Which of the modules that look at a password or a factor is satisfied, by its
    /// index.
    pub(super) satisfied: Option<usize>,
    /// What our module returns.
    pub(super) code: ModuleResult,
}

impl Trial {
    pub(super) fn run(self, stack: &[&StackLine]) -> Walk {
        walk(stack, |index, entry| match role(entry) {
            Role::Code => self.code,
            Role::Password | Role::Factor if self.satisfied == Some(index) => ModuleResult::Success,
            Role::Password | Role::Factor | Role::Deny => ModuleResult::Failure,
            Role::Permit => ModuleResult::Success,
            Role::Silent | Role::Count => ModuleResult::Ignore,
            // pam_rootok.so, pam_succeed_if.so: the question is not whom they let
            // pass, but what comes of everybody else.
            Role::Condition | Role::Root | Role::Unknown => match entry.control.success {
                Action::Done | Action::Jump(_) => ModuleResult::Failure,
                Action::Ignore | Action::Ok | Action::Bad | Action::Die | Action::Reset => {
                    ModuleResult::Success
                }
            },
        })
    }
}
