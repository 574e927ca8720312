//! Programs of desktops: display managers on an X server without a screen, each with a greeter
//! of ours that speaks its protocol; polkit, run0, Cockpit and xrdp.

use std::time::Duration;

use crate::common::{Heard, Pty};
use crate::people::{End, Met, PASSWORD, Person, VISITOR, talk};
use crate::program::{Program, Stack};
use crate::stage::{Init, PATIENCE, SHELL, Stage, TRACE, on_terminal};
use crate::system::Suite;
use crate::table::Kind;

pub(crate) fn programs() -> Vec<Program> {
    use Suite::{Bookworm, Sid, Trixie};
    let on = |suites: &[Suite], program: Program| -> Vec<Program> {
        let cheap = |suite| program.cheap && suite == Bookworm;
        let with =
            |suite: &Suite| Program { suite: *suite, cheap: cheap(*suite), ..program.clone() };
        suites.iter().map(with).collect()
    };
    let programs = [
        on(&[Bookworm, Trixie], LIGHTDM),
        on(&[Bookworm], XDM),
        on(&[Bookworm, Trixie], SDDM),
        on(&[Bookworm, Trixie], SDDM_COMBINED),
        on(&[Trixie], GDM),
        on(&[Bookworm, Trixie, Sid], POLKIT),
        on(&[Trixie, Sid], RUN0),
        on(&[Trixie, Sid], MACHINECTL),
        on(&[Bookworm, Trixie, Sid], COCKPIT),
        on(&[Bookworm, Trixie], XRDP),
        on(&[Bookworm, Trixie], XRDP_COMBINED),
    ];
    programs.into_iter().flatten().collect()
}

/// For a program that can ask once.
const COMBINED: &str = "\
auth required pam_onetime.so prompt=combined
@include common-account
account required pam_onetime.so
@include common-session
@include common-password
";

const SYSTEMD: &str = "systemd-sysv";

/// A program of desktops, in a system that systemd runs.
pub(crate) const DESKTOP: Program = Program {
    kind: Kind::Desktop,
    init: Init::Systemd,
    // LightDM stops at a text of more than a kilobyte.
    texts: Some([60, 800]),
    ..Program::PLAIN
};

// --- display managers ---

const DISPLAY_MANAGERS: &[&str] = &[
    SYSTEMD,
    "dbus",
    "libpam-systemd",
    "gir1.2-lightdm-1",
    "lightdm",
    "python3-gi",
    "sddm",
    "xauth",
    "xdm",
    "xdotool",
    "xvfb",
];

/// What they start as an X server; of their arguments it knows some.
const X_SERVER: &str = r#"#!/bin/sh
display= more=
while [ $# -gt 0 ]; do
    case $1 in
    :*) display=$1 ;;
    -auth | -displayfd) more="$more $1 $2"; shift ;;
    esac
    shift
done
exec Xvfb $display $more -screen 0 1024x768x24 -nolisten tcp >/dev/null 2>&1
"#;

/// An X server to start, a session to log in to, and a place where greeter and person meet.
fn set_the_scene(stage: &Stage) {
    stage.write("/usr/local/bin/x-server", X_SERVER);
    let dialogue = include_str!("desktops/greeter.py");
    stage.write("/usr/lib/python3/dist-packages/greeter.py", dialogue);
    let session = format!("[Desktop Entry]\nType=Application\nName=welcome\nExec={SHELL}\n");
    stage.write("/usr/share/xsessions/welcome.desktop", &session);
    stage.write("/usr/local/bin/person", include_str!("desktops/person.py"));
    stage.shell(
        "chmod 755 /usr/local/bin/x-server /usr/local/bin/person
        mkdir /run/greeter; chmod 777 /run/greeter",
    );
}

/// What the next greeter says and asks, on a terminal.
fn before_the_greeter(stage: &Stage) -> Pty {
    stage.pty("/usr/local/bin/person", &[])
}

/// Waits for the end of the session that somebody was let in to.
fn session_ends(stage: &Stage) {
    let closed = || stage.events().iter().any(|event| event["phase"] == "close_session");
    stage.until("a session has ended", closed);
}

