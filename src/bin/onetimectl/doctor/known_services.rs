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

#[cfg(test)]
mod tests {
    use super::*;

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
