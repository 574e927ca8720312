//! Packages of other distributions than Debian, as far as their tools are in Debian: built
//! by rpmbuild and makepkg of what is built here, installed by rpm and pacman in a world
//! whose /usr is its own, upgraded with their state, and not removed while a stack needs
//! them.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{
    ALICE_PASSWORD, Finished, World, assert_ends, current_code, fetch_packages, finish,
    finish_within, module_path, modules_directory, need, secret, tool_path,
};

/// Compressing takes most of it.
const BUILDING: Duration = Duration::from_secs(200);

/// What is in the source of a release, besides what only a compiler reads.
const SOURCE: [&str; 9] = [
    "Makefile",
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "conf",
    "packaging",
];

/// A world in which packages can be built by alice and installed, and the source is.
fn world() -> World {
    let world = World::without_module();
    let own = "mkdir /run/upper /run/work /run/modules /run/sbin\n\
               mount -t tmpfs -o mode=1777 tmpfs /var/tmp\n\
               mount --rbind \"$1\" /run/modules\n\
               mount --rbind /usr/local/sbin /run/sbin\n\
               mount -t overlay -o lowerdir=/usr,upperdir=/run/upper,workdir=/run/work overlay /usr\n\
               mount --rbind /run/modules \"$1\"\n\
               mount --rbind /run/sbin /usr/local/sbin\n\
               mkdir -p /home/alice/source/docs /home/alice/built/module /home/alice/built/release";
    let modules = modules_directory().canonicalize().expect("libpam's modules");
    world.run("sh", &["-euc", own, "sh", &modules.display().to_string()]).ok();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = |from: &Path, to: &str| {
        finish(Command::new("cp").arg("-r").arg(from).arg(world.path(to)), b"").ok();
    };
    for name in SOURCE {
        copy(&root.join(name), &format!("/home/alice/source/{name}"));
    }
    for page in [
        "onetime.1",
        "onetime.toml.5",
        "onetimectl.8",
        "onetimed.8",
        "pam_onetime.8",
        "FILEFORMAT.md",
    ] {
        copy(&root.join("docs").join(page), &format!("/home/alice/source/docs/{page}"));
    }
    copy(module_path(), "/home/alice/built/module/libpam_onetime.so");
    copy(tool_path(), "/home/alice/built/release/onetimectl");
    copy(Path::new(env!("CARGO_BIN_EXE_onetimed")), "/home/alice/built/release/onetimed");
    copy(Path::new(env!("CARGO_BIN_EXE_onetime")), "/home/alice/built/release/onetime");
    world.run("chown", &["-R", "alice:alice", "/home/alice"]).ok();
    world
}

/// Runs a script of alice's, in which `make` compiles nothing: it is built already. `$1` is
/// the version, `$2` a further word.
#[track_caller]
fn build(world: &World, script: &str, word: &str) {
    let source = "cd /home/alice\n\
                  tar -cJf pam-onetime-$1.tar.xz --transform \"s|^source|pam-onetime-$1|\" source\n";
    let mut command = world.command_as("alice", "sh");
    command.args(["-euc", &format!("{source}{script}"), "sh", env!("CARGO_PKG_VERSION"), word]);
    command.env("MAKEFLAGS", "CARGO=true TARGET=/home/alice/built");
    finish_within(&mut command, b"", BUILDING).ok();
}

/// The one file with this beginning in alice's home.
#[track_caller]
fn package(world: &World, name: &str, ending: &str) -> String {
    let names = world.list("/home/alice");
    let is_it = |it: &&String| it.starts_with(&format!("{name}-")) && it.contains(ending);
    let found: Vec<_> = names.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{name} among {names:?}");
    format!("/home/alice/{}", found[0])
}

/// Each file of onetimed and of the user's tool is in the package, whatever packs its pages.
#[track_caller]
fn assert_has_the_daemon(files: &str, sbin: &str) {
    let completions = ["onetimed", "onetime"].map(|program| {
        [
            format!("/usr/share/bash-completion/completions/{program}"),
            format!("/usr/share/zsh/site-functions/_{program}"),
            format!("/usr/share/fish/vendor_completions.d/{program}.fish"),
        ]
    });
    let rest = [
        &format!("{sbin}/onetimed"),
        "/usr/bin/onetime",
        "/usr/share/man/man1/onetime.1",
        "/usr/share/man/man8/onetimed.8",
        "/usr/lib/systemd/system/onetimed.socket",
        "/usr/lib/systemd/system/onetimed.service",
    ];
    let rest = rest.map(str::to_owned);
    for file in completions.iter().flatten().chain(&rest) {
        let is_it = |line: &str| line.strip_suffix(".gz").unwrap_or(line) == file;
        assert!(files.lines().any(is_it), "no {file}: {files}");
    }
}

