//! A real sshd in a world, and the real ssh client to log in to it. It listens on
//! the loopback address of the host, since a world has files of its own but no
//! network of its own.

use std::net::TcpListener;

use regex::Regex;

use super::pty::Pty;
use super::world::World;

pub struct Sshd<'w> {
    world: &'w World,
    /// sshd in the foreground; its terminal is its log.
    daemon: Pty,
    pub port: u16,
}

impl<'w> Sshd<'w> {
    /// Starts sshd with PAM service `sshd`; a line of `extra_config` goes before ours
    /// and so wins over it.
    #[track_caller]
    pub fn start(world: &'w World, extra_config: &str) -> Self {
        let host_key = "/etc/ssh/test_host_key";
        if !world.exists(host_key) {
            world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", host_key]).ok();
        }
        let verdict =
            Regex::new("Server listening on|Address already in use").expect("a valid pattern");
        // The port is free when we look; if another test takes it meanwhile, sshd
        // says so and we look again.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .unwrap_or_else(|e| panic!("no free port on 127.0.0.1: {e}"))
                .port();
            let config = format!(
                "{extra_config}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\n\
                 PidFile none\nUsePAM yes\nKbdInteractiveAuthentication yes\n\
                 PasswordAuthentication no\nLogLevel VERBOSE\n"
            );
            let file = format!("/etc/ssh/sshd_config_{port}");
            world.write(&file, config.as_bytes(), 0o600);
            // sshd starts itself again for each connection: it must know its own path.
            let mut daemon = world.pty("/usr/sbin/sshd", &["-D", "-e", "-f", &file]);
            if daemon.expect(verdict.clone()).ends_with("Server listening on") {
                return Self { world, daemon, port };
            }
        }
        panic!("every free port was taken by somebody else, ten times over");
    }

    /// `ssh user@127.0.0.1 extra_args...`, run by the world's root on a terminal.
    /// Further options may be in `extra_args`, and after them the remote command.
    #[track_caller]
    pub fn ssh(&self, user: &str, extra_args: &[&str]) -> Pty {
        let port = self.port.to_string();
        let destination = format!("{user}@127.0.0.1");
        self.world.pty("ssh", &[&["-p", &port, &destination], extra_args].concat())
    }

    /// What sshd has logged so far.
    pub fn log(&self) -> String {
        self.daemon.text()
    }

    /// Waits until sshd has logged this.
    #[track_caller]
    pub fn expect_log(&mut self, what: &str) {
        self.daemon.expect(what);
    }

    /// Makes a key pair that logs in as `user`; returns the private key's path in the
    /// world, for `ssh -i`.
    #[track_caller]
    pub fn make_key(&self, user: &str) -> String {
        let key = format!("/root/key-of-{user}");
        self.world.run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]).ok();
        let directory = format!("/home/{user}/.ssh");
        let public = self.world.read(&format!("{key}.pub"));
        self.world.write(&format!("{directory}/authorized_keys"), &public, 0o600);
        self.world.run("chown", &["-R", user, &directory]).ok();
        key
    }
}
