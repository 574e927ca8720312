//! What `make install` puts where, and what `make uninstall` takes away or leaves: the
//! real Makefile, into a directory of the test's own; and what is completed, by the real
//! shells.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Finished, World, assert_ends, finish, installed, module_path, tool_path};
use tempfile::TempDir;

/// What was built, as `make` looks for it.
fn built() -> TempDir {
    let target = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    for (file, from) in [
        ("module/libpam_onetime.so", module_path()),
        ("release/onetimectl", tool_path()),
        ("release/onetimed", Path::new(env!("CARGO_BIN_EXE_onetimed"))),
        ("release/onetime", Path::new(env!("CARGO_BIN_EXE_onetime"))),
    ] {
        let file = target.path().join(file);
        fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
        fs::copy(from, file).expect("a copy of what is built");
    }
    target
}

/// Runs `make` for a target, with this umask and these variables.
fn make(umask: &str, target: &str, built: &TempDir, variables: &[String]) -> Finished {
    let script = format!("umask {umask}; exec make --no-print-directory \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-euc", &script, "sh", "-C", env!("CARGO_MANIFEST_DIR"), target]);
    command.arg(format!("TARGET={}", built.path().display())).args(variables);
    finish(&mut command, b"")
}

fn staging(dest: &Path) -> Vec<String> {
    let pam_dir = "PAMDIR=/usr/lib/security".to_owned();
    vec![format!("DESTDIR={}", dest.display()), pam_dir]
}

/// Everything below a directory, each with its mode.
fn tree(root: &Path) -> BTreeMap<PathBuf, u32> {
    let (mut found, mut dirs) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
            let metadata = entry.metadata().expect("it is there");
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
            let below = entry.path().strip_prefix(root).expect("it is below").to_owned();
            found.insert(below, metadata.mode());
        }
    }
    found
}

// --- install ---

#[test]
fn what_is_installed_has_the_same_modes_whatever_the_umask_is() {
    let built = built();
    for prefix in ["/usr", "/usr/local", "/opt/onetime"] {
        for umask in ["022", "077", "0777", "0"] {
            let dest = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let mut variables = staging(dest.path());
            variables.push(format!("PREFIX={prefix}"));
            make(umask, "install", &built, &variables).ok();
            let files = tree(dest.path());
            for (file, mode) in &files {
                let program = ["sbin/onetimectl", "sbin/onetimed", "bin/onetime"]
                    .iter()
                    .any(|it| file.ends_with(it));
                let expected = match mode & 0o170_000 {
                    0o040_000 => 0o040_755,
                    _ if program => 0o100_755,
                    _ => 0o100_644,
                };
                assert_eq!(*mode, expected, "umask {umask}: {}", file.display());
            }
            let fish = match prefix {
                "/usr" => "usr/share/fish/vendor_completions.d",
                _ => "etc/fish/completions",
            };
            let below = prefix.trim_start_matches('/');
            let completions = ["onetimectl", "onetimed", "onetime"].map(|program| {
                [
                    format!("{below}/share/bash-completion/completions/{program}"),
                    format!("{below}/share/zsh/site-functions/_{program}"),
                    format!("{fish}/{program}.fish"),
                ]
            });
            for file in [
                "usr/lib/security/pam_onetime.so".to_owned(),
                format!("{below}/sbin/onetimectl"),
                format!("{below}/sbin/onetimed"),
                format!("{below}/lib/systemd/system/onetimed.socket"),
                format!("{below}/share/man/man8/onetimed.8"),
                format!("{below}/bin/onetime"),
                format!("{below}/share/man/man1/onetime.1"),
                format!(
                    "{below}/lib/systemd/system/polkit-agent-helper@.service.d/pam_onetime.conf"
                ),
                "etc/onetime/onetime.toml".to_owned(),
                "etc/pam.d/onetime-password".to_owned(),
                "etc/fail2ban/filter.d/pam-onetime.conf".to_owned(),
                "etc/fail2ban/jail.d/pam-onetime.conf".to_owned(),
                "etc/logcheck/ignore.d.server/pam-onetime".to_owned(),
                "etc/apparmor.d/abstractions/onetime".to_owned(),
            ]
            .into_iter()
            .chain(completions.into_iter().flatten())
            {
                let there = dest.path().join(&file);
                assert!(fs::metadata(&there).is_ok_and(|it| it.len() > 0), "{prefix}: {file}");
            }
            let unit = dest.path().join(format!("{below}/lib/systemd/system/onetimed.service"));
            let unit = fs::read_to_string(unit).expect("the unit");
            assert!(unit.contains(&format!("\nExecStart={prefix}/sbin/onetimed\n")), "{unit}");
        }
    }
}