#[track_caller]
fn run(world: &World, words: &[&str]) -> Finished {
    let mut command = world.command(words[0]);
    finish_within(command.args(&words[1..]), b"", BUILDING)
}

/// What holds of each package, with the tool's own commands: a store is made, a login by
/// its module asks for a code, an upgrade keeps configuration and accounts, and it stays
/// while a stack lists the module.
fn lives(world: &World, tool: &str, module: &str, install: &[&str], remove: &[&str]) {
    run(world, install).ok();
    assert!(world.exists("/var/lib/onetime/store.toml"), "the script has made no store");
    run(world, &[tool, "enable", "alice"]).ok();
    let secret = secret(world, "alice");
    run(world, &[tool, "verify", "alice", &current_code(&secret, -1)]).ok();

    let config = "/etc/onetime/onetime.toml";
    let ours = format!("issuer = \"ours\"\n{}", world.read_text(config));
    world.write(config, ours.as_bytes(), 0o644);
    run(world, install).ok();
    assert_eq!(world.read_text(config), ours);

    world.pam_service("sshd", &format!("auth required {module}\naccount required {module}\n"));
    let login = world.pamtester("sshd", "alice", &[ALICE_PASSWORD, &current_code(&secret, 0)]);
    assert!(login.success, "{login:?}");
    let refused = run(world, remove);
    assert!(!refused.success(), "{}", refused.text());
    assert!(refused.text().contains("/etc/pam.d/sshd:1: auth required"), "{}", refused.text());
    assert!(world.exists(tool) && world.exists(config), "some of it is gone");
    let login = world.pamtester("sshd", "alice", &[ALICE_PASSWORD, &current_code(&secret, 1)]);
    assert!(login.success, "{login:?}");

    world.remove("/etc/pam.d/sshd");
    run(world, remove).ok();
    assert!(!world.exists(tool), "{tool} is there still");
    assert!(world.exists("/var/lib/onetime/users/alice.toml"), "the secrets stay");
}

#[test]
fn an_rpm_package_keeps_its_state_and_stays_while_a_stack_needs_it() {
    need("rpmbuild", "rpm");
    need("rpmlint", "rpmlint");
    let world = world();
    let modules = modules_directory().canonicalize().expect("libpam's modules");
    let libdir = modules.parent().expect("its parent").display().to_string();
    let script = "mkdir -p rpm/SOURCES; mv pam-onetime-$1.tar.xz rpm/SOURCES/\n\
                  rpmbuild -bb --nodeps --without selinux --define \"_topdir $PWD/rpm\" --define \"_libdir $2\" \
                  source/packaging/rpm/pam-onetime.spec\n\
                  mv rpm/RPMS/*/*.rpm .";
    build(&world, script, &libdir);
    let [package, daemon] = ["pam-onetime", "onetimed"].map(|it| package(&world, it, ".rpm"));
    let of_rpm = "/home/alice/source/packaging/rpm";
    let [config, spec] = ["rpmlint.toml", "pam-onetime.spec"].map(|it| format!("{of_rpm}/{it}"));
    let linted = run(&world, &["rpmlint", "--config", &config, &spec, &package, &daemon]);
    assert_ends(&linted, 0, " 0 errors, 0 warnings");
    let listed = run(&world, &["rpm", "-qp", "--configfiles", &package]).ok();
    let ours = "/etc/fail2ban/filter.d/pam-onetime.conf\n/etc/fail2ban/jail.d/pam-onetime.conf\n\
                /etc/onetime/onetime.toml\n/etc/pam.d/onetime-password\n";
    assert_eq!(listed, ours);
    let files = run(&world, &["rpm", "-qlp", &package]).ok();
    for file in [
        &format!("{libdir}/security/pam_onetime.so"),
        "/usr/libexec/pam-onetime/authselect-profile",
        "/usr/share/man/man8/onetimectl.8",
        "/usr/share/bash-completion/completions/onetimectl",
    ] {
        assert!(files.lines().any(|line| line.starts_with(file)), "no {file}: {files}");
    }
    assert!(!files.contains("onetimed"), "the daemon is a package of its own: {files}");
    assert_has_the_daemon(&run(&world, &["rpm", "-qlp", &daemon]).ok(), "/usr/sbin");
    let needs = run(&world, &["rpm", "-qp", "--requires", &daemon]).ok();
    let ours = format!(" = {}-1", env!("CARGO_PKG_VERSION"));
    let is_ours = |line: &str| line.starts_with("pam-onetime(") && line.ends_with(&ours);
    assert!(needs.lines().any(is_ours), "{needs}");
    let install = ["rpm", "-U", "--force", "--nodeps", &package, &daemon];
    lives(
        &world,
        "/usr/sbin/onetimectl",
        "pam_onetime.so",
        &install,
        &["rpm", "-e", "--nodeps", "pam-onetime"],
    );
    run(&world, &["rpm", "-e", "onetimed"]).ok();
    assert!(!world.exists("/usr/sbin/onetimed"), "the daemon is there still");
    let saved = world.read_text("/etc/onetime/onetime.toml.rpmsave");
    assert!(saved.starts_with("issuer = \"ours\"\n"), "{saved}");
}

