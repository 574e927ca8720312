//! `onetimectl` as an admin uses it, in a world of its own: what each verb does to the
//! store, what it says on a terminal, to a pipe and as JSON, how it ends, what it logs.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{
    PATIENCE, World, activate, assert_ends, current_code, decode_qr, enable, finish, finish_within,
    hotp_code, installed, rasterise, scan, secret, state_file, wait_within,
};
use regex::Regex;
use serde_json::{Value, json};

const VERBS: [&str; 21] = [
    "init",
    "enable",
    "disable",
    "status",
    "list",
    "verify",
    "qr",
    "repair",
    "rename",
    "rebind",
    "recovery",
    "resync",
    "token",
    "doctor",
    "handout",
    "import",
    "export",
    "unlock",
    "report",
    "config",
    "completions",
];

fn record_file(user: &str) -> String {
    format!("/var/lib/onetime/users/{user}.toml")
}

/// Runs a script with the store as its directory.
#[track_caller]
fn in_store(world: &World, script: &str) {
    let script = format!("cd /var/lib/onetime; umask 077; {script}");
    world.run("sh", &["-euc", &script]).ok();
}

/// What the tool says as JSON, whatever its exit code.
#[track_caller]
fn as_json(world: &World, args: &[&str]) -> Value {
    world.onetimectl(&[&["--json"], args].concat()).json()
}

/// One user's row of `status --json`.
#[track_caller]
fn status(world: &World, user: &str) -> Value {
    as_json(world, &["status", user])[0].take()
}

fn keys(row: &Value) -> Vec<&str> {
    row.as_object().expect("a row is an object").keys().map(String::as_str).collect()
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock stands after 1970").as_secs()
}

fn in_fours(secret: &str) -> String {
    let groups: Vec<_> = secret.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join(" ")
}

/// Neither drawn nor in letters.
#[track_caller]
fn assert_shows_nothing(text: &str, secret: &str) {
    assert!(!text.contains(['█', '▀', '▄']), "{text}");
    assert!(!text.contains(secret) && !text.contains(&in_fours(secret)[..9]), "{text}");
}

// --- errors ---

#[test]
fn an_error_has_its_remedy_on_a_line_of_its_own_and_as_json_null_where_nothing_failed() {
    let world = installed();
    enable(&world, "alice");
    for (args, said, remedy) in [
        // An error of the tool, one of the store for a user, one of the whole run.
        (
            &["enable", "nosuch"][..],
            "onetimectl: nosuch: this system knows no such user\n",
            "check the name; to issue a secret all the same: --force",
        ),
        (&["unlock", "bob"], "onetimectl: bob: not enabled\n", "issue a secret: onetimectl enable"),
        (
            &["verify", "bob", "123456"],
            "onetimectl: bob: not enabled\n",
            "issue a secret: onetimectl enable",
        ),
    ] {
        let run = world.onetimectl(args);
        assert_ends(&run, 1, said);
        assert_eq!(run.stderr, format!("{said}  -> {remedy}\n"));
    }
    let failed = &as_json(&world, &["unlock", "bob"])[0];
    assert_eq!(failed["error"], "not enabled");
    assert_eq!(failed["remedy"], "issue a secret: onetimectl enable");
    let sound = &as_json(&world, &["unlock", "alice"])[0];
    assert_eq!((&sound["error"], &sound["remedy"]), (&Value::Null, &Value::Null));
    // Where nothing is known that would help, nothing is said.
    let wrong = world.onetimectl(&["verify", "alice", "000000"]);
    assert_eq!(wrong.stderr, "onetimectl: alice: wrong code\n");
    assert_eq!(as_json(&world, &["verify", "alice", "000000"])[0]["remedy"], Value::Null);
    // A name that nobody has may be misspelt, or the source of names is down.
    let unknown = world.onetimectl(&["status", "ghost"]);
    assert_ends(&unknown, 1, "onetimectl: ghost: this system knows no such user\n  -> check the");
    for part in ["spelling", "getent passwd", "no record of that name"] {
        assert!(unknown.stderr.contains(part), "{}", unknown.stderr);
        assert!(status(&world, "ghost")["remedy"].as_str().is_some_and(|it| it.contains(part)));
    }
}

// --- init ---

#[test]
fn init_makes_a_store_that_only_root_can_enter_and_to_repeat_it_changes_nothing() {
    let world = installed();
    world.write("/etc/onetime/other.toml", b"[store]\ndir = \"/var/lib/other\"\n", 0o644);
    let init = "umask 0; onetimectl --config /etc/onetime/other.toml init";
    let said = world.run("sh", &["-euc", init]).ok();
    assert!(said.contains("/var/lib/other"), "{said}");
    let (directory, file) = (0o040_700, 0o100_600);
    for (name, mode) in
        [("", directory), ("/users", directory), ("/state", directory), ("/store.toml", file)]
    {
        let metadata = world.metadata(&format!("/var/lib/other{name}"));
        assert_eq!((metadata.mode(), metadata.uid(), metadata.gid()), (mode, 0, 0), "{name}");
    }

    activate(&world, "alice");
    let look = "cd /var/lib/onetime; find . -exec stat -c '%n %i %a %u %Y' {} + | sort; \
                find . -type f -exec sha256sum {} + | sort";
    let before = world.run("sh", &["-euc", look]).ok();
    world.onetimectl(&["init"]).ok();
    assert_eq!(world.run("sh", &["-euc", look]).ok(), before);
}

