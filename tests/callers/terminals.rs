//! Programs of terminals: sshd, login, su, sudo and others; and those that run commands for
//! users without ever asking them.

use std::time::Duration;

use regex::Regex;

use crate::common::Heard;
use crate::desktops::prompts;
use crate::people::{End, Met, PASSWORD, Person, VISITOR, talk};
use crate::program::{Program, Stack};
use crate::stage::{PATIENCE, SHELL, Stage, finish, on_terminal};
use crate::system::Suite;

pub(crate) fn programs() -> Vec<Program> {
    let everywhere = [Suite::Bookworm, Suite::Trixie, Suite::Sid];
    let both = [Suite::Bookworm, Suite::Trixie];
    let on = |suites: &[Suite], program: Program| -> Vec<Program> {
        let cheap = |suite| program.cheap && suite == Suite::Bookworm;
        let with =
            |suite: &Suite| Program { suite: *suite, cheap: cheap(*suite), ..program.clone() };
        suites.iter().map(with).collect()
    };
    let packages = [
        on(&everywhere, SSHD),
        on(&everywhere, LOGIN),
        on(&[Suite::Bookworm], LOGIN_OF_A_HOST),
        on(&[Suite::Trixie], Program { services: &["remote"], ..LOGIN_OF_A_HOST }),
        on(&everywhere, SU),
        on(&both, SU_L),
        on(&both, SU_INTO_A_FILE),
        on(&everywhere, SUDO),
        on(&both, SUDO_I),
        on(&both, SUDO_INTO_A_FILE),
        on(&[Suite::Trixie, Suite::Sid], SUDO_RS),
        on(&both, DOAS),
        on(&both, CHSH),
        on(&both, PASSWD),
        on(&both, VLOCK),
        on(&both, SCREEN),
        on(&both, SCREEN_WITH_A_PASSWORD),
        on(&both, GREETD),
        on(&both, CRON),
        on(&both, AT),
    ];
    packages.into_iter().flatten().collect()
}

const STACK: &str = include_str!("../../conf/pam.d/stack");

const SSHD: Program = Program {
    name: "OpenSSH",
    run: "sshd",
    package: "openssh-server",
    services: &["sshd"],
    stack: Stack::Shipped,
    shows: true,
    cheap: true,
    prepare: |stage| {
        stage.write(
            "/etc/ssh/sshd_config.d/00-onetime.conf",
            "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n",
        );
        stage.shell("ssh-keygen -A");
        let mut sshd = stage.command("/usr/sbin/sshd");
        sshd.args(["-D", "-e"]);
        stage.daemon("sshd", sshd);
        stage.wait_for_port(22);
    },
    login: |stage, person| {
        let host = format!("{}@127.0.0.1", person.name);
        let options = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"];
        let mut ssh = stage.command_as(VISITOR, "ssh");
        talk(stage, &mut on_terminal(ssh.args(options).arg(host)), person, &[])
    },
    ..Program::PLAIN
};

const LOGIN: Program = Program {
    name: "login",
    run: "login",
    package: "login",
    services: &["login"],
    stack: Stack::Shipped,
    shows: true,
    cheap: true,
    login: |stage, person| at_console(stage, person, &[]),
    ..Program::PLAIN
};

const LOGIN_OF_A_HOST: Program = Program {
    run: "login -h",
    // What telnetd and others start.
    login: |stage, person| at_console(stage, person, &["-h", "192.0.2.7"]),
    ..LOGIN
};

/// It must lead a session: it makes a group of its own, and hangs up the terminal.
fn at_console(stage: &Stage, person: &Person, arguments: &[&str]) -> Met {
    let mut login = stage.command("setsid");
    login.args(["--ctty", "--wait", "--", "login"]).args(arguments).arg(person.name);
    talk(stage, &mut on_terminal(&login), person, &["incorrect"])
}

const SU: Program = Program {
    name: "su",
    run: "su",
    package: "util-linux",
    services: &["su"],
    stack: Stack::Shipped,
    shows: true,
    cheap: true,
    login: |stage, person| {
        talk(stage, &mut stage.pty_as(VISITOR, "su", &[person.name]), person, &[])
    },
    ..Program::PLAIN
};

const SU_L: Program = Program {
    run: "su -l",
    services: &["su-l"],
    login: |stage, person| {
        talk(stage, &mut stage.pty_as(VISITOR, "su", &["-l", person.name]), person, &[])
    },
    ..SU
};

const SU_INTO_A_FILE: Program = Program {
    run: "su, output to a file",
    login: |stage, person| {
        into_a_file(stage, VISITOR, &format!("su {} -c {SHELL}", person.name), person)
    },
    ..SU
};

const SUDO: Program = Program {
    name: "sudo",
    run: "sudo",
    package: "sudo",
    services: &["sudo"],
    stack: Stack::Shipped,
    shows: true,
    cheap: true,
    prepare: may_become_the_visitor,
    login: |stage, person| {
        let arguments = ["-k", "-u", VISITOR, SHELL];
        talk(stage, &mut stage.pty_as(person.name, "sudo", &arguments), person, &["try again"])
    },
    ..Program::PLAIN
};

