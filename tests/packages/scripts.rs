//! What the package's scripts do where something is in the way: a store that is not mounted,
//! a login that has begun, states that dpkg leaves half done, other architectures and roots.
//! Whatever it is, who needs a code is asked for it, or refused.

use crate::common::{Finished, current_code, finish};
use crate::debian::Debian;
use crate::doors::{self, Ssh, su_asks};
use crate::repacked::{Repacked, package};
use crate::{AUTH, apt, assert_finds, has_module, install};

/// By dpkg, from a file here.
#[track_caller]
fn dpkg(debian: &Debian, file: &std::path::Path, options: &[&str]) -> Finished {
    debian.copy(file, "/root/other.deb", 0o644);
    let mut dpkg = debian.command("dpkg");
    dpkg.args(["--force-unsafe-io"]).args(options).args(["--install", "/root/other.deb"]);
    finish(&mut dpkg, b"")
}

#[track_caller]
fn assert_status(debian: &Debian, expected: &str) {
    let query = ["-W", "-f", "${Status} ${Architecture}", "libpam-onetime"];
    let status = debian.run("dpkg-query", &query).ok();
    assert!(status.ends_with(&format!(" {expected} amd64")), "{status}");
}

/// The profile is in force, and alice is active.
#[track_caller]
pub(crate) fn whatever_is_in_the_way(debian: &Debian) {
    an_upgrade_makes_no_store_while_it_is_not_mounted(debian);
    a_login_that_has_begun_ends_after_the_upgrade(debian);
    what_dpkg_leaves_half_done_asks(debian);
    another_architecture_or_root_is_refused(debian);
}

fn an_upgrade_makes_no_store_while_it_is_not_mounted(debian: &Debian) {
    let store = debian.path("/var/lib/onetime");
    let elsewhere = debian.path("/var/lib/elsewhere");
    std::fs::rename(&store, &elsewhere).expect("it is moved");
    std::fs::create_dir(&store).expect("an empty directory");
    debian.run("chmod", &["700", "/var/lib/onetime"]).ok();
    let run = install(debian);
    assert!(run.success(), "{}", run.text());
    assert!(run.stderr.contains("no store in /var/lib/onetime"), "{run:?}");
    assert!(run.stderr.contains("\n  -> mount its file system"), "{run:?}");
    assert!(run.stderr.contains("is refused."), "{run:?}");
    let left: Vec<_> = std::fs::read_dir(&store).expect("a directory").collect();
    assert!(left.is_empty(), "{left:?}");
    let mut su = debian.pty_as("bob", "su", &["-l", "alice"]);
    su.expect(doors::password_prompt());
    su.send_line(crate::common::ALICE_PASSWORD);
    su.expect("Authentication service cannot retrieve authentication info");
    assert_finds(debian, "store-missing", "/var/lib/onetime");
    std::fs::remove_dir(&store).expect("it is empty");
    std::fs::rename(&elsewhere, &store).expect("it is moved back");
    let run = install(debian);
    assert!(run.success() && !run.text().contains("libpam-onetime: "), "{}", run.text());
    su_asks(debian);
}

/// libpam has the old module loaded, and the new one is another file.
fn a_login_that_has_begun_ends_after_the_upgrade(debian: &Debian) {
    let ssh = Ssh::start(debian);
    let mut wrong = ssh.client_at_the_code();
    let mut right = ssh.client_at_the_code();
    assert!(install(debian).success());
    wrong.send_line("000000x");
    doors::assert_refused(&mut wrong);
    right.send_line(&current_code(&doors::secret(debian), 1));
    right.expect("Welcome, alice.");
}