/// As packages do when they are upgraded, whatever is mounted then.
#[test]
fn init_makes_no_store_where_one_is_to_be_there_already() {
    let world = installed();
    let init = ["--config", "/etc/onetime/other.toml", "init", "--existing"];
    for dir in ["/var/lib/other", "/var/lib/empty", "/var/lib/a/store"] {
        let config = format!("[store]\ndir = \"{dir}\"\n");
        world.write("/etc/onetime/other.toml", config.as_bytes(), 0o644);
        world.run("mkdir", &["-p", "-m", "700", "/var/lib/empty"]).ok();
        let run = world.onetimectl(&init);
        assert_ends(&run, 1, &format!("no store in {dir}"));
        assert!(run.stderr.contains("\n  -> mount its file system"), "{}", run.stderr);
        assert!(!world.path(&format!("{dir}/store.toml")).exists(), "{dir}");
    }
    assert_eq!(world.list("/var/lib/empty"), [""; 0]);
    // The index of one that is there is made again.
    activate(&world, "alice");
    let index = world.list("/var/lib/onetime/uids");
    world.run("sh", &["-euc", "rm /var/lib/onetime/uids/*"]).ok();
    world.onetimectl(&["init", "--existing"]).ok();
    assert_eq!(world.list("/var/lib/onetime/uids"), index);
}

/// At the first installation, which is not `--existing`.
#[test]
fn init_warns_that_a_file_system_may_not_be_mounted_and_its_way_out_refuses_instead() {
    let world = installed();
    world.run("mkdir", &["-m", "700", "/var/lib/own"]).ok();
    let init = |dir: &str| {
        let config = format!("issuer = \"example.org\"\n[store]\ndir = \"{dir}\"\n");
        world.write("/etc/onetime/other.toml", config.as_bytes(), 0o644);
        let run = world.onetimectl(&["--config", "/etc/onetime/other.toml", "init"]);
        assert!(run.success(), "{dir}: {}", run.text());
        run.stderr
    };
    assert_eq!(init("/var/lib/new"), "");
    let warning = init("/var/lib/own");
    assert!(warning.contains("/var/lib/own was an empty directory"), "{warning}");
    assert!(
        warning.contains("\n  -> if one belongs there: rm /var/lib/own/store.toml"),
        "{warning}"
    );
    assert_eq!(init("/var/lib/own"), "", "it is a store now");

    // As the remedy says. What is below a mount point that is not mounted is no store then.
    world.run("rm", &["/var/lib/own/store.toml"]).ok();
    let config = ["--config", "/etc/onetime/other.toml"];
    let below = world.onetimectl(&[&config[..], &["enable", "alice"]].concat());
    assert_ends(&below, 1, "no store in /var/lib/own");
    world.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=700", "none", "/var/lib/own"]).ok();
    assert_eq!(init("/var/lib/own"), "");
    assert_eq!(world.list("/var/lib/own"), ["state", "store.toml", "uids", "users"]);
    world.run("umount", &["/var/lib/own"]).ok();
    assert_eq!(world.list("/var/lib/own"), ["state", "uids", "users"]);
}

#[test]
fn init_makes_the_directories_above_the_store_too_whatever_the_umask() {
    let world = installed();
    for (umask, above) in [("077", "/var/lib/a"), ("002", "/var/lib/b"), ("0", "/var/lib/c")] {
        let config = format!("[store]\ndir = \"{above}/store\"\n");
        world.write("/etc/onetime/other.toml", config.as_bytes(), 0o644);
        let init = format!("umask {umask}; onetimectl --config /etc/onetime/other.toml init");
        let run = world.run("sh", &["-euc", &init]);
        assert!(run.success(), "umask {umask}: {}", run.text());
        assert_eq!(world.metadata(above).mode() & 0o022, 0, "only root can write it: {above}");
    }
}

#[test]
fn init_says_what_to_do_about_a_directory_that_is_called_like_a_leftover_and_loses_nothing() {
    let world = installed();
    enable(&world, "alice");
    for dir in ["users", "uids"] {
        let stray = format!("/var/lib/onetime/{dir}/.new-x");
        let kept = format!("{stray}/kept");
        world.write(&kept, b"kept", 0o600);
        let run = world.onetimectl(&["init"]);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(run.text().contains(&stray), "{}", run.text());
        assert!(
            run.text().contains("\n  -> find out who put that directory there"),
            "{}",
            run.text()
        );
        assert!(world.exists(&kept) && world.exists("/var/lib/onetime/users/alice.toml"));
        world.run("mv", &[&stray, "/root/"]).ok();
        world.run("rm", &["-r", "/root/.new-x"]).ok();
        world.onetimectl(&["init"]).ok();
    }
}

#[test]
fn init_removes_what_a_killed_enable_left_but_waits_for_one_that_is_at_work() {
    let world = installed();
    for user in ["alice", "bob"] {
        enable(&world, user);
    }
    let make = "cd users; for left in alice.toml bob.toml carol.toml x; do cp alice.toml .new-$left; done; echo x >other";
    in_store(&world, make);
    world.onetimectl(&["disable", "bob", "--yes"]).ok();
    let left = [".new-alice.toml", ".new-carol.toml", ".new-x", "alice.toml", "other"];
    assert_eq!(world.list("/var/lib/onetime/users"), left, "the secret is destroyed");
    let at_work = "if flock -o state/alice timeout 1 onetimectl init; then exit 1; fi";
    in_store(&world, at_work);
    assert!(world.exists("/var/lib/onetime/users/.new-alice.toml"), "init waits for the lock");
    world.onetimectl(&["init"]).ok();
    assert_eq!(world.list("/var/lib/onetime/users"), ["alice.toml", "other"]);
    assert_eq!(world.list("/var/lib/onetime/state"), ["alice"]);
}