const SUDO_I: Program = Program {
    run: "sudo -i",
    services: &["sudo-i"],
    login: |stage, person| {
        let arguments = ["-k", "-i", "-u", VISITOR];
        talk(stage, &mut stage.pty_as(person.name, "sudo", &arguments), person, &["try again"])
    },
    ..SUDO
};

const SUDO_INTO_A_FILE: Program = Program {
    run: "sudo -S, without a terminal",
    // What is typed comes by standard input, and all at once.
    login: |stage, person| {
        let mut sudo = stage.command_as(person.name, "sudo");
        let answers = format!("{PASSWORD}\n{}\nsecond\n", person.answer("code"));
        let run = finish(sudo.args(["-k", "-S", "-u", VISITOR, SHELL]), answers.as_bytes());
        let end = End::let_in(run.stdout.contains("Welcome, "));
        Met { end, person: run.stderr, output: run.stdout }
    },
    ..SUDO
};

const SUDO_RS: Program = Program {
    name: "sudo-rs",
    run: "sudo-rs",
    package: "sudo-rs",
    packages: &["sudo-rs"],
    cheap: false,
    login: |stage, person| {
        let arguments = ["-k", "-u", VISITOR, SHELL];
        talk(stage, &mut stage.pty_as(person.name, "sudo-rs", &arguments), person, &["try again"])
    },
    ..SUDO
};

fn may_become_the_visitor(stage: &Stage) {
    stage.write("/etc/sudoers.d/people", "Defaults lecture=never\nALL ALL=(ALL:ALL) ALL\n");
    stage.shell("chmod 440 /etc/sudoers.d/people");
}

const DOAS: Program = Program {
    name: "doas",
    run: "doas",
    package: "opendoas",
    services: &["doas"],
    stack: Stack::Include("two-prompts"),
    shows: true,
    cheap: true,
    prepare: |stage| {
        stage.write("/etc/doas.conf", "permit dora\npermit pia\npermit ada\n");
    },
    login: |stage, person| {
        talk(stage, &mut stage.pty_as(person.name, "doas", &["-u", VISITOR, SHELL]), person, &[])
    },
    ..Program::PLAIN
};

const CHSH: Program = Program {
    name: "chsh and chfn",
    run: "chsh",
    package: "passwd",
    services: &["chsh"],
    stack: Stack::Include("two-prompts"),
    shows: true,
    cheap: true,
    login: |stage, person| {
        let script = format!("chsh -s {SHELL} && {SHELL}");
        talk(stage, &mut stage.pty_as(person.name, "sh", &["-c", &script]), person, &["failure"])
    },
    ..Program::PLAIN
};

const PASSWD: Program = Program {
    name: "passwd",
    run: "passwd",
    package: "passwd",
    services: &["passwd"],
    // It asks nothing but for passwords: there is no auth phase to say anything in.
    texts: None,
    cheap: true,
    login: |stage, person| {
        let mut pty = stage.pty_as(person.name, "passwd", &[]);
        for (prompt, answer) in
            [("Current password: ", PASSWORD), ("New password: ", NEW), ("new password: ", NEW)]
        {
            if pty.expect_or_end(prompt).is_none() {
                break;
            }
            pty.send_line(answer);
        }
        let end = End::let_in(pty.expect_or_end("successfully").is_some());
        stage.shell(&format!("echo {}:{PASSWORD} | chpasswd", person.name));
        Met::new(end, pty.text())
    },
    ..Program::PLAIN
};

const NEW: &str = "an-other-long-Phrase-4712";

const VLOCK: Program = Program {
    name: "vlock",
    run: "vlock",
    package: "vlock",
    services: &["vlock"],
    // Debian has no file for it.
    stack: Stack::Include("two-prompts"),
    shows: true,
    cheap: true,
    login: |stage, person| {
        let script = format!("vlock -c && {SHELL}");
        let mut pty = stage.pty_as(person.name, "sh", &["-c", &script]);
        pty.expect("[ENTER]");
        // It throws away what comes before it is ready.
        stage.until("it asks", || {
            pty.send_line("");
            stage.comes(Duration::from_secs(10), || !prompts(stage).is_empty())
        });
        talk(stage, &mut pty, person, &["failure"])
    },
    ..Program::PLAIN
};

pub(crate) const SCREEN: Program = Program {
    name: "GNU screen",
    run: "screen, C-a x",
    packages: &["screen"],
    package: "screen",
    services: &["screen"],
    stack: Stack::Text(STACK),
    login: |stage, person| unlock_screen(stage, person, PASSWORD),
    ..Program::PLAIN
};

