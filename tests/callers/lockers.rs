//! Screen lockers, which run as the user: with the module in their stack nobody unlocks, and
//! with one of their own that checks the password alone everybody does.

use std::cell::Cell;
use std::time::Duration;

use crate::desktops::{DESKTOP, answer_at, type_at};
use crate::people::{End, Met, PASSWORD, Person, talk};
use crate::program::{Program, Stack};
use crate::stage::{Init, Stage, finish, on_terminal};

pub(crate) fn programs() -> Vec<Program> {
    let alone = |run: &'static str, program: Program| Program {
        run,
        stack: Stack::Text(PASSWORD_ALONE),
        texts: Some([60, 800]),
        ..program
    };
    vec![
        alone("i3lock, password alone", I3LOCK),
        alone("swaylock, password alone", SWAYLOCK),
        alone("xsecurelock, password alone", XSECURELOCK),
        I3LOCK,
        SWAYLOCK,
        XSCREENSAVER,
        // Debian's calls itself common-auth.
        Program {
            services: &["common-auth"],
            login: |stage, person| xsecurelock(stage, person, ""),
            ..XSECURELOCK
        },
    ]
}

/// What a locker needs instead of common-auth and login.
const PASSWORD_ALONE: &str = "auth required pam_unix.so\naccount required pam_unix.so\n";

pub(crate) const I3LOCK: Program = Program {
    name: "i3lock",
    run: "i3lock, as packaged",
    package: "i3lock",
    packages: &["i3lock", "xscreensaver", "xsecurelock", "xdotool", "xvfb", "python3"],
    init: Init::None,
    services: &["i3lock"],
    texts: None,
    prepare: |stage| {
        let mut server = stage.command("Xvfb");
        server.args([":9", "-screen", "0", "800x600x24", "-ac", "-nolisten", "tcp"]);
        stage.daemon("xvfb", server);
        stage.until("an X server", || stage.listens("/tmp/.X11-unix/X9"));
    },
    login: |stage, person| unlock_i3lock(stage, person, PASSWORD),
    ..DESKTOP
};

/// Locks, and gives this answer.
pub(crate) fn unlock_i3lock(stage: &Stage, person: &Person, answer: &str) -> Met {
    // It goes into the background when the screen is locked.
    as_user(stage, person, "DISPLAY=:9 exec i3lock --color=000000 >/dev/null 2>&1");
    type_at(stage, ":9", answer);
    ended(stage, person, "i3lock")
}

/// Runs a script as this user, to its end.
fn as_user(stage: &Stage, person: &Person, script: &str) {
    finish(stage.command_as(person.name, "sh").args(["-euc", script]), b"").ok();
}

/// Whether the locker ends, which it does when it unlocks.
fn ended(stage: &Stage, person: &Person, locker: &str) -> Met {
    let runs = || stage.run("pgrep", &["-u", person.name, "-x", locker]).status.success();
    // It has asked PAM, or the answer is not far.
    stage.until("it asks PAM", || !stage.events().is_empty() || !runs());
    let unlocked = stage.comes(Duration::from_secs(8), || !runs());
    stage.shell(&format!("pkill -KILL -u {} -x {locker} || true", person.name));
    stage.until("its end", || !runs());
    Met::new(End::let_in(unlocked), "")
}

pub(crate) const SWAYLOCK: Program = Program {
    name: "swaylock",
    run: "swaylock, as packaged",
    package: "swaylock",
    packages: &["sway", "swaylock", "wtype"],
    services: &["swaylock"],
    prepare: |_| (),
    login: |stage, person| unlock_swaylock(stage, person, PASSWORD),
    ..I3LOCK
};