// --- enable ---

#[test]
fn enable_refuses_an_unknown_user_unless_forced_and_then_for_any_uid() {
    let world = installed();
    assert_ends(&world.onetimectl(&["enable", "ghost"]), 1, "ghost: this system knows no such");
    assert!(!world.exists(&record_file("ghost")));
    world.onetimectl(&["enable", "ghost", "--force"]).ok();
    assert!(world.read_text(&record_file("ghost")).contains("\nuid = \"any\"\n"));
    world.onetimectl(&["enable", "alice", "--force"]).ok();
    assert!(world.read_text(&record_file("alice")).contains("\nuid = 2001\n"));
}

#[test]
fn of_several_users_each_is_handled_and_the_exit_code_differs_for_some_failed_and_all_failed() {
    let world = installed();
    let some = world.onetimectl(&["enable", "alice", "ghost", "bob"]);
    assert_ends(&some, 3, "onetimectl: ghost: ");
    assert!(some.stdout.contains("alice: enabled") && some.stdout.contains("bob: enabled"));
    assert_eq!(world.list("/var/lib/onetime/users"), ["alice.toml", "bob.toml"]);
    assert_ends(&world.onetimectl(&["enable", "ghost", "ghoul"]), 1, "onetimectl: ghoul: ");
}

#[test]
fn enable_does_not_touch_enabled_users_unless_it_is_to_make_a_new_secret() {
    let world = installed();
    let old = activate(&world, "alice");
    let files = || [world.read(&record_file("alice")), world.read(&state_file("alice"))];
    let before = files();
    let again = world.onetimectl(&["enable", "alice", "--digits", "8", "--qr", "/root/a.png"]);
    assert_ends(&again, 0, "alice: already enabled, nothing changed");
    assert!(files() == before, "the same bytes");
    assert!(!world.exists("/root/a.png"), "a picture of a secret that was not issued");
    let told = as_json(&world, &["enable", "alice"]);
    let row = json!({ "version": 1, "user": "alice", "result": "already_enabled", "error": null, "remedy": null });
    assert_eq!(told, json!([row]));

    world.onetimectl(&["enable", "alice", "--new-secret"]).ok();
    assert_ne!(secret(&world, "alice"), old);
    assert_eq!(status(&world, "alice")["activated"], false);
}

#[test]
fn enable_writes_the_qr_code_as_png_and_svg_to_files_that_only_root_can_read() {
    let world = installed();
    for (user, file) in [("alice", "/root/alice.png"), ("bob", "/root/bob.svg")] {
        let command = format!("umask 0; onetimectl enable {user} --qr {file}");
        world.run("sh", &["-euc", &command]).ok();
        let metadata = world.metadata(file);
        assert_eq!((metadata.mode(), metadata.uid()), (0o100_600, 0), "{file}");
        let read = match file.ends_with("png") {
            true => scan(&world.read(file), "png"),
            false => scan(&rasterise(&world.read_text(file)), "pgm"),
        };
        assert!(read.contains(&format!(":{user}?secret={}&", secret(&world, user))), "{read}");
    }
}

#[test]
fn enable_with_a_file_that_cannot_be_the_qr_code_s_enables_nobody() {
    let world = installed();
    world.write("/root/there.png", b"precious", 0o644);
    world.run("ln", &["-s", "/root/nowhere.png", "/root/link.png"]).ok();
    for (file, why) in [
        ("/root/there.png", "cannot write /root/there.png"),
        ("/root/link.png", "cannot write /root/link.png"),
        ("/root/no/such/directory.png", "cannot write"),
    ] {
        assert_ends(&world.onetimectl(&["enable", "alice", "--qr", file]), 1, why);
    }
    for file in ["/root/alice.jpg", "/root/alice"] {
        let run = world.onetimectl(&["enable", "alice", "--qr", file]);
        assert_ends(&run, 2, "must end in .png or .svg");
    }
    let two = world.onetimectl(&["enable", "alice", "bob", "--qr", "/root/two.png"]);
    assert_ends(&two, 2, "--qr takes one USER");
    assert_eq!(world.list("/var/lib/onetime/users"), [""; 0]);
    assert_eq!(world.read("/root/there.png"), b"precious");
    for file in ["/root/two.png", "/root/nowhere.png", "/root/alice.jpg", "/root/alice"] {
        assert!(!world.exists(file), "{file}");
    }
}

#[test]
fn enable_shows_the_secret_on_a_terminal_and_elsewhere_only_if_it_is_asked_to() {
    let world = installed();
    let mut terminal = world.pty("onetimectl", &["enable", "alice"]);
    assert!(terminal.wait().success(), "{}", terminal.text());
    let issued = secret(&world, "alice");
    assert!(decode_qr(&terminal.transcript(), 80, 60).contains(&format!("secret={issued}&")));
    assert!(terminal.text().contains(&in_fours(&issued)), "{}", terminal.text());

    let pipe = world.onetimectl(&["enable", "alice", "--new-secret"]);
    assert_shows_nothing(&pipe.text(), &secret(&world, "alice"));
    assert_ends(&pipe, 0, "alice: enabled");
    let mut quiet =
        world.pty("onetimectl", &["enable", "alice", "--new-secret", "--no-qr", "--yes"]);
    assert!(quiet.wait().success(), "{}", quiet.text());
    assert_shows_nothing(&quiet.text(), &secret(&world, "alice"));

    let asked = world.onetimectl(&["enable", "alice", "--new-secret", "--show-secret"]).ok();
    assert!(asked.contains(&in_fours(&secret(&world, "alice"))), "{asked}");

    let told = &as_json(&world, &["enable", "alice", "--new-secret", "--show-secret"])[0];
    let issued = secret(&world, "alice");
    assert_eq!((&told["result"], &told["error"]), (&json!("enabled"), &Value::Null));
    assert_eq!(told["secret"], issued);
    let uri = told["uri"].as_str().expect("a string");
    assert!(uri.starts_with("otpauth://totp/") && uri.contains(&issued), "{uri}");
    let told = as_json(&world, &["enable", "alice", "--new-secret"]);
    let row = json!({
        "version": 1, "user": "alice", "result": "enabled", "error": null, "remedy": null
    });
    assert_eq!(told, json!([row]));
    let both = world.onetimectl(&["enable", "alice", "--show-secret", "--no-qr"]);
    assert_ends(&both, 2, "cannot be used with");
}

