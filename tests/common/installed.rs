//! A world in which pam-onetime is installed as README says: module, tool,
//! configuration, the shipped pam.d files, a store. And what tests do with it
//! all the time: enable, activate, ask for the code that a phone would show.

use std::fs;
use std::path::Path;

use super::oath::{TotpOptions, code};
use super::world::{ALICE_PASSWORD, World};

/// A file below `conf/` of the project.
#[track_caller]
pub fn conf(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// A world with everything installed, and the shipped stacks in force.
#[track_caller]
pub fn installed() -> World {
    let world = World::new();
    install(&world);
    world
}

/// The same, but a failure is reported at once: for tests that fail a lot.
#[track_caller]
pub fn hasty() -> World {
    let world = installed();
    world.pam_service("onetime-password", "auth required pam_unix.so nodelay\n");
    world
}

/// Installs into a world what is shipped.
#[track_caller]
pub fn install(world: &World) {
    world.write("/etc/onetime/onetime.toml", configuration().as_bytes(), 0o644);
    for service in [
        "onetime-password",
        "sshd",
        "sshd-key",
        "sudo",
        "sudo-i",
        "su",
        "su-l",
        "login",
        "remote",
        "stack",
    ] {
        world.pam_service(service, &conf(&format!("pam.d/{service}")));
    }
    world.onetimectl(&["init"]).ok();
}

/// Services of tests, at which a secret may be shown as at those that are proven.
const SHOWN_AT: &str = r#", "doors", "enrol", "issue", "issues", "leaks", "load", "open", "test", "utf8", "utf8-light", "ascii", "none"]"#;

/// What is shipped; and secrets are shown at services of tests too.
#[track_caller]
pub fn configuration() -> String {
    let shipped = conf("onetime.toml");
    let line = shipped.lines().find(|line| line.starts_with("#show_at = ["));
    let line = line.expect("show_at with its default, behind a #");
    let more = line.strip_prefix('#').expect("a #").replace(']', SHOWN_AT);
    shipped.replace(line, &more)
}

/// A configuration of a test's own, with the same services.
#[track_caller]
pub fn with_services_of_tests(config: &str) -> String {
    assert!(!config.contains("[enrollment]"), "{config}");
    let shipped = configuration();
    let show_at = shipped.lines().find(|line| line.starts_with("show_at = ["));
    format!("{config}[enrollment]\n{}\n", show_at.expect("it is set"))
}

/// Enables a user; returns the secret.
#[track_caller]
pub fn enable(world: &World, user: &str) -> String {
    world.onetimectl(&["enable", user]).ok();
    secret(world, user)
}

/// The secret that is on record.
#[track_caller]
pub fn secret(world: &World, user: &str) -> String {
    let record = world.read_text(&format!("/var/lib/onetime/users/{user}.toml"));
    secret_in(&record)
}

/// The secret of the first token in this record.
#[track_caller]
pub fn secret_in(record: &str) -> String {
    let line = record.lines().find_map(|line| line.strip_prefix("secret = "));
    line.unwrap_or_else(|| panic!("no secret in a record")).trim_matches('"').to_owned()
}

/// Enables and activates a user with the code of the step before this one; returns
/// the secret, and codes of this step and the next are there to be used.
#[track_caller]
pub fn activate(world: &World, user: &str) -> String {
    let secret = enable(world, user);
    world.onetimectl(&["verify", user, &current_code(&secret, -1)]).ok();
    secret
}

/// The code of this step, or one so many steps away.
#[track_caller]
pub fn current_code(secret: &str, offset_steps: i64) -> String {
    code(secret, TotpOptions { offset_steps, ..TotpOptions::default() })
}

/// What a login of alice, who is pending, shows until it asks for the code.
#[track_caller]
pub fn shown_at_login(world: &World, service: &str) -> Vec<u8> {
    let set_up = "One-time code (Enter to skip):";
    let script = [("Password:", ALICE_PASSWORD), (set_up, "")];
    let run = world.pamtester_script(service, "alice", &script);
    let text = String::from_utf8_lossy(&run.transcript).into_owned();
    let (before, _) = text.split_once(set_up).expect("it asks for the code");
    format!("{before}{set_up}").into_bytes()
}

/// A record's text with the checksum that its body has now (docs/FILEFORMAT.md).
#[track_caller]
pub fn sealed(record: &str) -> String {
    let (_, body) = record.split_once('\n').expect("a line with the checksum, and a body");
    format!("checksum = \"crc32:{:08x}\"\n{body}", crc32(body.as_bytes()))
}

/// The checksum of FILEFORMAT.md, bit by bit: not by the crate that the store uses.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// Where a user's state is.
pub fn state_file(user: &str) -> String {
    format!("/var/lib/onetime/state/{user}")
}