/// A package is built by a make below other programs, which have variables of their own.
#[test]
fn what_is_installed_is_taken_from_where_cargo_builds_whatever_target_the_environment_has() {
    let built = built();
    let dest = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut install = Command::new("make");
    install.args(["--no-print-directory", "-C", env!("CARGO_MANIFEST_DIR"), "install"]);
    install.args(staging(dest.path())).env_remove("MAKEFLAGS");
    install.env("TARGET", "aarch64-linux-gnu").env("CARGO_TARGET_DIR", built.path());
    finish(&mut install, b"").ok();
    let module = fs::read(dest.path().join("usr/lib/security/pam_onetime.so"));
    assert!(module.is_ok_and(|it| it == fs::read(module_path()).expect("the module")));
}

#[test]
fn installing_again_keeps_configuration_and_modes_of_directories_and_replaces_what_is_closed() {
    let built = built();
    let dest = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let variables = staging(dest.path());
    make("022", "install", &built, &variables).ok();
    let own = dest.path().join("etc/onetime/onetime.toml");
    fs::write(&own, "issuer = \"ours\"\n").expect("it is written");
    // As Debian has directories below /usr/local; and a file of an earlier, closed umask.
    let script = "chmod 2775 usr/local/share/man usr/local/sbin; \
                  chmod 600 usr/local/share/zsh/site-functions/_onetimectl";
    finish(Command::new("sh").current_dir(dest.path()).args(["-euc", script]), b"").ok();
    make("077", "install", &built, &variables).ok();
    assert_eq!(fs::read_to_string(&own).expect("it is there"), "issuer = \"ours\"\n");
    let files = tree(dest.path());
    assert_eq!(files[Path::new("usr/local/share/man")], 0o042_775);
    assert_eq!(files[Path::new("usr/local/sbin")], 0o042_775);
    let zsh = "usr/local/share/zsh/site-functions/_onetimectl";
    assert_eq!(files[Path::new(zsh)], 0o100_644);
}

#[test]
fn on_a_machine_itself_files_for_other_programs_are_put_there_only_where_these_are() {
    let built = built();
    // One that makes no store on this machine, and says what it was told.
    let tool = "#!/bin/sh\necho \"$@\" >>\"$0.told\"\n";
    fs::write(built.path().join("release/onetimectl"), tool).expect("it is written");
    let dest = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let below = |place: &str| format!("{}/{place}", dest.path().display());
    let variables: Vec<_> = [("PREFIX", "usr"), ("PAMDIR", "security"), ("SYSCONFDIR", "etc")]
        .map(|(name, place)| format!("{name}={}", below(place)))
        .into();
    let jail = dest.path().join("etc/fail2ban/jail.d/pam-onetime.conf");
    let of_others = || {
        let all = tree(&dest.path().join("etc")).into_iter();
        let files = all.filter(|(_, mode)| mode & 0o170_000 == 0o100_000);
        let files = files.map(|(file, _)| file.display().to_string());
        let ours = ["fish/", "onetime/", "pam.d/"];
        files.filter(|file| !ours.iter().any(|it| file.starts_with(it))).collect::<Vec<_>>()
    };
    make("022", "install", &built, &variables).ok();
    assert_eq!(of_others(), [""; 0]);
    fs::create_dir(dest.path().join("etc/fail2ban")).expect("a directory");
    make("022", "install", &built, &variables).ok();
    let of_fail2ban = ["fail2ban/filter.d/pam-onetime.conf", "fail2ban/jail.d/pam-onetime.conf"];
    assert_eq!(of_others(), of_fail2ban);
    // A jail that was switched on stays on.
    fs::write(&jail, "[pam-onetime]\nenabled = true\n").expect("it is written");
    let chosen = [&variables[..], &["INTEGRATIONS=fail2ban apparmor".to_owned()]].concat();
    make("022", "install", &built, &chosen).ok();
    assert_eq!(of_others(), [&["apparmor.d/abstractions/onetime"][..], &of_fail2ban].concat());
    assert!(fs::read_to_string(&jail).expect("it is there").ends_with("enabled = true\n"));
    // An upgrade makes no store: that of the machine may not be mounted.
    let told = fs::read_to_string(dest.path().join("usr/sbin/onetimectl.told"));
    assert_eq!(told.expect("it was run"), "init\ninit --existing\ninit --existing\n");
}