#[test]
fn what_a_token_is_like_comes_from_the_options_else_from_the_configuration_else_the_defaults() {
    let world = installed();
    let fields = |args: &[&str]| {
        world.onetimectl(&[&["enable", "alice", "--new-secret"], args].concat()).ok();
        let record = world.read_text(&record_file("alice"));
        let field = |name: &str| {
            let line = record.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
            line.unwrap_or("-").trim_matches('"').to_owned()
        };
        ["kind", "algorithm", "digits", "period", "issuer"].map(field)
    };
    let host = world.run("uname", &["-n"]).ok();
    assert_eq!(fields(&[]), ["totp", "SHA1", "6", "30", host.trim()]);
    let options = ["--algorithm", "sha512", "--digits", "8", "--period", "300"];
    let options = [&options[..], &["--kind", "totp", "--issuer", "Büro & Söhne"]].concat();
    assert_eq!(fields(&options), ["totp", "SHA512", "8", "300", "Büro & Söhne"]);
    assert_eq!(fields(&["--kind", "hotp"]), ["hotp", "SHA1", "6", "-", host.trim()]);

    let config =
        "issuer = \"Example Ltd\"\n[code]\nalgorithm = \"SHA256\"\ndigits = 7\nperiod = 15\n";
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    assert_eq!(fields(&[]), ["totp", "SHA256", "7", "15", "Example Ltd"]);
    assert_eq!(fields(&["--kind", "hotp"]), ["hotp", "SHA256", "7", "-", "Example Ltd"]);
    assert_eq!(fields(&options), ["totp", "SHA512", "8", "300", "Büro & Söhne"]);
}

#[test]
fn enable_refuses_what_no_token_can_be_like() {
    let world = installed();
    for (option, value) in [
        ("--kind", "xotp"),
        ("--algorithm", "MD5"),
        ("--digits", "5"),
        ("--digits", "9"),
        ("--digits", "six"),
        ("--period", "14"),
        ("--period", "301"),
        ("--period", "-30"),
    ] {
        let option = format!("{option}={value}");
        assert_ends(&world.onetimectl(&["enable", "alice", &option]), 2, value);
    }
    // What was given, and what is allowed.
    for (option, value, allowed) in [
        ("--digits", "six", "must be a whole number from 6 to 8"),
        ("--period", "301", "a period of 301 s: it must be 15 to 300 s"),
        ("--algorithm", "MD5", "use SHA1, SHA256 or SHA512"),
        ("--issuer", "a:b", "the issuer must be 1 to 64 characters without ':'"),
    ] {
        let run = world.onetimectl(&["enable", "alice", option, value]);
        assert_ends(&run, 2, &format!("invalid value '{value}' for '{option} <"));
        assert_ends(&run, 2, allowed);
    }
    let remove = world.onetimectl(&["token", "remove", "alice", "x"]);
    assert_ends(&remove, 2, "invalid value 'x' for '<ID>': the number of a token must be 1 to 4");
    let hotp = world.onetimectl(&["enable", "alice", "--kind", "hotp", "--period", "30"]);
    assert_ends(&hotp, 2, "--period is for totp");
    for issuer in ["", "a:b", "a\nb", &"x".repeat(65)] {
        let run = world.onetimectl(&["enable", "alice", "--issuer", issuer]);
        assert!(!run.success() && run.stderr.contains("issuer"), "{}", run.text());
    }
    assert_eq!(world.list("/var/lib/onetime/users"), [""; 0]);
}

#[test]
fn enable_makes_a_store_where_none_is_but_not_in_a_directory_that_may_be_a_mount_point() {
    let world = installed();
    world.remove("/var/lib/onetime");
    world.onetimectl(&["enable", "alice"]).ok();
    assert_eq!(world.metadata("/var/lib/onetime").mode() & 0o7777, 0o700);
    assert_eq!(status(&world, "alice")["otp"], true);

    in_store(&world, "rm -r store.toml users state uids");
    let run = world.onetimectl(&["enable", "alice"]);
    assert_ends(&run, 1, "store.toml is missing");
    assert_ends(&run, 1, "mount its file system; if there never was a store: onetimectl init");
    assert_eq!(world.list("/var/lib/onetime"), [""; 0]);
}

// --- disable ---

