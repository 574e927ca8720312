//! Judges a line of the module by what is known of the program that uses the service: one
//! that cannot read the store, that gives one answer to every prompt, or that asks again and
//! again. Values in, notes out.

use std::path::Path;

use pam_onetime::callers::Asker;
use pam_onetime::config::{Config, DEFAULT_PATH};
use pam_onetime::{Arguments, PasswordMode};

use super::finding::FindingId;
use super::known_services::{Program, Prompts, RemoteHost, program};
use super::onetimed::Socket;
use super::rules::Note;
use super::stack::StackLine;

/// All that is to be said of a good line in a service.
pub(super) fn judge(
    service: &str,
    entry: &StackLine,
    arguments: &Arguments,
    config: &Config,
    socket: Socket,
) -> Vec<Note> {
    let Some(program) = program(service) else { return Vec::new() };
    let line = ProgramLine { program, entry, arguments, config };
    match program.prompts() {
        Prompts::WithoutRoot => match line.without_root(service, socket) {
            Some(note) => vec![note],
            None => line.one_prompt().into_iter().filter(|_| program.is_asked_once()).collect(),
        },
        Prompts::One => line.one_prompt().into_iter().chain(line.remembered()).collect(),
        Prompts::Any => line.remembered().into_iter().collect(),
    }
}

/// A line of the module, and the program that comes to it.
struct ProgramLine<'a> {
    program: &'static Program,
    entry: &'a StackLine,
    arguments: &'a Arguments,
    config: &'a Config,
}

