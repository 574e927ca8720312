//! Syslog daemons: of the two kinds that syslog(3) knows, each gets each line.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use crate::common::{
    ALICE_PASSWORD, AUTH_ERR, Answers, Client, ClientRun, PATIENCE, World, enable, example_path,
    finish, installed,
};

/// Puts a stream socket in the place of the world's /dev/log.
fn stream_log(world: &World) -> UnixListener {
    world.remove("/dev/log");
    let path = world.path("/dev/log");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("its owner");
    listener
}

/// What has come, a line for each NUL; whoever sent it has gone.
fn lines(listener: &UnixListener) -> Vec<String> {
    listener.set_nonblocking(true).expect("it does not wait");
    let mut lines = Vec::new();
    while let Ok((connection, _)) = listener.accept() {
        connection.set_nonblocking(false).expect("it waits");
        connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a bound");
        for line in BufReader::new(connection).split(0) {
            lines.push(String::from_utf8(line.expect("it ends")).expect("text"));
        }
    }
    lines
}

#[test]
fn a_stream_socket_gets_each_line_and_doctor_is_content() {
    let world = installed();
    world.pam_service("test", "auth required pam_onetime.so\n");
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    enable(&world, "alice");
    let listener = stream_log(&world);
    for answers in [[ALICE_PASSWORD, "000000x"], ["wrong", ""]] {
        let run = Client::new(&world, "test", "alice").run(&Answers::new(&answers));
        assert_eq!(run.result(), AUTH_ERR);
    }
    world.onetimectl(&["disable", "alice", "--yes"]).ok();
    let seen = lines(&listener);
    let ours: Vec<_> = seen.iter().filter(|line| line.contains("pam_onetime[")).collect();
    assert_eq!(ours.len(), 3, "{seen:?}");
    assert!(ours.iter().all(|line| line.starts_with("<85>pam_onetime[")), "{ours:?}");
    assert!(seen.iter().any(|line| line.contains("outcome=changed")), "{seen:?}");

    let doctor = world.onetimectl(&["doctor"]).stdout;
    assert!(doctor.contains("a daemon listens at /dev/log"), "{doctor}");
    drop(listener);
    let doctor = world.onetimectl(&["doctor"]).stdout;
    assert!(doctor.contains("nobody listens at /dev/log"), "{doctor}");
}

#[test]
fn a_datagram_socket_gets_lines_without_a_nul() {
    let world = installed();
    world.pam_service("test", "auth required pam_onetime.so\n");
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    Client::new(&world, "test", "alice").run(&Answers::new(&["wrong"]));
    let line = world.wait_for_syslog(|line| line.text.contains("wrong password"), PATIENCE);
    assert!(!line.raw.contains('\0'), "{line:?}");
}

#[test]
fn the_log_names_who_asks_also_where_polkit_names_whom_it_asks_for() {
    let world = installed();
    for service in ["polkit-1", "test"] {
        world.pam_service(service, "auth required pam_onetime.so\n");
    }
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    for (service, starter, expected) in [
        ("test", "bob", Some("ruser=alice")),
        ("polkit-1", "bob", Some("ruser=bob")),
        ("polkit-1", "root", None),
    ] {
        world.forget_syslog();
        let client = world.program(&example_path("pam_client"));
        let mut command = world.command("setpriv");
        command.args(["--ruid", starter, &client, service, "alice", "ruser=alice"]);
        let run = ClientRun::read(finish(&mut command, b"wrong\n"));
        assert_eq!(run.result(), AUTH_ERR, "{run:?}");
        let line = world.wait_for_syslog(|line| line.text.contains("wrong password"), PATIENCE);
        let ruser = line.text.split(' ').find(|field| field.starts_with("ruser="));
        assert_eq!(ruser, expected, "{service}, started by {starter}: {}", line.text);
    }
}