#[test]
fn disable_asks_on_a_terminal_only_and_what_it_removes_is_the_record_and_the_state() {
    let world = installed();
    activate(&world, "alice");
    for answer in ["n", "", "yse"] {
        let mut terminal = world.pty("onetimectl", &["disable", "alice"]);
        terminal.expect("for alice? ");
        terminal.expect("[y/N] ");
        terminal.send_line(answer);
        assert_eq!(terminal.wait().code(), Some(1), "{}", terminal.text());
        assert!(terminal.text().contains("Nothing changed."), "{}", terminal.text());
        assert_eq!(status(&world, "alice")["activated"], true);
    }
    let mut terminal = world.pty("onetimectl", &["disable", "alice"]);
    terminal.expect("[y/N] ");
    terminal.send_line("y");
    assert!(terminal.wait().success(), "{}", terminal.text());
    assert!(!world.exists(&record_file("alice")) && !world.exists(&state_file("alice")));

    enable(&world, "alice");
    let mut terminal = world.pty("onetimectl", &["disable", "alice", "--yes"]);
    assert!(terminal.wait().success() && !terminal.text().contains("[y/N]"), "{}", terminal.text());
    enable(&world, "alice");
    let pipe = world.onetimectl(&["disable", "alice"]);
    assert_ends(&pipe, 0, "alice: disabled");
    assert!(!pipe.text().contains("[y/N]"), "{}", pipe.text());
    assert_ends(&world.onetimectl(&["disable", "alice"]), 0, "alice: not enabled");
}

#[test]
fn disable_works_on_damaged_accounts_and_for_users_who_are_gone() {
    let world = installed();
    for user in ["alice", "bob", "carol", "daemon", "nobody"] {
        enable(&world, user);
    }
    let spoil = "sed -i s/SHA1/SHA256/ users/alice.toml; rm state/bob; : >state/daemon; \
                 chmod 644 state/nobody";
    in_store(&world, spoil);
    let passwd = world.read_text("/etc/passwd");
    let others = passwd.lines().filter(|line| !line.starts_with("carol:"));
    let others: String = others.flat_map(|line| [line, "\n"]).collect();
    world.write("/etc/passwd", others.as_bytes(), 0o644);
    let users = ["disable", "--yes", "alice", "bob", "carol", "daemon", "nobody"];
    let said = world.onetimectl(&users).ok();
    assert_eq!(said.matches(": disabled; the secret is destroyed\n").count(), 5, "{said}");
    assert_eq!(world.list("/var/lib/onetime/users"), [""; 0]);
    assert_eq!(world.list("/var/lib/onetime/state"), [""; 0]);
}

// --- status, list ---

/// A world in which alice is pending, bob active, and carol locked out.
fn of_all_kinds() -> World {
    let world = installed();
    enable(&world, "alice");
    activate(&world, "bob");
    activate(&world, "carol");
    for _ in 0..3 {
        assert_ends(&world.onetimectl(&["verify", "carol", "000000"]), 1, "wrong code");
    }
    world
}

#[test]
fn status_and_list_are_tables_that_show_pending_active_locked_and_disabled_users() {
    let world = of_all_kinds();
    let time = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC";
    let mut rows = vec![
        "USER +OTP +ACTIVATED +SINCE +LAST CODE LOGIN +DRIFT +RECOVERY +FAILURES".to_owned(),
        "alice +yes +no +- +- +- +- +0".to_owned(),
        format!("bob +yes +yes +{time} +- +-1? +- +0"),
        format!("carol +yes +yes +{time} +- +-1? +- +locked until {time}"),
    ];
    let assert_is = |args: &[&str], rows: &[String]| {
        let table = world.onetimectl(args).ok();
        let form = Regex::new(&format!("^{} *\n$", rows.join(" *\n"))).expect("a valid pattern");
        assert!(form.is_match(&table), "{args:?}:\n{table}");
    };
    assert_is(&["list"], &rows);
    assert_is(&["status"], &rows);
    rows.push("daemon +no +- +- +- +- +- +0".to_owned());
    assert_is(&["status", "alice", "bob", "carol", "daemon"], &rows);
    world.onetimectl(&["disable", "--yes", "alice", "bob", "carol"]).ok();
    assert_eq!(world.onetimectl(&["list"]).ok(), "Nobody is enabled.\n");
}

#[test]
fn status_as_json_has_these_keys_for_a_user_and_an_error_alone_for_one_who_is_unknown() {
    let start = now();
    let world = of_all_kinds();
    let rows = as_json(&world, &["status", "alice", "bob", "carol", "daemon"]);
    let rows = rows.as_array().expect("an array");
    let all = [
        "activated",
        "deadline",
        "drift",
        "error",
        "failures",
        "issued",
        "last_login",
        "locked_until",
        "otp",
        "recovery_codes_left",
        "remedy",
        "services",
        "since",
        "tokens",
        "user",
        "version",
    ];
    for row in rows {
        let mut found = keys(row);
        found.sort_unstable();
        assert_eq!(found, all);
        assert_eq!((&row["failures"], &row["error"]), (&json!(0), &Value::Null), "{row}");
    }
    let words = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(words("user"), ["alice", "bob", "carol", "daemon"]);
    assert_eq!(words("otp"), [true, true, true, false]);
    assert_eq!(words("activated"), [false, true, true, false]);
    // RFC 3339, which says the zone, and has an order.
    let time = |row: &Value, key: &str| {
        let time = row[key].as_str().map(|time| time.parse::<jiff::Timestamp>());
        let time = time.map(|time| time.expect("a date of RFC 3339").as_second());
        time.map(|time| u64::try_from(time).expect("after 1970"))
    };
    let recent = |key: &str| {
        let is = |row: &Value| time(row, key).map(|time| (start..=now()).contains(&time));
        rows.iter().map(is).collect::<Vec<_>>()
    };
    assert_eq!(recent("issued"), [Some(true), Some(true), Some(true), None]);
    assert_eq!(recent("since"), [None, Some(true), Some(true), None]);
    assert_eq!(recent("last_login"), [None; 4], "an admin's `verify` is no login");
    let locked = |row: &Value| time(row, "locked_until").map(|time| time > now());
    assert_eq!(rows.iter().map(locked).collect::<Vec<_>>(), [None, None, Some(true), None]);

    assert_ends(&world.onetimectl(&["status", "ghost"]), 1, "onetimectl: ghost: this system");
    let ghost = status(&world, "ghost");
    assert_eq!(keys(&ghost), ["error", "remedy", "user", "version"]);
    assert!(ghost["error"].is_string(), "{ghost}");
}

