//! What is known of the programs that log people in, by their PAM services: how a text of a
//! login gets to the person, if it does, and whether they say who asks; and of those who have
//! a login judged, whom one can believe.

/// How a program brings a text to the person who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// To that person's own program, whatever its size. A program that nobody has looked at
    /// counts as one: it shows no secret unless the administrator names it.
    Direct,
    /// It prints the text: to that person if what it prints to is a terminal.
    Printed,
    /// In a window, or as a message between programs: what is long gets lost.
    Short,
    /// Not at all: a text stops the program, and the login with it.
    Nothing,
}

/// Who asks whether a user may log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A program of root's: what it says of the login is so.
    Root,
    /// A program of the user's own, a screen locker for instance.
    User,
    /// A service's account that the administrator has named (`may_ask`), such as a
    /// database's. Whoever breaks into it may ask for anybody.
    Service,
}

impl Asker {
    /// Whether a secret can be issued, shown or activated.
    #[must_use]
    pub const fn may_enroll(self) -> bool {
        match self {
            Self::Root | Self::User => true,
            Self::Service => false,
        }
    }

    /// Whether what it says of the host, the terminal and who else is behind it is so.
    #[must_use]
    pub const fn is_believed(self) -> bool {
        match self {
            Self::Root => true,
            Self::User | Self::Service => false,
        }
    }
}

/// The services at which a secret is shown unless the configuration names others: of these
/// programs tests have shown that a text of that size reaches the person and nothing else.
pub const PROVEN: [&str; 7] = ["login", "remote", "sshd", "su", "su-l", "sudo", "sudo-i"];

/// How the program of a service brings texts.
#[must_use]
pub fn carrier(service: &str) -> Carrier {
    match service {
        "chfn" | "chsh" | "doas" | "login" | "passwd" | "remote" | "su" | "su-l" | "sudo"
        | "sudo-i" | "vlock" => Carrier::Printed,
        "cinnamon-screensaver"
        | "greetd"
        | "mate-screensaver"
        | "polkit-1"
        | "xscreensaver"
        | "xsecurelock" => Carrier::Short,
        "sddm" | "xdm" => Carrier::Nothing,
        _ if ["gdm", "kde", "kscreenlocker", "lightdm"]
            .iter()
            .any(|family| service.starts_with(family)) =>
        {
            Carrier::Short
        }
        _ => Carrier::Direct,
    }
}

/// Whether PAM_RUSER, where the program of a service sets it, is who asks. polkit's is the
/// administrator whose password is asked for.
#[must_use]
pub fn names_who_asks(service: &str) -> bool {
    service != "polkit-1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_unasked_only_by_programs_that_bring_a_text_of_any_size() {
        for service in PROVEN {
            assert!(
                matches!(carrier(service), Carrier::Direct | Carrier::Printed),
                "{service}: {:?}",
                carrier(service)
            );
        }
        // Whoever prints needs a terminal, wherever it is named.
        for service in PROVEN.iter().filter(|service| **service != "sshd") {
            assert_eq!(carrier(service), Carrier::Printed, "{service}");
        }
    }

    #[test]
    fn a_family_of_services_is_known_by_what_their_names_begin_with() {
        for (service, expected) in [
            ("gdm-password", Carrier::Short),
            ("lightdm-greeter", Carrier::Short),
            ("kde", Carrier::Short),
            ("sddm", Carrier::Nothing),
            ("xdm", Carrier::Nothing),
            ("openvpn", Carrier::Direct),
            ("", Carrier::Direct),
        ] {
            assert_eq!(carrier(service), expected, "{service}");
        }
    }
}