// --- uninstall ---

#[test]
fn nothing_is_uninstalled_while_a_service_lists_the_module_by_whatever_way() {
    const OURS: &str = "auth required pam_onetime.so\n";
    let built = built();
    for (files, named) in [
        (
            &[(
                "etc/pam.d/sshd",
                "# us\n\nauth required pam_onetime.so\naccount required pam_onetime.so\n",
            )][..],
            "etc/pam.d/sshd:3: ",
        ),
        (&[("etc/pam.d/sshd", "auth \\\n required \\\n pam_onetime.so\n")], "etc/pam.d/sshd:3: "),
        (&[("etc/pam.d/su", "-account [default=bad] /lib/pam_onetime.so x\n")], "etc/pam.d/su:1: "),
        (&[("usr/lib/pam.d/polkit-1", OURS)], "usr/lib/pam.d/polkit-1:1: "),
        (&[("usr/etc/pam.d/login", OURS)], "usr/etc/pam.d/login:1: "),
        (&[("etc/pam.conf", "sshd auth required pam_onetime.so\n")], "etc/pam.conf:1: "),
        (&[("etc/pam.d/su", "@include /opt/ours # why\n"), ("opt/ours", OURS)], "opt/ours:1: "),
        (
            &[
                ("etc/pam.d/su", "auth substack a.old\n"),
                ("etc/pam.d/a.old", "auth include /opt/b\n"),
                ("opt/b", OURS),
            ],
            "opt/b:1: ",
        ),
        (
            &[("usr/share/pam-configs/onetime", "Auth:\n\trequired pam_onetime.so\n")],
            "usr/share/pam-configs/onetime:2: ",
        ),
    ] {
        let dest = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        make("022", "install", &built, &staging(dest.path())).ok();
        put(dest.path(), files);
        let before = tree(dest.path());
        let run = make("022", "uninstall", &built, &staging(dest.path()));
        assert_ends(&run, 2, "pam_onetime.so is in use here");
        assert!(run.stderr.contains(&format!("{}/{named}", dest.path().display())), "{run:?}");
        assert!(run.stderr.contains("\n  -> take these lines out first"), "{run:?}");
        let listed = format!("{}/", dest.path().display());
        let mut listed = run.stderr.lines().filter(|line| line.trim_start().starts_with(&listed));
        assert!(listed.all(|line| line.starts_with("    ")), "each as far in: {}", run.stderr);
        assert_eq!(tree(dest.path()), before, "{named}");
    }
}

#[test]
fn what_is_no_service_does_not_keep_from_uninstalling_and_configuration_stays() {
    let built = built();
    let dest = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let variables = staging(dest.path());
    make("022", "install", &built, &variables).ok();
    put(
        dest.path(),
        &[
            ("etc/pam.d/sshd", "#auth required pam_onetime.so\n@include sshd\n@include nowhere\n"),
            ("etc/pam.d/sshd.before", "auth required pam_onetime.so\n"),
            ("etc/pam.d/su~", "auth required pam_onetime.so\n"),
            ("etc/pam.d/su.dpkg-old", "auth required pam_onetime.so\n"),
        ],
    );
    make("022", "uninstall", &built, &variables).ok();
    let left: Vec<_> = tree(dest.path())
        .into_iter()
        .filter(|(_, mode)| mode & 0o170_000 == 0o100_000)
        .map(|(file, _)| file.display().to_string())
        .collect();
    let ours = [
        "etc/apparmor.d/abstractions/onetime",
        "etc/fail2ban/filter.d/pam-onetime.conf",
        "etc/fail2ban/jail.d/pam-onetime.conf",
        "etc/logcheck/ignore.d.server/pam-onetime",
        "etc/onetime/onetime.toml",
        "etc/pam.d/onetime-password",
        "etc/pam.d/sshd",
    ];
    let theirs = ["etc/pam.d/sshd.before", "etc/pam.d/su.dpkg-old", "etc/pam.d/su~"];
    assert_eq!(left, [&ours[..], &theirs].concat());
}