/// Locks, and gives this answer.
pub(crate) fn unlock_screen(stage: &Stage, person: &Person, answer: &str) -> Met {
    stage.shell("mkdir -p /run/screen; chmod 1777 /run/screen");
    let mut pty = stage.pty_as(person.name, "screen", &["-q", "sh"]);
    pty.expect("$");
    pty.send(b"\x01x");
    pty.expect("assword:");
    pty.send_line(answer);
    // Unlocked, it goes back to its screen; else it asks again.
    let end = match pty.listen(Regex::new(r"assword:|\$").expect("a pattern")) {
        Heard::Found(text) if text.ends_with(':') => End::Refused,
        Heard::Found(_) | Heard::Ended => End::LetIn,
        Heard::Silence => End::StandsStill,
    };
    let text = pty.text();
    stage.end("screen");
    Met::new(end, text)
}

const SCREEN_WITH_A_PASSWORD: Program = Program {
    run: "screen, C-a x, a file without a code",
    stack: Stack::Include("password-only"),
    ..SCREEN
};

const GREETD: Program = Program {
    name: "greetd",
    run: "greetd and agreety",
    packages: &["greetd"],
    package: "greetd",
    services: &["greetd"],
    stack: Stack::Include("two-prompts"),
    shows: true,
    login: |stage, person| {
        // agreety comes by itself, on a terminal of ours: the one that greetd starts has none
        // without a virtual console.
        stage.shell("rm -f /tmp/socket; mkdir -p /etc/greetd");
        stage.write(
            "/etc/greetd/config.toml",
            "[terminal]\nvt = \"none\"\n[default_session]\nuser = \"_greetd\"\n\
             command = \"sh -c \\\"echo $GREETD_SOCK >/tmp/socket; exec sleep 600\\\"\"\n",
        );
        stage.daemon("greetd", stage.command("greetd"));
        stage.until("greetd listens", || !stage.read("/tmp/socket").is_empty());
        let ran = format!("/tmp/ran-{}", person.name);
        let mut agreety = stage.command_as("_greetd", "env");
        agreety.arg(format!("GREETD_SOCK={}", stage.read("/tmp/socket").trim()));
        agreety.args(["agreety", "--cmd", &format!("sh -c \"id -un >{ran}\"")]);
        let met = talk(stage, &mut on_terminal(&agreety), person, &["rror", "incorrect"]);
        // The session begins when the greeter has gone.
        stage.end("sleep");
        let is_accepted = stage.events().iter().any(|event| event["phase"] == "account");
        let done = is_accepted && stage.comes(PATIENCE, || stage.path(&ran).exists());
        stage.end("greetd");
        stage.shell(&format!("rm -f {ran}"));
        let end = if done { End::LetIn } else { met.end };
        Met { end, ..met }
    },
    ..Program::PLAIN
};

const CRON: Program = Program {
    name: "cron",
    run: "cron",
    package: "cron",
    services: &["cron"],
    texts: None,
    cheap: true,
    // Jobs for the start of the system are run at once.
    login: |stage, person| {
        let name = person.name;
        let ran = format!("/tmp/ran-{name}");
        stage.shell(&format!(
            "rm -f /run/crond.reboot {ran}; echo '@reboot echo >{ran}' | crontab -u {name} -"
        ));
        let mut cron = stage.command("cron");
        cron.arg("-f");
        stage.daemon("cron", cron);
        let done = stage.comes(PATIENCE, || stage.path(&ran).exists());
        stage.shell(&format!("crontab -u {name} -r; kill $(cat /run/crond.pid)"));
        Met::new(End::let_in(done), "")
    },
    ..Program::PLAIN
};

const AT: Program = Program {
    name: "at",
    run: "atd",
    package: "at",
    packages: &["at"],
    services: &["atd"],
    cheap: false,
    login: |stage, person| {
        let ran = format!("/tmp/ran-{}", person.name);
        let mut at = stage.command_as(person.name, "at");
        finish(at.args(["-M", "now"]), format!("echo >{ran}\n").as_bytes()).ok();
        let mut atd = stage.command("atd");
        atd.args(["-f", "-l", "100"]);
        stage.daemon("atd", atd);
        let done = stage.comes(PATIENCE, || stage.path(&ran).exists());
        stage.shell(&format!("rm -f {ran}; kill $(cat /run/atd.pid)"));
        Met::new(End::let_in(done), "")
    },
    ..CRON
};

/// Runs a command on a terminal, with its standard output in a file.
fn into_a_file(stage: &Stage, user: &str, command: &str, person: &Person) -> Met {
    stage.shell("rm -f /tmp/output");
    let script = format!("{command} >/tmp/output");
    let met = talk(stage, &mut stage.pty_as(user, "sh", &["-c", &script]), person, &[]);
    let output = stage.read("/tmp/output");
    stage.shell("rm -f /tmp/output");
    match met.end {
        End::Refused => Met { end: End::let_in(output.contains("Welcome, ")), output, ..met },
        End::LetIn | End::StandsStill => Met { output, ..met },
    }
}
