//! Daemons that know passwords, in a world: a real sssd and a real MIT KDC. Their packages,
//! and those of programs that are run outside of worlds (fail2ban, apparmor_parser),
//! are unpacked, not installed (packaging/fetch-foreign), and laid over the world's /usr.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::process::{PATIENCE, finish, finish_within, until, wait_within};
use super::world::{World, modules_directory};

/// Where a world has the packages.
const FOREIGN: &str = "/var/lib/foreign";

/// Lays the packages over the world's /usr; libpam finds their modules.
#[track_caller]
pub fn with_foreign(world: &World) {
    let packages = foreign_root();
    let copy = world.path(FOREIGN);
    finish(Command::new("cp").arg("-a").arg(&packages).arg(&copy), b"").ok();
    let modules = modules_directory();
    for name in ["pam_sss.so", "pam_krb5.so"] {
        // The host may have it installed.
        let module = packages.join("usr").join(modules.strip_prefix("/usr").unwrap_or(&modules));
        if module.join(name).exists() {
            world.pam_module(name, &module.join(name));
        }
    }
    let lay = format!(
        "mkdir /run/modules /run/sbin\n\
         mount --rbind {modules} /run/modules\n\
         mount --rbind /usr/local/sbin /run/sbin\n\
         mount -t overlay -o lowerdir={FOREIGN}/usr:/usr overlay /usr\n\
         mount --rbind /run/modules {modules}\n\
         mount --rbind /run/sbin /usr/local/sbin",
        modules = modules.canonicalize().expect("libpam's modules").display()
    );
    world.run("sh", &["-euc", &lay]).ok();
}

/// Where the packages are unpacked, for what is run from there; downloaded by whoever comes
/// first.
#[track_caller]
pub fn foreign_root() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    fetch_packages(&target.join("foreign"), "")
}

/// Unpacks these packages of Debian, or those that `make prebuild` brings, with what they
/// depend on, and says where.
#[track_caller]
pub fn fetch_packages(place: &Path, packages: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/fetch-foreign");
    let mut fetch = Command::new("sh");
    fetch.arg(script).arg(place).args(packages.split_whitespace());
    finish_within(&mut fetch, b"", Duration::from_secs(300)).ok();
    place.join("root")
}

/// Installs programs of Python's, those of a file of requirements, below `target/NAME`, and
/// says where.
#[track_caller]
pub fn python_programs(name: &str, requirements: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    let place = target.join(name);
    let mut fetch = Command::new("sh");
    fetch.current_dir(env!("CARGO_MANIFEST_DIR")).arg("packaging/fetch-python");
    finish_within(fetch.arg(&place).arg(requirements), b"", Duration::from_secs(400)).ok();
    place.join("environment")
}

/// A program that runs until it is dropped.
struct Daemon(Child);

impl Daemon {
    /// It ends with whoever started it, however that ends.
    #[track_caller]
    fn start(world: &World, words: &[&str]) -> Self {
        let mut command = world.command("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap_or_else(|e| panic!("cannot start {words:?}: {e}")))
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("our own child can be waited for").is_some()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Whatever fails here, it also ends with our thread.
        let asked = kill_process(Pid::from_child(&self.0), Signal::TERM);
        if asked.is_err() || wait_within(&mut self.0, Duration::from_secs(5)).is_none() {
            drop(self.0.kill().and_then(|()| self.0.wait()));
        }
    }
}

/// sssd with one domain, `directory`, whose users are those of the world's /etc/passwd,
/// and whose passwords the PAM service `directory` knows.
pub struct Sssd {
    _daemon: Daemon,
}

impl Sssd {
    #[track_caller]
    pub fn start(world: &World) -> Self {
        Self::start_with(world, "", "")
    }