fn what_dpkg_leaves_half_done_asks(debian: &Debian) {
    // A new version that gives up: the old scripts are called to go on.
    let failing = Repacked::ours();
    failing.set("Version", "9-1");
    failing.write("DEBIAN/preinst", "#!/bin/sh\nexit 1\n");
    let run = dpkg(debian, &failing.build(), &[]);
    assert!(!run.success(), "{}", run.text());
    assert_status(debian, "ok installed");
    su_asks(debian);

    // One that is unpacked, and whose configuration fails.
    let failing = Repacked::ours();
    failing.set("Version", "9-1");
    failing.write("DEBIAN/postinst", "#!/bin/sh\nexit 1\n");
    let run = dpkg(debian, &failing.build(), &[]);
    assert!(!run.success(), "{}", run.text());
    assert_status(debian, "ok half-configured");
    su_asks(debian);
    // It can be removed from there, but not while a service lists it by hand.
    let sshd = debian.read("/etc/pam.d/sshd");
    debian.write("/etc/pam.d/sshd", &format!("auth required pam_onetime.so\n{sshd}"));
    for options in [&["--remove"][..], &["--force-all", "--remove"], &["--force-all", "--purge"]] {
        let run = debian.run("dpkg", &[options, &["libpam-onetime"]].concat());
        assert!(!run.success(), "{}", run.text());
        assert!(run.stderr.contains("not removed. pam_onetime.so is in use here"), "{run:?}");
        assert!(has_module(debian) && debian.read(AUTH).contains("pam_onetime.so"));
    }
    debian.write("/etc/pam.d/sshd", &sshd);
    let run = dpkg(debian, &package(), &["--force-downgrade"]);
    assert!(run.success(), "{}", run.text());
    assert_status(debian, "ok installed");
    su_asks(debian);

    // Another package breaks this version: it is not configured any more, and stays.
    let other = Repacked::empty("Breaks: libpam-onetime");
    let run = dpkg(debian, &other.build(), &["--auto-deconfigure"]);
    assert!(run.text().contains("De-configuring libpam-onetime"), "{run:?}");
    assert_status(debian, "ok half-configured");
    su_asks(debian);
    debian.run("dpkg", &["--purge", "other"]).ok();
    debian.run("dpkg", &["--configure", "--pending"]).ok();
    assert_status(debian, "ok installed");
    su_asks(debian);
    // One that takes its place would remove it.
    debian.write("/etc/pam.d/sshd", &format!("auth required pam_onetime.so\n{sshd}"));
    let other = Repacked::empty("Conflicts: libpam-onetime");
    debian.copy(&other.build(), "/root/other.deb", 0o644);
    let run = apt(debian, &["install", "/root/other.deb"]);
    assert!(!run.success() && run.text().contains("not removed. pam_onetime.so is in"), "{run:?}");
    assert_status(debian, "ok installed");
    su_asks(debian);
    debian.write("/etc/pam.d/sshd", &sshd);
}

fn another_architecture_or_root_is_refused(debian: &Debian) {
    let foreign = Repacked::ours();
    foreign.set("Architecture", "i386");
    foreign.set("Version", "9-1");
    debian.run("dpkg", &["--add-architecture", "i386"]).ok();
    let run = dpkg(debian, &foreign.build(), &["--force-depends"]);
    assert!(!run.success(), "{}", run.text());
    assert!(run.stderr.contains("It is for i386, and the programs"), "{run:?}");
    assert_status(debian, "ok installed");
    su_asks(debian);
    debian.run("dpkg", &["--remove-architecture", "i386"]).ok();

    let root = "mkdir -p /root/other/var/lib/dpkg/info /root/other/var/lib/dpkg/updates; \
                touch /root/other/var/lib/dpkg/status /root/other/var/lib/dpkg/available";
    debian.run("sh", &["-euc", root]).ok();
    let options = ["--root=/root/other", "--force-script-chrootless", "--force-depends"];
    let run = debian.run("dpkg", &[&options[..], &["--install", "/root/package.deb"]].concat());
    assert!(!run.success(), "{}", run.text());
    assert!(run.stderr.contains("install it without --force-script-chrootless"), "{run:?}");
    // Nor does a system below change this one when it loses the package.
    let copy = "cp -a /var/lib/dpkg/status /root/other/var/lib/dpkg/; \
                cp -a /var/lib/dpkg/info/libpam-onetime.* /root/other/var/lib/dpkg/info/";
    debian.run("sh", &["-euc", copy]).ok();
    let run = debian.run("dpkg", &[&options[..], &["--remove", "libpam-onetime"]].concat());
    assert!(!run.success(), "{}", run.text());
    assert!(run.stderr.contains("Remove it without --force-script-chrootless"), "{run:?}");
    debian.run("rm", &["-r", "/root/other"]).ok();
    su_asks(debian);
}