const LIGHTDM: Program = Program {
    name: "LightDM",
    run: "lightdm",
    package: "lightdm",
    packages: DISPLAY_MANAGERS,
    services: &["lightdm"],
    shows: true,
    prepare: |stage| {
        set_the_scene(stage);
        stage.write("/usr/local/bin/greeter", include_str!("desktops/lightdm_greeter.py"));
        stage.shell("chmod 755 /usr/local/bin/greeter");
        let greeter = "[Desktop Entry]\nType=Application\nName=ours\nExec=/usr/local/bin/greeter\n";
        stage.write("/usr/share/xgreeters/ours.desktop", greeter);
        stage.write(
            "/etc/lightdm/lightdm.conf.d/99-ours.conf",
            "[LightDM]\nlogind-check-graphical=false\n[Seat:*]\ngreeter-session=ours\n\
             xserver-command=/usr/local/bin/x-server\nuser-session=welcome\n",
        );
        stage.daemon("lightdm", stage.command("lightdm"));
    },
    login: |stage, person| {
        let met = talk(stage, &mut before_the_greeter(stage), person, &["Login failed."]);
        if met.end == End::LetIn {
            session_ends(stage);
        }
        let waits = || stage.path("/run/greeter/socket").exists();
        stage.until("a greeter for the next", waits);
        met
    },
    ..DESKTOP
};

const SDDM: Program = Program {
    name: "SDDM",
    run: "sddm, as packaged",
    package: "sddm",
    services: &["sddm"],
    shows: false,
    prepare: |stage| {
        set_the_scene(stage);
        a_seat_with_a_screen(stage);
        for greeter in ["sddm-greeter", "sddm-greeter-qt6"] {
            let path = format!("/usr/bin/{greeter}");
            stage.shell(&format!("rm -f {path}"));
            stage.write(&path, include_str!("desktops/sddm_greeter.py"));
            stage.shell(&format!("chmod 755 {path}"));
        }
        stage.write(
            "/etc/sddm.conf.d/ours.conf",
            &format!(
                "[General]\nDisplayServer=x11\n[X11]\nServerPath=/usr/local/bin/x-server\n\
                 DisplayCommand=/bin/true\nSessionCommand={SHELL}\n"
            ),
        );
    },
    login: |stage, person| ask_sddm(stage, person, PASSWORD),
    ..LIGHTDM
};

const SDDM_COMBINED: Program = Program {
    run: "sddm, prompt=combined",
    stack: Stack::Text(COMBINED),
    login: |stage, person| ask_sddm(stage, person, &person.one_answer()),
    ..SDDM
};

/// A display manager for each login: after a session it does not start its greeter again
/// without a console.
fn ask_sddm(stage: &Stage, person: &Person, answer: &str) -> Met {
    let mut pty = before_the_greeter(stage);
    stage.shell("systemctl start sddm");
    pty.expect("login: ");
    pty.send_line(person.name);
    pty.expect("answer: ");
    pty.send_line(answer);
    let met = one_end(&mut pty, "Login failed.");
    if met.end == End::LetIn {
        session_ends(stage);
    } else {
        // An error of PAM's is a failed login to its greeter, while its helper goes on; that of
        // 0.19 stands still at what is asked after it.
        let helper = format!("sddm-helper .*--user {}", person.name);
        let runs = || stage.run("pgrep", &["-f", "--", &helper]).status.success();
        stage.comes(Duration::from_secs(20), || !runs());
    }
    stage.shell("systemctl stop sddm");
    met
}

/// What udev would say of a graphics card.
fn a_seat_with_a_screen(stage: &Stage) {
    stage.shell(
        "mkdir -p /run/udev/data /run/udev/tags/master-of-seat; : >/run/udev/control
        : >/run/udev/tags/master-of-seat/c4:0
        printf '%s\n' I:1 G:seat G:master-of-seat Q:seat Q:master-of-seat V:1 >/run/udev/data/c4:0
        systemctl restart systemd-logind",
    );
}

/// Whether somebody is welcome after the only answer.
pub(crate) fn one_end(pty: &mut Pty, refusal: &str) -> Met {
    let end = match pty.listen(regex::Regex::new(&format!("Welcome, |{refusal}")).expect("words")) {
        Heard::Found(text) => End::let_in(text.ends_with("Welcome, ")),
        Heard::Ended => End::Refused,
        Heard::Silence => End::StandsStill,
    };
    Met::new(end, pty.text())
}