#[test]
fn list_names_a_damaged_record_and_a_user_created_anew_and_still_lists_the_others() {
    let world = installed();
    for user in ["alice", "bob", "carol"] {
        enable(&world, user);
    }
    in_store(&world, "sed -i s/SHA1/SHA256/ users/alice.toml");
    let passwd = world.read_text("/etc/passwd").replace("carol:x:2003:", "carol:x:2903:");
    world.write("/etc/passwd", passwd.as_bytes(), 0o644);
    let list = world.onetimectl(&["list"]);
    assert_ends(&list, 3, "\nbob ");
    assert!(list.stderr.contains("onetimectl: alice: "), "{}", list.stderr);
    assert!(list.stderr.contains("its checksum does not match its text"), "{}", list.stderr);
    assert!(list.stderr.contains("for uid 2003, but carol has uid 2903"), "{}", list.stderr);
    let rows = as_json(&world, &["list"]);
    let failed = [0, 1, 2].map(|row| rows[row]["error"].is_string());
    assert_eq!(failed, [true, false, true], "{rows}");
}

// --- verify ---

#[test]
fn verify_judges_a_code_as_a_login_would_and_spends_it() {
    let world = installed();
    let secret = enable(&world, "alice");
    let [first, second] = [0, 1].map(|offset| current_code(&secret, offset));
    let verify = |code: &str| world.onetimectl(&["verify", "alice", code]);
    assert_ends(&verify("000000"), 1, "onetimectl: alice: wrong code");
    assert_eq!(status(&world, "alice")["activated"], false);
    assert_ends(&verify(&first), 0, "alice: right code; activated");
    assert_ends(&verify(&first), 1, "onetimectl: alice: code already used");
    assert_ends(&verify(&second), 0, "alice: right code\n");
    assert_eq!(status(&world, "alice")["failures"], 0, "using a code twice is no guess");
    assert_ends(&verify("000000"), 1, "onetimectl: alice: wrong code");

    assert_ends(&verify("12345"), 1, "a code has 6 to 8 digits");
    assert_ends(&verify("12345x"), 1, "a code has 6 to 8 digits");
    assert_ends(&verify(""), 1, "a code has 6 to 8 digits");
    assert_eq!(status(&world, "alice")["failures"], 1, "what is no code is not counted");
    assert_ends(&world.onetimectl(&["verify", "bob", "123456"]), 1, "bob: not enabled");
    assert_ends(&world.onetimectl(&["verify", "ghost", "123456"]), 1, "ghost: this system knows");
}

#[test]
fn verify_asks_for_the_code_without_echo_or_reads_it_from_a_pipe() {
    let world = installed();
    let secret = activate(&world, "alice");
    let [first, second] = [0, 1].map(|offset| current_code(&secret, offset));
    let mut terminal = world.pty("sh", &["-c", "tty; exec onetimectl verify alice"]);
    let shown = terminal.expect("One-time code: ");
    let device = shown.lines().next().expect("the terminal's name").to_owned();
    // The prompt may be there before the echo is off: a person is not that fast.
    let start = Instant::now();
    while !world.run("stty", &["-F", &device, "-a"]).ok().contains(" -echo ") {
        assert!(start.elapsed() < PATIENCE, "the echo stays on");
    }
    terminal.send_line(&first);
    terminal.expect("alice: right code");
    assert!(terminal.wait().success() && !terminal.text().contains(&first), "{}", terminal.text());

    let mut pipe = world.command("onetimectl");
    let piped = finish(pipe.args(["verify", "alice"]), format!("{second}\n").as_bytes());
    assert_ends(&piped, 0, "alice: right code");
    assert!(!piped.text().contains("One-time code"), "{}", piped.text());
}

// --- qr ---

#[test]
fn qr_shows_the_secret_of_a_pending_user_and_of_nobody_else() {
    let world = installed();
    let pending = enable(&world, "alice");
    let active = activate(&world, "bob");
    let shown = world.onetimectl(&["qr", "alice"]).ok();
    assert!(decode_qr(shown.as_bytes(), 80, 60).contains(&format!("secret={pending}&")));
    assert!(shown.contains(&in_fours(&pending)), "{shown}");
    assert_eq!(as_json(&world, &["qr", "alice"])[0]["secret"], pending);
    let written = world.onetimectl(&["qr", "alice", "--qr", "/root/alice.png"]).ok();
    assert_shows_nothing(&written, &pending);
    assert!(scan(&world.read("/root/alice.png"), "png").contains(&pending));

    for args in
        [&["qr", "bob"][..], &["--json", "qr", "bob"], &["qr", "bob", "--qr", "/root/b.png"]]
    {
        let refused = world.onetimectl(args);
        assert_ends(&refused, 1, "bob: already activated");
        assert_shows_nothing(&refused.text(), &active);
    }
    assert!(!world.exists("/root/b.png"));
    assert_ends(&world.onetimectl(&["qr", "carol"]), 1, "carol: not enabled");
}