fn put(root: &Path, files: &[(&str, &str)]) {
    for (file, text) in files {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("it has one")).expect("a directory");
        fs::write(file, text).expect("it is written");
    }
}

// --- completions ---

/// A world in which completions are where `make install` has put them.
fn completing() -> World {
    let world = installed();
    let (built, dest) = (built(), world.path("/tmp/dest"));
    make("077", "install", &built, &staging(&dest)).ok();
    let script = "mount --bind /tmp/dest/usr/local/share /usr/local/share; \
                  mkdir -p /etc/fish; cp -a /tmp/dest/etc/fish/. /etc/fish/; \
                  cp /tmp/dest/usr/local/sbin/onetimed /tmp/dest/usr/local/bin/onetime /usr/local/sbin/";
    world.run("sh", &["-euc", script]).ok();
    world
}

/// What is typed, and by which word each shell completes it: users (root, daemon, nobody,
/// sshd, alice, bob and carol) or groups of the world, or what clap knows.
const COMPLETED: [(&str, &str); 17] = [
    ("onetimectl enable al", "alice"),
    ("onetimectl enable alice bo", "bob"),
    ("onetimectl --json disable --yes ca", "carol"),
    ("onetimectl enable --group su", "sudo"),
    ("onetimectl status --group shad", "shadow"),
    ("onetimectl verify al", "alice"),
    ("onetimectl token add --stdin al", "alice"),
    ("onetimectl token remove bo", "bob"),
    ("onetimectl import --user ca", "carol"),
    ("onetimectl export al", "alice"),
    ("onetimectl enable --new-s", "--new-secret"),
    ("onetimectl han", "handout"),
    ("onetime sta", "status"),
    ("onetime status --js", "--json"),
    ("onetime ren", "renew"),
    ("onetimed --vers", "--version"),
    ("onetimed --completions fi", "fish"),
];

#[test]
fn fish_completes_verbs_options_users_and_groups_from_where_debians_looks() {
    let world = completing();
    for (typed, word) in COMPLETED {
        let candidates = world.run("fish", &["-c", &format!("complete -C '{typed}'")]).ok();
        let words: Vec<_> = candidates.lines().filter_map(|it| it.split('\t').next()).collect();
        assert_eq!(words, [word], "{typed}");
    }
    // Neither files nor groups where users are wanted.
    let users = world.run("fish", &["-c", "complete -C 'onetimectl enable '"]).ok();
    assert!(users.contains("bob") && !users.contains("sudo") && !users.contains("etc"), "{users}");
}

/// Types each of the lines in an interactive shell, with a TAB, and sees what is there then.
#[track_caller]
fn assert_completes(world: &World, shell: &str, arguments: &[&str], setup: &str) {
    let mut pty = world.pty(shell, arguments);
    pty.send_line(&format!("PS1='rea''dy> '; {setup}; echo set''-up"));
    pty.expect("set-up");
    for (typed, word) in COMPLETED {
        pty.expect("ready> ");
        pty.send(format!("{typed}\t").as_bytes());
        let cut = typed.rsplit(' ').next().unwrap_or_default();
        let whole = format!("{}{word} ", typed.strip_suffix(cut).unwrap_or_default());
        pty.expect(whole.as_str());
        // Away with the line.
        pty.send(b"\x15\n");
    }
}

#[test]
fn bash_completes_verbs_options_users_and_groups() {
    let setup =
        "bind 'set enable-bracketed-paste off'; . /usr/share/bash-completion/bash_completion";
    assert_completes(&completing(), "bash", &["--norc", "-i"], setup);
}

#[test]
fn zsh_completes_verbs_options_users_and_groups() {
    let setup =
        "unset zle_bracketed_paste; unsetopt prompt_sp; autoload -U compinit; compinit -u -D";
    assert_completes(&completing(), "zsh", &["-f", "-i"], setup);
}