/// Locks, and gives this answer.
pub(crate) fn unlock_swaylock(stage: &Stage, person: &Person, answer: &str) -> Met {
    let name = person.name;
    stage.shell(&format!("mkdir -p -m 700 /run/user-{name}; chown {name} /run/user-{name}"));
    let wayland = format!("export XDG_RUNTIME_DIR=/run/user-{name} WAYLAND_DISPLAY=wayland-1\n");
    let compositor = "unset WAYLAND_DISPLAY; export WLR_BACKENDS=headless WLR_RENDERER=pixman\n\
                      export WLR_LIBINPUT_NO_DEVICES=1; exec sway -c /dev/null";
    let mut sway = stage.command_as(name, "sh");
    sway.args(["-c", &format!("{wayland}{compositor}")]);
    stage.daemon("sway", sway);
    stage.until("a compositor", || stage.path(&format!("/run/user-{name}/wayland-1")).exists());
    as_user(
        stage,
        person,
        &format!("{wayland}swaylock --daemonize --color 000000 >/dev/null 2>&1"),
    );
    // A keyboard that has only just come loses keys.
    as_user(stage, person, &format!("{wayland}wtype -s 300 '{answer}' -k Return"));
    let met = ended(stage, person, "swaylock");
    stage.shell(&format!("pkill -KILL -u {name} -x sway; rm -rf /run/user-{name}"));
    met
}

pub(crate) const XSCREENSAVER: Program = Program {
    name: "xscreensaver",
    run: "xscreensaver, as packaged",
    package: "xscreensaver",
    services: &["xscreensaver"],
    prepare: |_| (),
    // An X server for each login: what one saver leaves there misleads the next.
    login: |stage, person| {
        (I3LOCK.prepare)(stage);
        let mut saver = stage.command_as(person.name, "xscreensaver");
        saver.env("DISPLAY", ":9").args(["--no-splash", "--verbose"]);
        stage.daemon("xscreensaver", saver);
        let tell = |word: &str| {
            let mut tell = stage.command_as(person.name, "xscreensaver-command");
            finish(tell.env("DISPLAY", ":9").arg(word), b"").stdout
        };
        stage.until("it watches", || tell("-time").contains("non-blanked"));
        tell("-lock");
        stage.until("it has locked", || tell("-time").contains("locked"));
        let asks = || !crate::desktops::prompts(stage).is_empty();
        stage.until("it asks", || {
            stage.shell("DISPLAY=:9 xdotool mousemove_relative 9 9 key Shift_L");
            stage.comes(Duration::from_secs(1), asks)
        });
        // A text stays until somebody presses Enter, and PAM waits as long.
        let read = Cell::new(0);
        let met = answer_at(stage, ":9", person, || {
            let texts = texts(stage);
            if texts > read.replace(texts) {
                stage.shell("DISPLAY=:9 xdotool key Return");
            }
            tell("-time").contains("non-blanked")
        });
        stage.shell(&format!("pkill -KILL -u {} xscreensaver || true", person.name));
        stage.shell("pkill -KILL -x Xvfb");
        stage.until("no X server", || !stage.listens("/tmp/.X11-unix/X9"));
        stage.shell("rm -f /tmp/.X9-lock /tmp/.X11-unix/X9");
        met
    },
    ..I3LOCK
};

/// How many texts that need no answer PAM has sent so far at this login.
fn texts(stage: &Stage) -> usize {
    let events = stage.events();
    let said = events.iter().filter(|event| event["event"] == "said");
    said.filter(|event| event["style"] == "info" || event["style"] == "error").count()
}

pub(crate) const XSECURELOCK: Program = Program {
    name: "xsecurelock",
    run: "xsecurelock, as packaged",
    package: "xsecurelock",
    services: &["xsecurelock"],
    login: |stage, person| xsecurelock(stage, person, "XSECURELOCK_PAM_SERVICE=xsecurelock"),
    ..I3LOCK
};

pub(crate) fn xsecurelock(stage: &Stage, person: &Person, setting: &str) -> Met {
    stage.write("/usr/local/bin/client", include_str!("desktops/xsecurelock_client.py"));
    let script = format!("{setting} DISPLAY=:9 exec python3 /usr/local/bin/client");
    let mut client = stage.command_as(person.name, "sh");
    talk(stage, &mut on_terminal(client.args(["-c", &script])), person, &["Login failed."])
}