// --- repair ---

#[test]
fn repair_leaves_a_sound_account_alone_and_rebuilds_a_lost_state_as_active_never_as_pending() {
    let world = installed();
    enable(&world, "alice");
    activate(&world, "bob");
    let before = world.read(&state_file("alice"));
    assert_ends(&world.onetimectl(&["repair", "alice", "carol"]), 0, "alice: nothing to repair");
    assert!(world.read(&state_file("alice")) == before && !world.exists(&state_file("carol")));

    for spoil in [
        "rm state/alice",
        ": >state/alice",
        "truncate -s 512 state/alice",
        "truncate -s 8193 state/alice",
        "cp state/bob state/alice",
    ] {
        world.onetimectl(&["enable", "alice", "--new-secret"]).ok();
        in_store(&world, spoil);
        assert_ends(&world.onetimectl(&["status", "alice"]), 1, "onetimectl repair");
        let record = world.read(&record_file("alice"));
        assert_ends(&world.onetimectl(&["repair", "alice"]), 0, "alice: repaired: it is active");
        assert_eq!(status(&world, "alice")["activated"], true, "{spoil}");
        assert!(world.read(&record_file("alice")) == record, "{spoil}");
        let metadata = world.metadata(&state_file("alice"));
        assert_eq!((metadata.len(), metadata.mode()), (8192, 0o100_600), "{spoil}");
        assert_ends(&world.onetimectl(&["qr", "alice"]), 1, "already activated");
    }
}

#[test]
fn after_a_repair_no_code_shown_up_to_then_is_accepted_and_a_later_one_is() {
    let world = installed();
    let secret = activate(&world, "alice");
    let shown = [-1, 0, 1].map(|offset| current_code(&secret, offset));
    let verify = |code: &str| world.onetimectl(&["verify", "alice", code]);
    let configure = |text: &str| {
        let config = format!("[limits]\nfailures = 0\n[code]\n{text}\n");
        world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    };
    let repair = || {
        in_store(&world, "rm state/alice");
        world.onetimectl(&["repair", "alice"]).ok();
        // Wide enough to judge today what a login would in a minute.
        configure("window = 10");
    };
    repair();
    // Its clock may have been ten steps ahead, as far as drift is followed by default.
    for offset in [-1, 0, 1, 9, 10] {
        assert_ends(&verify(&current_code(&secret, offset)), 1, "already used");
    }
    configure("max_drift = 0");
    repair();
    for code in &shown {
        assert_ends(&verify(code), 1, "already used");
    }
    assert_ends(&verify(&current_code(&secret, 3)), 0, "alice: right code");
}

#[test]
fn repair_refuses_to_guess_a_lost_counter_and_names_the_one_remedy() {
    let world = installed();
    world.onetimectl(&["enable", "alice", "--kind", "hotp"]).ok();
    world.onetimectl(&["verify", "alice", &hotp_code(&secret(&world, "alice"), 0, 6)]).ok();
    in_store(&world, "rm state/alice");
    let run = world.onetimectl(&["repair", "alice"]);
    assert_ends(&run, 1, "the counter of a hotp token was lost with the state");
    assert_ends(&run, 1, "onetimectl enable --new-secret");
    assert!(!world.onetimectl(&["status", "alice"]).success(), "it is as broken as before");
    // The record is sound: a copy of it from a backup would bring no counter back.
    assert!(!run.stderr.contains("damaged record"), "{}", run.stderr);
    assert!(!run.stderr.contains("backup"), "{}", run.stderr);
}

#[test]
fn repair_refuses_a_damaged_record_and_leaves_both_files_as_they_are() {
    let world = installed();
    activate(&world, "alice");
    in_store(&world, "sed -i s/SHA1/SHA256/ users/alice.toml");
    let files = || [world.read(&record_file("alice")), world.read(&state_file("alice"))];
    let before = files();
    assert_ends(&world.onetimectl(&["repair", "alice"]), 1, "users/alice.toml: damaged record");
    assert!(files() == before, "the same bytes");
    world.onetimectl(&["enable", "alice", "--new-secret"]).ok();
    assert_eq!(status(&world, "alice")["activated"], false, "the remedy that it names works");
}

// --- unlock ---

#[test]
fn unlock_ends_a_lock_and_forgets_the_failures_that_led_to_it() {
    let world = installed();
    let secret = activate(&world, "alice");
    let right = current_code(&secret, 0);
    for _ in 0..3 {
        assert_ends(&world.onetimectl(&["verify", "alice", "000000"]), 1, "wrong code");
    }
    assert_ends(&world.onetimectl(&["verify", "alice", &right]), 1, "locked after too many");
    assert_ends(&world.onetimectl(&["unlock", "alice"]), 0, "alice: unlocked");
    assert_eq!(status(&world, "alice")["locked_until"], Value::Null);
    assert_ends(&world.onetimectl(&["verify", "alice", &right]), 0, "right code");
    for _ in 0..2 {
        assert_ends(&world.onetimectl(&["verify", "alice", "000000"]), 1, "wrong code");
    }
    assert_eq!(status(&world, "alice")["failures"], 2, "the three before do not count any more");
    assert_ends(&world.onetimectl(&["unlock", "bob"]), 1, "bob: not enabled");
}

// --- who may, and the rest ---