    /// With further lines for sssd itself, and for the domain.
    #[track_caller]
    pub fn start_with(world: &World, of_sssd: &str, of_domain: &str) -> Self {
        let directories = "umask 077\n\
            mkdir -p /etc/sssd/conf.d /var/lib/sss/db /var/lib/sss/pipes/private /var/lib/sss/mc\n\
            mkdir -p /var/lib/sss/pubconf/krb5.include.d /var/lib/sss/gpo_cache /var/log/sssd\n\
            chmod 755 /var/lib/sss /var/lib/sss/pipes /var/lib/sss/mc";
        world.run("sh", &["-euc", directories]).ok();
        let config = format!(
            "[sssd]\nservices = nss, pam\ndomains = directory\n{of_sssd}\
             [domain/directory]\nid_provider = proxy\nproxy_lib_name = files\n\
             auth_provider = proxy\nproxy_pam_target = directory\n{of_domain}"
        );
        world.write("/etc/sssd/sssd.conf", config.as_bytes(), 0o600);
        let daemon = Daemon::start(world, &["/usr/sbin/sssd", "-i"]);
        // It knows its users once the domain is there.
        until("sssd knows alice", || {
            world.run("getent", &["-s", "sss", "passwd", "alice"]).success()
        });
        Self { _daemon: daemon }
    }
}

/// A KDC of the realm EXAMPLE.ORG with the principal `alice`, and its kadmind, at which
/// passwords are changed.
pub struct Kdc<'w> {
    world: &'w World,
    _daemons: [Daemon; 2],
}

impl<'w> Kdc<'w> {
    #[track_caller]
    pub fn start(world: &'w World, password: &str) -> Self {
        // The ports are free when we look; if somebody else takes one meanwhile, the
        // daemon ends, and we look again.
        for _ in 0..10 {
            let ports = [(); 3].map(|()| {
                let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
                (listener.local_addr().expect("an address").port(), listener)
            });
            let [kdc, kadmind, kpasswd] = ports.map(|(port, _)| port);
            configure(world, kdc, kadmind, kpasswd);
            if !world.exists("/var/lib/krb5kdc/principal") {
                let create = "kdb5_util create -s -r EXAMPLE.ORG -P master-4711";
                world.run("sh", &["-euc", create]).ok();
                let add = format!("addprinc -pw {password} alice");
                world.run("kadmin.local", &["-q", &add]).ok();
            }
            let mut daemons = [
                Daemon::start(world, &["krb5kdc", "-n"]),
                Daemon::start(world, &["kadmind", "-nofork"]),
            ];
            let mut taken = false;
            until("the KDC listens", || {
                taken = daemons.iter_mut().any(Daemon::has_ended);
                let listens = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
                taken || (listens(kdc) && listens(kpasswd))
            });
            if !taken {
                return Self { world, _daemons: daemons };
            }
        }
        panic!("every free port was taken by somebody else, ten times over");
    }

    /// Has kadmin.local do something with the database.
    #[track_caller]
    pub fn kadmin(&self, query: &str) -> String {
        self.world.run("kadmin.local", &["-q", query]).ok()
    }
}

fn configure(world: &World, kdc: u16, kadmind: u16, kpasswd: u16) {
    // Over TCP alone: so whoever holds the port is whom we have started.
    let client = format!(
        "[libdefaults]\ndefault_realm = EXAMPLE.ORG\ndns_lookup_kdc = false\n\
         dns_lookup_realm = false\nrdns = false\nudp_preference_limit = 1\n\
         [realms]\nEXAMPLE.ORG = {{\n kdc = 127.0.0.1:{kdc}\n\
         admin_server = 127.0.0.1:{kadmind}\n kpasswd_server = 127.0.0.1:{kpasswd}\n}}\n"
    );
    world.write("/etc/krb5.conf", client.as_bytes(), 0o644);
    let server = format!(
        "[kdcdefaults]\nkdc_listen = 127.0.0.1:{kdc}\nkdc_tcp_listen = 127.0.0.1:{kdc}\n\
         [realms]\nEXAMPLE.ORG = {{\n database_name = /var/lib/krb5kdc/principal\n\
         key_stash_file = /etc/krb5kdc/stash\n acl_file = /etc/krb5kdc/kadm5.acl\n\
         kadmind_listen = 127.0.0.1:{kadmind}\n kpasswd_listen = 127.0.0.1:{kpasswd}\n}}\n"
    );
    world.write("/etc/krb5kdc/kdc.conf", server.as_bytes(), 0o600);
    world.write("/etc/krb5kdc/kadm5.acl", b"", 0o600);
    world.run("mkdir", &["-p", "/var/lib/krb5kdc"]).ok();
}
