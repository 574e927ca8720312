//! onetimed as a running systemd has it: started by its socket, within the sandbox of its
//! unit, stopped in the middle of a login, ended when nobody asks, and started again.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::booted::Booted;
use crate::common::{ALICE_PASSWORD, Finished, LOCKER, current_code, secret_in};
use crate::debian::Debian;

/// Where the package has them.
const UNITS: &str = "/usr/lib/systemd/system";
const INTERFACE: &str = "org.pam-onetime.Login1";
const DESCRIPTION: &str = include_str!("../../src/relay/org.pam-onetime.Login1.varlink");
/// What cannot be written to from within. /dev and what is private is not the machine's.
const PROBE: &str = r#"
for mount in $(cut -d ' ' -f 5 /proc/self/mountinfo | sort -u); do
    if touch "$mount/probe" 2>/dev/null; then
        rm "$mount/probe"
        echo "$mount"
    fi
done
"#;

fn unit(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// A trixie with onetimed, its socket enabled, and alice active; her secret.
#[track_caller]
fn make() -> (Debian, String) {
    let debian = Debian::make("trixie", &["systemd-sysv", "pamtester", "procps"]);
    debian.install();
    debian.copy(Path::new(env!("CARGO_BIN_EXE_onetimed")), "/usr/sbin/onetimed", 0o755);
    for name in ["onetimed.socket", "onetimed.service"] {
        debian.write(&format!("{UNITS}/{name}"), &unit(name));
    }
    debian.run("systemctl", &["enable", "onetimed"]).ok();
    debian.write("/etc/pam.d/locker", LOCKER);
    debian.run("onetimectl", &["enable", "alice"]).ok();
    let secret = secret_in(&debian.read("/var/lib/onetime/users/alice.toml"));
    debian.run("onetimectl", &["verify", "alice", &current_code(&secret, -1)]).ok();
    (debian, secret)
}

fn state(booted: &Booted) -> String {
    booted.run("systemctl", &["is-active", "onetimed.service"]).stdout.trim().to_owned()
}

#[track_caller]
fn show(booted: &Booted, property: &str) -> String {
    booted.property("onetimed.service", property)
}

#[test]
fn onetimed_is_started_by_its_socket_judges_within_its_sandbox_and_ends_when_nobody_asks() {
    let (debian, secret) = make();
    let mut booted = Booted::boot(&debian);
    assert_eq!(state(&booted), "inactive", "nobody has asked yet");
    let modes = booted.shell("stat -c %a /run/onetime /run/onetime/socket");
    assert_eq!(modes, "755\n666\n");

    let code = current_code(&secret, 0);
    let right = [("Password:", ALICE_PASSWORD), ("One-time code:", &*code)];
    assert!(booted.lets_in("alice", &right));
    assert_eq!(state(&booted), "active");
    assert!(!booted.lets_in("alice", &right), "a code is used once");
    booted.lets_bob_in();
    the_sandbox_is_in_force(&booted);
    // As Fedora has it.
    booted.shell("chmod 0 /etc/shadow");
    booted.lets_bob_in();
    booted.shell("chmod 640 /etc/shadow");
    varlinkctl_shows_the_interface_and_calls_it(&booted);
    started_anew_in_the_middle_of_a_login_it_refuses_that_one(&booted, &secret);
    ends_when_nobody_asks(&mut booted);
    nobody_waits_where_it_cannot_start(&booted);

    let log = booted.shell("journalctl --sync; journalctl -q --no-pager -o cat -t pam_onetime");
    for said in ["user=alice service=locker ruser=alice", "user=bob service=locker ruser=bob"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[track_caller]
fn the_sandbox_is_in_force(booted: &Booted) {
    let main = show(booted, "MainPID");
    let status = booted.shell(&format!("cat /proc/{main}/status"));
    let line = |name: &str| {
        let lines = status.lines().filter_map(|line| line.split_once(":\t"));
        lines.filter(|line| line.0 == name).map(|line| line.1.to_owned()).collect::<String>()
    };
    // CAP_DAC_READ_SEARCH and CAP_IPC_LOCK.
    for set in ["CapEff", "CapPrm", "CapBnd"] {
        assert_eq!(line(set), "0000000000004004", "{set}");
    }
    assert_eq!((line("NoNewPrivs"), line("Seccomp")), ("1".to_owned(), "2".to_owned()));
    assert!(!line("VmLck").trim().starts_with("0 "), "{status}");
    let writable = ["--target", &main, "--mount", "--", "sh", "-c", PROBE];
    let writable = booted.run("nsenter", &writable).ok();
    let writable: Vec<_> = writable.lines().filter(|it| !it.ends_with("/tmp")).collect();
    assert_eq!(writable, ["/var/lib/onetime"]);
    let script = format!("test ! /proc/{main}/ns/net -ef /proc/1/ns/net; ls -A /home");
    let homes = ["--target", &main, "--mount", "--", "ls", "-A", "/home", "/root"];
    let homes = booted.run("nsenter", &homes).ok();
    assert!(!homes.contains("alice") && booted.shell(&script).contains("alice"), "{homes}");
}

/// systemd's own tool, as any user.
#[track_caller]
fn varlinkctl_shows_the_interface_and_calls_it(booted: &Booted) {
    let varlinkctl = |arguments: &[&str]| {
        let [verb, more @ ..] = arguments else { panic!("no verb") };
        let user = ["--reuid=bob", "--regid=bob", "--init-groups", "varlinkctl", verb];
        let socket = ["/run/onetime/socket"];
        booted.run("setpriv", &[&user[..], &socket, more].concat())
    };
    let info = varlinkctl(&["info"]).ok();
    for said in ["pam-onetime", "onetimed", env!("CARGO_PKG_VERSION"), INTERFACE] {
        assert!(info.contains(said), "{said}: {info}");
    }
    let interfaces = varlinkctl(&["list-interfaces"]).ok();
    let interfaces: Vec<_> = interfaces.lines().map(str::trim).collect();
    assert_eq!(interfaces, [INTERFACE, "org.varlink.service"]);
    // It prints what it has understood, comments too, as it sees fit.
    let words = |text: &str| {
        let lines = text.lines().map(|line| line.trim().trim_start_matches('#'));
        lines.flat_map(|line| line.chars().filter(|c| !c.is_whitespace())).collect::<String>()
    };
    let introspected = varlinkctl(&["introspect", INTERFACE]).ok();
    assert_eq!(words(&introspected), words(DESCRIPTION), "{introspected}");

    let call = |method: &str, parameters: &str| {
        let method = format!("{INTERFACE}.{method}");
        // Those before may still be about to end.
        let has_room = |run: &Finished| !run.stderr.contains("TooManyLogins");
        let mut calls = (0..100).map(|nth| {
            thread::sleep(Duration::from_millis(if nth == 0 { 0 } else { 100 }));
            varlinkctl(&["call", &method, parameters])
        });
        calls.find(has_room).expect("there is room within ten seconds")
    };
    let status = call("Status", "{}").ok();
    let status = status.split_whitespace().collect::<String>();
    assert!(status.contains(r#""otp":false"#), "{status}");
    let begin = call("Begin", r#"{"user":"bob","service":"locker"}"#).ok();
    assert!(
        begin.split_whitespace().collect::<String>().contains(r#""kind":"password""#),
        "{begin}"
    );
    for (method, parameters, error) in [
        ("Begin", r#"{"user":1,"service":"locker"}"#, "org.varlink.service.InvalidParameter"),
        ("Begin", r#"{"user":"bob"}"#, "org.varlink.service.InvalidParameter"),
        ("Change", r#"{"what":"disable"}"#, "org.varlink.service.InvalidParameter"),
        ("Open", "{}", "org.varlink.service.MethodNotFound"),
        ("Continue", r#"{"answer":"x"}"#, "org.pam-onetime.Login1.OutOfOrder"),
        ("Begin", r#"{"user":"alice","service":"locker"}"#, "org.pam-onetime.Login1.NotPermitted"),
    ] {
        let run = call(method, parameters);
        assert!(!run.success(), "{method}({parameters}): {}", run.stdout);
        assert!(run.stderr.contains(error), "{method}({parameters}): {}", run.stderr);
    }
}

/// And loses nothing: the code is still good.
#[track_caller]
fn started_anew_in_the_middle_of_a_login_it_refuses_that_one(booted: &Booted, secret: &str) {
    let before = show(booted, "MainPID");
    let mut locker = booted.unlock("alice");
    locker.expect("Password:");
    locker.send_line(ALICE_PASSWORD);
    locker.expect("One-time code:");
    booted.shell("systemctl restart onetimed");
    assert_ne!(show(booted, "MainPID"), before);
    let code = current_code(secret, 1);
    locker.send_line(&code);
    assert!(!locker.wait().success());
    let right = [("Password:", ALICE_PASSWORD), ("One-time code:", &*code)];
    assert!(booted.lets_in("alice", &right));
}

#[track_caller]
fn ends_when_nobody_asks(booted: &mut Booted) {
    booted.shell(
        "mkdir /run/systemd/system/onetimed.service.d; \
         printf '[Service]\nExecStart=\nExecStart=/usr/sbin/onetimed --idle=1\n' \
         >/run/systemd/system/onetimed.service.d/test.conf; \
         systemctl daemon-reload; systemctl restart onetimed",
    );
    for _ in 0..2 {
        booted.lets_bob_in();
        booted.until("it ends", |booted| state(booted) == "inactive");
        let ended = (show(booted, "Result"), show(booted, "NRestarts"));
        assert_eq!(ended, ("success".to_owned(), "0".to_owned()));
    }
}

/// systemd gives up, once and for all, and nobody's locker hangs.
#[track_caller]
fn nobody_waits_where_it_cannot_start(booted: &Booted) {
    booted.shell(
        "sed -i 's/--idle=1/--no-such-option/' /run/systemd/system/onetimed.service.d/test.conf; \
         systemctl daemon-reload",
    );
    assert!(!booted.lets_in("bob", &[]));
    assert_eq!(state(booted), "failed");
    let socket = booted.run("systemctl", &["is-active", "onetimed.socket"]).stdout;
    assert_eq!(socket.trim(), "failed");
    assert!(!booted.run("test", &["-e", "/run/onetime/socket"]).success());
    assert!(!booted.lets_in("bob", &[]), "and says so");
}