#[test]
fn whoever_is_not_root_gets_help_version_and_completions_and_for_the_rest_is_sent_to_sudo() {
    let world = installed();
    let as_alice = |args: &[&str]| {
        let mut command = world.command_as("alice", "onetimectl");
        finish(command.args(args), b"")
    };
    for verb in VERBS.into_iter().filter(|verb| *verb != "completions") {
        let user: &[&str] = match verb {
            "init" | "list" | "doctor" => &[],
            "token" => &["list", "alice"],
            "config" => &["show"],
            "report" => &["-o", "/tmp/report.html"],
            "rename" => &["alice", "alicia"],
            "handout" => &["alice", "-o", "/tmp/alice.html"],
            _ => &["alice"],
        };
        let run = as_alice(&[&[verb], user].concat());
        assert_ends(&run, 4, "not permitted");
        assert!(run.stdout.is_empty() && run.stderr.contains("sudo onetimectl"), "{}", run.text());
        assert_ends(&as_alice(&[verb, "--help"]), 0, "Usage: onetimectl ");
    }
    let version = as_alice(&["--version"]).ok();
    assert_eq!(version, format!("onetimectl {}\n", env!("CARGO_PKG_VERSION")));
    let help = as_alice(&["--help"]).ok();
    let completions = ["bash", "zsh", "fish"].map(|shell| as_alice(&["completions", shell]).ok());
    for text in [&[help][..], &completions].concat() {
        let missing: Vec<_> = VERBS.into_iter().filter(|verb| !text.contains(verb)).collect();
        assert_eq!(missing, [""; 0], "{text}");
    }
}

#[test]
fn of_300_enables_and_disables_at_once_a_sound_account_is_left_or_none() {
    let world = installed();
    let script = "for i in $(seq 150); do
            onetimectl enable alice & onetimectl disable --yes alice &
        done; wait";
    let mut command = world.command("sh");
    let run = finish_within(command.args(["-c", script]), b"", Duration::from_secs(120));
    let told = run.stdout.lines().filter(|line| line.starts_with("alice: ")).count();
    // The one failure that is none of the account's: others were always faster.
    let busy = run.stderr.matches("the account is being changed all the time").count();
    assert_eq!(told + busy, 300, "{}", run.stderr);
    world.onetimectl(&["status", "alice"]).ok();
    let (users, state) =
        (world.list("/var/lib/onetime/users"), world.list("/var/lib/onetime/state"));
    match users.as_slice() {
        [] => assert!(state.is_empty() || state == ["alice"], "{state:?}"),
        [record] => assert_eq!((record.as_str(), state), ("alice.toml", vec!["alice".to_owned()])),
        more => panic!("left behind: {more:?}"),
    }
}

#[test]
fn a_disable_that_found_no_account_does_not_take_the_state_of_one_that_is_enabled_meanwhile() {
    let world = installed();
    // Held for a while between its two removals, the record's and the state's, and no longer
    // than others wait for the account's lock.
    let mut disable = world.command("strace");
    disable.args(["-o", "/tmp/trace", "-e", "trace=unlinkat"]);
    disable.args(["-e", "inject=unlinkat:delay_enter=1000000:when=2"]);
    disable.args(["onetimectl", "disable", "--yes", "alice"]);
    let mut disable = disable.stdout(Stdio::null()).spawn().expect("strace starts");
    let start = Instant::now();
    let between = || world.exists("/tmp/trace") && world.read_text("/tmp/trace").contains("ENOENT");
    while !between() && wait_within(&mut disable, Duration::from_millis(10)).is_none() {
        assert!(start.elapsed() < PATIENCE, "it neither comes to the record nor ends");
    }
    world.onetimectl(&["enable", "alice"]).ok();
    let ended = wait_within(&mut disable, PATIENCE);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    world.onetimectl(&["status", "alice"]).ok();
}

#[test]
fn what_is_changed_is_logged_in_one_line_each_and_what_is_not_changed_in_none() {
    let world = installed();
    let secret = enable(&world, "alice");
    let code = current_code(&secret, 0);
    let steps: [&[&str]; 8] = [
        &["enable", "alice"],
        &["verify", "alice", "000000"],
        &["verify", "alice", &code],
        &["repair", "alice"],
        &["status", "alice"],
        &["unlock", "alice"],
        &["qr", "alice"],
        &["disable", "bob"],
    ];
    for step in steps {
        world.onetimectl(step);
    }
    in_store(&world, "rm state/alice");
    world.onetimectl(&["repair", "alice"]).ok();
    world.onetimectl(&["disable", "alice"]).ok();
    world.wait_for_syslog(|line| line.text.contains("disabled"), PATIENCE);
    let lines: Vec<_> =
        world.syslog().into_iter().filter(|line| line.tag == "pam_onetime").collect();
    let texts: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    let reasons = [
        "enabled: a new secret was issued",
        "activated by onetimectl verify",
        "unlocked",
        "repaired: a lost state was rebuilt as active",
        "disabled: the secret was destroyed",
    ];
    let quoted = |reason: &str| match reason.contains(' ') {
        true => format!("\"{reason}\""),
        false => reason.to_owned(),
    };
    // Where the tests run in a session, its login uid is there, too.
    let session = Regex::new(" admin=[^ ]+| login_uid=[0-9]+").expect("a valid pattern");
    let texts: Vec<_> = texts.iter().map(|text| session.replace_all(text, "")).collect();
    let line =
        |reason| format!("outcome=changed user=alice service=onetimectl reason={}", quoted(reason));
    assert_eq!(texts, reasons.map(line));
    // authpriv.notice
    assert!(lines.iter().all(|line| (line.facility(), line.severity()) == (10, 5)), "{lines:?}");
}