const XDM: Program = Program {
    name: "xdm",
    run: "xdm",
    package: "xdm",
    services: &["xdm"],
    shows: true,
    // Any PAM_TEXT_INFO, however short, and it takes no key any more.
    texts: None,
    prepare: |stage| {
        set_the_scene(stage);
        stage.write("/etc/X11/xdm/ours", XDM_CONFIGURATION);
        stage.write("/etc/X11/xdm/servers", ":0 local /usr/local/bin/x-server :0\n");
        stage.write("/etc/X11/xdm/session", "#!/bin/sh\nid -un >/tmp/session-$(id -un)\n");
        stage.shell("chmod 755 /etc/X11/xdm/session");
    },
    // Its window is its own: what is typed there follows what PAM asks.
    login: |stage, person| {
        let session = format!("/tmp/session-{}", person.name);
        let mut xdm = stage.pty("xdm", &["-nodaemon", "-config", "/etc/X11/xdm/ours"]);
        let window = "DISPLAY=:0 xdotool search --onlyvisible --class xlogin";
        stage.until("a window of xdm's", || stage.run("sh", &["-c", window]).status.success());
        // Keys that come before it has the keyboard are lost.
        stage.until("xdm asks PAM", || {
            type_at(stage, ":0", person.name);
            stage.comes(Duration::from_secs(10), || !stage.events().is_empty())
        });
        let met = answer_at(stage, ":0", person, || stage.path(&session).exists());
        if met.end == End::LetIn {
            session_ends(stage);
        }
        stage.shell(
            "pkill -KILL -x xdm; pkill -KILL -x Xvfb || true
            rm -f /run/xdm.pid /tmp/session-* /tmp/.X0-lock /tmp/.X11-unix/X0",
        );
        xdm.wait();
        met
    },
    ..LIGHTDM
};

const XDM_CONFIGURATION: &str = "\
DisplayManager*authorize: false
DisplayManager.pidFile: /run/xdm.pid
DisplayManager.servers: /etc/X11/xdm/servers
DisplayManager.requestPort: 0
DisplayManager*session: /etc/X11/xdm/session
DisplayManager*resources: /etc/X11/xdm/Xresources
DisplayManager*setup: /bin/true
DisplayManager*startup: /bin/true
DisplayManager*reset: /bin/true
";

/// Types a line at an X server.
pub(crate) fn type_at(stage: &Stage, display: &str, line: &str) {
    stage.shell(&format!("DISPLAY={display} xdotool type --delay 15 -- '{line}'"));
    stage.shell(&format!("DISPLAY={display} xdotool key Return"));
}

/// Answers at an X server what PAM asks, until somebody is let in or PAM asks for a password
/// again.
pub(crate) fn answer_at(
    stage: &Stage,
    display: &str,
    person: &Person,
    let_in: impl Fn() -> bool,
) -> Met {
    let mut answered = 0;
    let end = loop {
        if !stage.comes(Duration::from_secs(12), || let_in() || prompts(stage).len() > answered) {
            break End::Refused;
        }
        if let_in() {
            break End::LetIn;
        }
        let prompt = prompts(stage)[answered].clone();
        if answered > 0 && prompt.to_lowercase().contains("password") {
            break End::Refused;
        }
        type_at(stage, display, &person.answer(&prompt));
        answered += 1;
        let has_it = || stage.events().iter().filter(|it| it["event"] == "answer").count();
        stage.until("PAM has the answer", || has_it() >= answered);
    };
    Met::new(end, "")
}

