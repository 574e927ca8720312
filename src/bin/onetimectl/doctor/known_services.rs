//! Services that programs are known to use, by names that need not be those of the programs.
//! Names in, answers out.

/// Services of daemons, which run as root whoever logs in.
const DAEMONS: [&str; 16] = [
    "cockpit", "dovecot", "ftp", "greetd", "imap", "login", "lxdm", "pop3", "proftpd", "remote",
    "rlogin", "rsh", "sddm", "sshd", "vsftpd", "xdm",
];
/// What the names of others begin with.
const DAEMON_FAMILIES: [&str; 5] = ["gdm", "lightdm", "kde", "xrdp", "cups"];

/// Services of programs that are started by users, and of those without a file.
const OTHERS: [&str; 12] = [
    "cinnamon-screensaver",
    "gnome-screensaver",
    "i3lock",
    "mate-screensaver",
    "other",
    "polkit-1",
    "su",
    "su-l",
    "sudo",
    "sudo-i",
    "swaylock",
    "xscreensaver",
];

/// Whether root's daemon uses the service, whoever logs in.
pub(super) fn is_of_daemon(service: &str) -> bool {
    DAEMONS.contains(&service) || DAEMON_FAMILIES.iter().any(|family| service.starts_with(family))
}

/// Whether a program is known to ask for a password by this service.
pub(super) fn is_logged_in_to(service: &str) -> bool {
    is_of_daemon(service) || OTHERS.contains(&service)
}

/// Services whose programs take one password and answer each hidden prompt with it, or
/// whose protocols have room for one answer.
const ONE_ANSWER: [&str; 23] = [
    "cups",
    "dovecot",
    "ejabberd",
    "ftp",
    "imap",
    "lxdm",
    "netatalk",
    "openvpn",
    "pop3",
    "postgresql",
    "proftpd",
    "pure-ftpd",
    "radiusd",
    "saslauthd",
    "sddm",
    "sieve",
    "slim",
    "smtp",
    "squid",
    "vsftpd",
    "webmin",
    "xrdp-sesman",
    "nginx",
];

/// Services of screen lockers that run as the user.
const WITHOUT_ROOT: [&str; 12] = [
    "cinnamon-screensaver",
    "gtklock",
    "hyprlock",
    "i3lock",
    "kde",
    "kscreenlocker",
    "mate-screensaver",
    "swaylock",
    "waylock",
    "xfce4-screensaver",
    "xscreensaver",
    "xsecurelock",
];

/// What the programs of a service can ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompts {
    /// A password and a code, as far as is known.
    Any,
    /// One password.
    One,
    /// Nothing by the store: they run as the user.
    WithoutRoot,
}

/// What the programs of a service can ask.
pub(super) fn prompts(service: &str) -> Prompts {
    if ONE_ANSWER.contains(&service) {
        Prompts::One
    } else if WITHOUT_ROOT.contains(&service) {
        Prompts::WithoutRoot
    } else {
        Prompts::Any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_can_ask_is_known_by_its_service() {
        for (service, expected) in [
            ("sddm", Prompts::One),
            ("i3lock", Prompts::WithoutRoot),
            ("sshd", Prompts::Any),
            ("gdm-password", Prompts::Any),
        ] {
            assert_eq!(prompts(service), expected, "{service}");
        }
    }

    #[test]
    fn a_service_is_known_by_its_own_name_or_by_its_family() {
        for (service, daemon, known) in [
            ("sshd", true, true),
            ("gdm-password", true, true),
            ("su-l", false, true),
            ("other", false, true),
            ("common-auth", false, false),
            ("onetime-password", false, false),
        ] {
            assert_eq!(is_of_daemon(service), daemon, "{service}");
            assert_eq!(is_logged_in_to(service), known, "{service}");
        }
    }
}
