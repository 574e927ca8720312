//! Programs that may read no secret, once more, with `onetimed` running beside them: screen
//! lockers ask it for their own user, servers for those who log in.

use crate::lockers::{
    I3LOCK, SWAYLOCK, XSCREENSAVER, XSECURELOCK, unlock_i3lock, unlock_swaylock, xsecurelock,
};
use crate::program::{Program, Stack};
use crate::servers::{COMBINED, curl};
use crate::servers_of_data::{NGINX, POSTGRESQL};
use crate::servers_of_networks::FREERADIUS;
use crate::stage::Stage;
use crate::table::Kind;
use crate::terminals::{SCREEN, unlock_screen};

pub(crate) fn programs() -> Vec<Program> {
    let combined = |run: &'static str, program: Program| Program {
        run,
        stack: Stack::Text(if program.kind == Kind::Server { SERVED } else { COMBINED }),
        texts: None,
        ..program
    };
    vec![
        combined(
            "screen, by onetimed",
            Program {
                prepare: for_users,
                login: |stage, person| unlock_screen(stage, person, &person.one_answer()),
                ..SCREEN
            },
        ),
        combined(
            "i3lock, by onetimed",
            Program {
                prepare: |stage| {
                    for_users(stage);
                    (I3LOCK.prepare)(stage);
                },
                login: |stage, person| unlock_i3lock(stage, person, &person.one_answer()),
                ..I3LOCK
            },
        ),
        combined(
            "swaylock, by onetimed",
            Program {
                prepare: for_users,
                login: |stage, person| unlock_swaylock(stage, person, &person.one_answer()),
                ..SWAYLOCK
            },
        ),
        // These ask each question: Debian's own files, with our profile, are enough.
        Program { run: "xscreensaver, by onetimed", prepare: for_users, ..XSCREENSAVER },
        Program {
            run: "xsecurelock, by onetimed",
            services: &["common-auth"],
            prepare: |stage| {
                for_users(stage);
                (I3LOCK.prepare)(stage);
            },
            login: |stage, person| xsecurelock(stage, person, ""),
            ..XSECURELOCK
        },
        combined(
            "psql, by onetimed",
            Program {
                prepare: |stage| {
                    for_account(stage, "postgres", "postgresql");
                    (POSTGRESQL.prepare)(stage);
                },
                ..POSTGRESQL
            },
        ),
        combined(
            "nginx, by onetimed",
            Program {
                prepare: |stage| {
                    for_account(stage, "www-data", "nginx");
                    (NGINX.prepare)(stage);
                },
                // A request for / would run PAM twice, with one code.
                login: |stage, person| curl(stage, person, "http://127.0.0.1/index.html"),
                ..NGINX
            },
        ),
        combined(
            "rlm_pam, by onetimed",
            Program {
                prepare: |stage| {
                    for_account(stage, "freerad", "radiusd");
                    (FREERADIUS.prepare)(stage);
                },
                ..FREERADIUS
            },
        ),
    ]
}

/// For an account that cannot read shadow(5): what the password service says of accounts comes
/// by pam_onetime.so.
const SERVED: &str = "\
auth     required pam_onetime.so prompt=combined
account  required pam_onetime.so
account  required pam_permit.so
";

/// Starts it, for programs that ask for their own user.
#[track_caller]
fn for_users(stage: &Stage) {
    stage.copy(crate::common::daemon_path(), "/usr/local/sbin/onetimed", 0o755);
    let mut daemon = stage.command("onetimed");
    daemon.arg("--idle=0");
    stage.daemon("onetimed", daemon);
    stage.until("onetimed listens", || stage.listens("/run/onetime/socket"));
}

/// Starts it, for this account too, which may ask for anybody at this service.
#[track_caller]
fn for_account(stage: &Stage, account: &str, service: &str) {
    let file = "/etc/onetime/onetime.toml";
    let may_ask = format!("may_ask = [{{ user = {account:?}, services = [{service:?}] }}]");
    let shipped = stage.read(file);
    let toml = shipped.replace("#may_ask = []", &may_ask);
    assert_ne!(toml, shipped, "no may_ask in onetime.toml");
    stage.write(file, &toml);
    for_users(stage);
}