#[test]
fn an_arch_package_keeps_its_state_and_stays_while_a_stack_needs_it() {
    need("makepkg", "makepkg");
    need("pacman", "pacman-package-manager");
    need("bsdtar", "libarchive-tools");
    need("fakeroot", "fakeroot");
    let world = world();
    let host = std::fs::read("/etc/makepkg.conf").expect("of the package makepkg");
    world.write("/etc/makepkg.conf", &host, 0o644);
    let pacman = "[options]\nArchitecture = auto\nSigLevel = Never\nCacheDir = /var/tmp/\n\
                  HookDir = /usr/share/libalpm/hooks\n";
    world.write("/etc/pacman.conf", pacman.as_bytes(), 0o644);
    world.run("mkdir", &["-p", "/var/lib/pacman"]).ok();
    let script = "cp source/packaging/arch/* .; makepkg --nodeps";
    build(&world, script, "");
    let package = package(&world, "pam-onetime", ".pkg.tar");
    assert_has_the_daemon(&run(&world, &["pacman", "-Qlpq", &package]).ok(), "/usr/bin");
    let install = ["pacman", "-U", "--noconfirm", "-dd", &package];
    let remove = ["pacman", "-R", "--noconfirm", "-dd", "pam-onetime"];
    lives(&world, "/usr/bin/onetimectl", "/usr/lib/security/pam_onetime.so", &install, &remove);
    let saved = world.read_text("/etc/onetime/onetime.toml.pacsave");
    assert!(saved.starts_with("issuer = \"ours\"\n"), "{saved}");
}

#[test]
fn what_is_for_distributions_that_cannot_be_had_is_read_by_the_programs_that_read_it() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let files = |dir: &str| -> Vec<_> {
        let entries = packaging.join(dir).read_dir().expect("a directory");
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let alpine = files("alpine");
    assert_eq!(alpine.len(), 4, "APKBUILD and three scripts");
    for file in alpine {
        assert_ends(&finish(Command::new("sh").arg("-n").arg(file), b""), 0, "");
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let root = fetch_packages(&target.join("nix"), "nix-bin");
    let store = tempfile::tempdir().expect("a directory");
    let nix = files("nix");
    assert_eq!(nix.len(), 2, "the package, and the module of NixOS");
    for file in nix {
        let mut parse = Command::new(root.join("usr/bin/nix-instantiate"));
        let libraries = ["usr/lib/nix", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"];
        let libraries = libraries.map(|dir| root.join(dir).display().to_string()).join(":");
        parse.env("LD_LIBRARY_PATH", libraries).arg("--parse").arg(file);
        for of in ["NIX_STORE_DIR", "NIX_STATE_DIR", "NIX_LOG_DIR"] {
            parse.env(of, store.path().join(of));
        }
        assert!(finish(&mut parse, b"").ok().starts_with("({ "));
    }
}