impl ProgramLine<'_> {
    fn note(&self, id: FindingId, what: &str, remedy: &'static str) -> Note {
        let Program { name, .. } = self.program;
        Note::new(id, format!("{} {name} {what}", self.entry.place), remedy)
    }

    /// The module is reached, by name or by an include, and reads no store; nothing where
    /// onetimed judges its logins.
    fn without_root(&self, service: &str, socket: Socket) -> Option<Note> {
        let who = match self.program.runs_as.as_str() {
            "user" => "the user",
            account => account,
        };
        let is_of_user = self.program.runs_as == "user";
        let (fault, remedy) = match socket {
            Socket::Silent => (
                "nobody listens at /run/onetime/socket".to_owned(),
                "systemctl enable --now onetimed.socket (onetimed(8)); or give it a file without \
                 pam_onetime.so, which includes none that has it: conf/pam.d/password-only",
            ),
            Socket::Listening if is_of_user || self.config.daemon.permits(who, service) => {
                return self.not_believed(is_of_user);
            }
            Socket::Listening => (
                "daemon.may_ask does not name that account with this service".to_owned(),
                "name both in onetime.toml: [daemon] may_ask (onetimed(8)); or give it a file \
                 without pam_onetime.so, which includes none that has it: conf/pam.d/password-only",
            ),
        };
        let what = format!(
            "runs as {who}, who cannot read the store, and {fault}: everybody is refused, also \
             who needs no code"
        );
        Some(self.note(FindingId::PamWithoutRoot, &what, remedy))
    }

    /// What the line says that holds for root's programs alone.
    fn not_believed(&self, is_of_user: bool) -> Option<Note> {
        let asker = if is_of_user { Asker::User } else { Asker::Service };
        let relayed = self.arguments.clone().relayed(asker, Path::new(DEFAULT_PATH));
        let what = format!("is refused by onetimed: {}", relayed.err()?);
        let remedy = "take that out of the line: every login of this service is refused";
        Some(self.note(FindingId::PamArgumentsRefused, &what, remedy))
    }

    fn one_prompt(&self) -> Option<Note> {
        let is_asked_once = match self.arguments.password {
            PasswordMode::Verify => self.config.login.is_combined(),
            // What checks the password asks for it.
            PasswordMode::Stack => false,
            PasswordMode::None => true,
        };
        let what = "gives one answer to every prompt, and password and code are asked apart: who \
                    has a code is refused";
        let remedy = "list pam_onetime.so prompt=combined, without password=stack, in the place \
                      of what checks the password: conf/pam.d/one-prompt";
        (!is_asked_once).then(|| self.note(FindingId::PamOnePrompt, what, remedy))
    }

    /// Whether its host is remembered, where that is wanted.
    fn remembered(&self) -> Option<Note> {
        let has_address = match self.program.host {
            Some(RemoteHost::Address) | None => true,
            Some(RemoteHost::Name | RemoteHost::None | RemoteHost::Any) => false,
        };
        let is_of_line = self.entry.arguments.iter().any(|it| it.starts_with("remember="));
        let remembers = self.config.login.remember.seconds().is_some();
        if self.program.repeats && !has_address {
            let what = "asks again and again with the same password, and says no address that \
                        could be remembered: each time needs a new code";
            let remedy = "if that is too much, give the service conf/pam.d/password-only: a \
                          password alone lets in there";
            Some(self.note(FindingId::PamRepeats, what, remedy))
        } else if self.program.repeats && !remembers {
            let what = "asks again and again with the same password: without remember each time \
                        needs a new code";
            let remedy = "add to the line: remember=12h";
            Some(self.note(FindingId::PamRepeats, what, remedy))
        } else if !has_address && is_of_line && remembers {
            let what = "says no address of who logs in, and only an address is remembered: \
                        remember has no effect";
            let remedy = "take remember out of the line";
            Some(self.note(FindingId::PamRememberIdle, what, remedy))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::services::configured;
    use super::super::stack::{ModuleType, Service};
    use super::*;

    fn judged(service: &str, line: &str) -> Vec<FindingId> {
        judged_with(service, line, Socket::Silent, "")
    }

    fn judged_with(service: &str, line: &str, socket: Socket, toml: &str) -> Vec<FindingId> {
        let text = format!("auth required pam_onetime.so {line}\n");
        let service_read = Service::read("s", &|_| Some(text.clone())).unwrap();
        let stack = service_read.stack(ModuleType::Auth);
        let (arguments, config) =
            configured(stack[0], &|_| Ok(Config::parse(toml).unwrap())).unwrap();
        let notes = judge(service, stack[0], &arguments, &config, socket);
        notes.into_iter().map(|note| note.id).collect()
    }

    #[test]
    fn what_a_program_cannot_do_is_said_of_its_service() {
        use FindingId::*;
        for (service, line, expected) in [
            ("i3lock", "", &[PamWithoutRoot][..]),
            ("i3lock", "prompt=combined", &[PamWithoutRoot]),
            ("postgresql", "", &[PamWithoutRoot]),
            ("vsftpd", "", &[PamOnePrompt]),
            ("vsftpd", "password=stack", &[PamOnePrompt]),
            ("vsftpd", "password=none", &[]),
            ("vsftpd", "prompt=combined", &[]),
            ("dovecot", "", &[PamOnePrompt, PamRepeats]),
            ("dovecot", "prompt=combined", &[PamRepeats]),
            ("dovecot", "prompt=combined remember=12h", &[]),
            ("dovecot", "prompt=combined remember=none", &[PamRepeats]),
            ("saslauthd", "prompt=combined remember=12h", &[PamRepeats]),
            ("sshd", "remember=12h", &[]),
            ("gdm-password", "remember=12h", &[PamRememberIdle]),
            ("gdm-password", "", &[]),
            ("of-nobody", "remember=12h", &[]),
        ] {
            assert_eq!(judged(service, line), expected, "{service} {line}");
        }
    }

    #[test]
    fn where_onetimed_listens_programs_that_are_not_roots_are_served_if_they_may_ask() {
        use FindingId::*;
        const MAY: &str =
            "[daemon]\nmay_ask = [{ user = \"postgres\", services = [\"postgresql\"] }]\n";
        for (service, line, toml, expected) in [
            ("xscreensaver", "", "", &[][..]),
            ("i3lock", "", "", &[PamOnePrompt]),
            ("i3lock", "prompt=combined", "", &[]),
            ("xscreensaver", "password=none", "", &[PamArgumentsRefused]),
            ("xscreensaver", "missing=ignore", "", &[PamArgumentsRefused]),
            ("postgresql", "prompt=combined", "", &[PamWithoutRoot]),
            ("postgresql", "prompt=combined", MAY, &[]),
            ("postgresql", "", MAY, &[PamOnePrompt]),
            ("nginx", "prompt=combined", MAY, &[PamWithoutRoot]),
            ("sshd", "", "", &[]),
        ] {
            let found = judged_with(service, line, Socket::Listening, toml);
            assert_eq!(found, expected, "{service} {line} {toml}");
        }
    }
}