/// What PAM has asked so far at this login.
pub(crate) fn prompts(stage: &Stage) -> Vec<String> {
    let events = stage.events();
    let asked = events.iter().filter(|it| it["event"] == "said" && it["style"] == "hidden");
    asked.map(|it| it["words"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Without a screen: whoever came by ssh unlocks, as at the screen shield.
const GDM: Program = Program {
    name: "GDM",
    run: "gdm, without a screen",
    package: "gdm3",
    packages: &[SYSTEMD, "dbus", "gdm3", "libpam-systemd", "python3-gi"],
    services: &["gdm-password"],
    shows: true,
    texts: Some([60, 2500]),
    prepare: |stage| {
        stage.write("/usr/local/bin/client", include_str!("desktops/gdm_client.py"));
        // By keys of ssh, for which PAM is not asked.
        stage.shell(
            "chmod 755 /usr/local/bin/client
            ssh-keygen -q -t ed25519 -N '' -f /root/key
            for user in dora pia ada; do
                install -d -o $user -m 700 /home/$user/.ssh
                install -o $user /root/key.pub /home/$user/.ssh/authorized_keys
            done
            systemctl start ssh",
        );
        start_often(stage, "gdm");
    },
    login: |stage, person| {
        // After ten seconds it tries to start a greeter all the same, and ends after some.
        stage.shell("systemctl restart gdm");
        let name = person.name;
        let options = ["-tt", "-q", "-i", "/root/key", "-o", "StrictHostKeyChecking=no"];
        let client = format!("exec /usr/local/bin/client {name}");
        let mut ssh = stage.command("ssh");
        ssh.args(options).arg(format!("{name}@127.0.0.1")).arg(client);
        talk(stage, &mut on_terminal(&ssh), person, &["Login failed."])
    },
    ..DESKTOP
};

/// A command in a session of its own, which logind knows, on a terminal.
fn in_a_session(stage: &Stage, user: &str, command: &str) -> Pty {
    stage.write("/usr/local/bin/in-a-session", command);
    let user = format!("--property=User={user}");
    let unit =
        ["--pty", "--quiet", "--collect", "--setenv=TERM=dumb", "--property=PAMName=runuser-l"];
    let mut run = stage.command("systemd-run");
    run.args(unit).args([&user, "sh", "/usr/local/bin/in-a-session"]);
    let mut pty = Pty::spawn_sized(&run, 200, 24);
    pty.patience = PATIENCE;
    pty
}

// --- polkit, and what asks by it ---

const POLKIT: Program = Program {
    name: "polkit's agents",
    run: "pkttyagent, for pkexec",
    package: "polkitd",
    packages: &[SYSTEMD, "dbus", "libpam-systemd", "pkexec", "polkitd"],
    services: &["polkit-1"],
    shows: true,
    // Text over 4 KiB, escaped, ends a dialogue of 127 and later.
    texts: Some([60, 2500]),
    prepare: |stage| {
        own_file(stage, "polkit-1");
        let unit = "/etc/systemd/system/polkit-agent-helper@.service.d";
        let shipped =
            include_str!("../../packaging/systemd/polkit-agent-helper@.service.d/pam_onetime.conf");
        stage.write(&format!("{unit}/pam_onetime.conf"), shipped);
        stage.write(&format!("{unit}/trace.conf"), &format!("[Service]\nReadWritePaths={TRACE}\n"));
        start_often(stage, "polkit");
        stage.shell("systemctl start polkit");
    },
    login: |stage, person| {
        administrator(stage, person);
        let command = format!(
            "rm -f /tmp/agent; mkfifo /tmp/agent
            pkttyagent --process $$ --notify-fd 3 3>/tmp/agent & cat /tmp/agent
            pkexec --disable-internal-agent {SHELL}"
        );
        talk(stage, &mut in_a_session(stage, VISITOR, &command), person, &["Not authorized"])
    },
    ..DESKTOP
};

/// Lets systemd start this service as often as it is asked to.
fn start_often(stage: &Stage, service: &str) {
    let unit = format!("/etc/systemd/system/{service}.service.d/often.conf");
    stage.write(&unit, "[Unit]\nStartLimitIntervalSec=0\n");
    stage.shell("systemctl daemon-reload");
}

/// The file of a service in /etc, where the package has it elsewhere or libpam takes `other`.
fn own_file(stage: &Stage, service: &str) {
    stage.shell(&format!(
        "cd /etc/pam.d; test -e {service} || cp /usr/lib/pam.d/{service} . 2>/dev/null || cp other {service}"
    ));
}

/// Makes this person the only administrator.
fn administrator(stage: &Stage, person: &Person) {
    let rule =
        format!("polkit.addAdminRule(function() {{ return [\"unix-user:{}\"]; }});\n", person.name);
    stage.write("/etc/polkit-1/rules.d/00-ours.rules", &rule);
    stage.shell("systemctl restart polkit");
}

const RUN0: Program = Program {
    name: "run0",
    run: "run0",
    package: "systemd",
    services: &["systemd-run0"],
    shows: false,
    texts: None,
    prepare: |stage| {
        (POLKIT.prepare)(stage);
        own_file(stage, "systemd-run0");
    },
    login: |stage, person| {
        administrator(stage, person);
        let command = format!("run0 --background= {SHELL}");
        talk(stage, &mut in_a_session(stage, VISITOR, &command), person, &["Access denied"])
    },
    ..POLKIT
};

const MACHINECTL: Program = Program {
    name: "systemd's user@ units",
    run: "machinectl shell",
    package: "systemd",
    packages: &[SYSTEMD, "dbus", "libpam-systemd", "pkexec", "polkitd", "systemd-container"],
    services: &["login", "systemd-user"],
    prepare: |stage| {
        (POLKIT.prepare)(stage);
        own_file(stage, "systemd-user");
    },
    login: |stage, person| {
        administrator(stage, person);
        let command = format!("machinectl shell root@.host {SHELL}");
        talk(stage, &mut in_a_session(stage, VISITOR, &command), person, &["Access denied"])
    },
    ..RUN0
};

// --- from other hosts ---

const COCKPIT: Program = Program {
    name: "Cockpit",
    run: "cockpit-ws",
    package: "cockpit-ws",
    packages: &[SYSTEMD, "cockpit-bridge", "cockpit-ws", "dbus", "libpam-systemd", "python3"],
    services: &["cockpit"],
    texts: Some([60, 2500]),
    prepare: |stage| {
        stage.write("/usr/local/bin/client", include_str!("desktops/cockpit_client.py"));
        stage.shell("chmod 755 /usr/local/bin/client; systemctl start cockpit.socket");
    },
    login: |stage, person| {
        let mut pty = stage.pty("/usr/local/bin/client", &[person.name]);
        talk(stage, &mut pty, person, &["Login failed."])
    },
    ..DESKTOP
};

const XRDP: Program = Program {
    name: "xrdp",
    run: "xrdp-sesrun, as packaged",
    package: "xrdp",
    packages: &[SYSTEMD, "dbus", "libpam-systemd", "xauth", "xrdp", "xvfb"],
    services: &["xrdp-sesman"],
    texts: Some([60, 2500]),
    prepare: |stage| {
        // It looks for addresses of the families that the host has, but for its own.
        stage.shell("ip addr add 192.0.2.1/32 dev lo; ip -6 addr add 2001:db8::1/128 dev lo");
        stage.write("/usr/local/bin/Xvnc", "#!/bin/sh\nexec Xvfb \"$1\"\n");
        stage.shell("chmod 755 /usr/local/bin/Xvnc; systemctl start xrdp-sesman");
    },
    login: |stage, person| ask_xrdp(stage, person, PASSWORD),
    ..DESKTOP
};

const XRDP_COMBINED: Program = Program {
    run: "xrdp-sesrun, prompt=combined",
    stack: Stack::Text(COMBINED),
    login: |stage, person| ask_xrdp(stage, person, &person.one_answer()),
    ..XRDP
};

fn ask_xrdp(stage: &Stage, person: &Person, answer: &str) -> Met {
    let mut pty = stage.pty("xrdp-sesrun", &["-t", "Xvnc", person.name]);
    pty.expect("assword: ");
    pty.send_line(answer);
    let ends = regex::Regex::new("display=|DISPLAY|denied|failed").expect("words");
    let end = match pty.listen(ends) {
        Heard::Found(text) => End::let_in(text.to_lowercase().contains("display")),
        Heard::Ended => End::Refused,
        Heard::Silence => End::StandsStill,
    };
    let text = pty.text();
    let id = pty.id();
    stage.shell(&format!("pkill -u {} || true; kill {id} 2>/dev/null || true", person.name));
    Met::new(end, text)
}
