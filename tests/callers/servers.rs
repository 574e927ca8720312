//! Servers that ask PAM for a user who sits at another machine: file transfer and mail, and
//! what all servers share. Most have one field for the password, and need `prompt=combined`.

use std::process::Command;

use crate::people::{End, Met, PASSWORD, Person};
use crate::program::{Program, Stack};
use crate::stage::{Stage, finish};
use crate::table::Kind;

pub(crate) fn programs() -> Vec<Program> {
    vec![
        VSFTPD,
        PROFTPD,
        PROFTPD_WITHOUT_A_CODE,
        PROFTPD_AS_SHIPPED,
        DOVECOT,
        DOVECOT_WITH_A_CACHE,
        SASLAUTHD,
        SASLAUTHD_FOR_EXIM,
        EXIM,
        PYTHON_PAM,
        PAMELA,
    ]
}

/// For programs with one field.
pub(crate) const COMBINED: &str = "\
auth     required pam_onetime.so prompt=combined
account  required pam_onetime.so
account  required pam_unix.so
session  required pam_unix.so
password required pam_deny.so
";

/// For those that ask again and again with the same password.
pub(crate) const REMEMBERED: &str = "\
auth     required pam_onetime.so prompt=combined remember=1h
account  required pam_onetime.so
account  required pam_unix.so
session  required pam_unix.so
password required pam_deny.so
";

/// For programs that ask each question.
pub(crate) const EACH: &str = "\
auth     required pam_onetime.so
account  required pam_onetime.so
account  required pam_unix.so
session  required pam_unix.so
password required pam_deny.so
";

/// A server of Debian 12, with one field for the password.
pub(crate) const SERVER: Program =
    Program { kind: Kind::Server, stack: Stack::Text(COMBINED), ..Program::PLAIN };

/// What they share in a layer of their own.
pub(crate) const SMALL: &[&str] =
    &["vsftpd", "curl", "dovecot-imapd", "sasl2-bin", "openvpn", "openssl"];

/// Starts a daemon that stays in the foreground and listens at this port.
#[track_caller]
pub(crate) fn serve(stage: &Stage, program: &str, arguments: &[&str], port: u16) {
    let mut command = stage.command(program);
    command.args(arguments);
    stage.daemon(program.rsplit('/').next().unwrap_or(program), command);
    stage.wait_for_port(port);
}

/// Whoever gets a success from this client is let in.
pub(crate) fn by(client: &mut Command) -> Met {
    let run = finish(client, b"");
    Met::new(End::let_in(run.success()), run.stdout + &run.stderr)
}

/// Asks for something at this address, with name and one answer.
pub(crate) fn curl(stage: &Stage, person: &Person, address: &str) -> Met {
    curl_with(stage, person, &person.one_answer(), address)
}

fn curl_with(stage: &Stage, person: &Person, answer: &str, address: &str) -> Met {
    let user = format!("{}:{answer}", person.name);
    by(stage.command("curl").args(["-sSf", "--max-time", "100", "--user", &user, address]))
}

const VSFTPD: Program = Program {
    name: "vsftpd",
    run: "vsftpd",
    packages: SMALL,
    package: "vsftpd",
    services: &["vsftpd"],
    prepare: |stage| {
        stage.write(
            "/etc/vsftpd.conf",
            "listen=YES\nlisten_ipv6=NO\nlocal_enable=YES\nanonymous_enable=NO\n\
             pam_service_name=vsftpd\nsecure_chroot_dir=/run/vsftpd/empty\n",
        );
        stage.shell("mkdir -p /run/vsftpd/empty");
        serve(stage, "vsftpd", &["/etc/vsftpd.conf"], 21);
    },
    login: |stage, person| curl(stage, person, "ftp://127.0.0.1/"),
    cheap: true,
    ..SERVER
};

const PROFTPD: Program = Program {
    name: "ProFTPD",
    run: "proftpd, AuthOrder mod_auth_pam.c* mod_auth_unix.c",
    packages: &["proftpd-core", "curl"],
    package: "proftpd-core",
    services: &["proftpd"],
    prepare: |stage| {
        stage.shell("echo 'AuthOrder mod_auth_pam.c* mod_auth_unix.c' >>/etc/proftpd/proftpd.conf");
        serve_proftpd(stage);
    },
    login: |stage, person| curl(stage, person, "ftp://127.0.0.1/"),
    ..SERVER
};

/// With that, PAM's refusal of who is active is the last word.
const PROFTPD_WITHOUT_A_CODE: Program = Program {
    run: "proftpd, AuthOrder mod_auth_pam.c* mod_auth_unix.c, with the password alone",
    login: |stage, person| {
        let met = curl_with(stage, person, PASSWORD, "ftp://127.0.0.1/");
        assert_eq!(met.end, End::let_in(person.name != "ada"), "{}: {}", person.name, met.person);
        met
    },
    ..PROFTPD
};

/// Without that, it compares the password with /etc/shadow itself after a refusal: who is
/// active needs no code.
const PROFTPD_AS_SHIPPED: Program = Program {
    run: "proftpd as shipped, with the password alone",
    prepare: serve_proftpd,
    login: |stage, person| {
        let met = curl_with(stage, person, PASSWORD, "ftp://127.0.0.1/");
        assert_eq!(met.end, End::LetIn, "{}: {}", person.name, met.person);
        met
    },
    ..PROFTPD
};

fn serve_proftpd(stage: &Stage) {
    stage.shell("sed -i 's/^UseIPv6.*/UseIPv6 off/' /etc/proftpd/proftpd.conf");
    serve(stage, "proftpd", &["--nodaemon"], 21);
}

const DOVECOT: Program = Program {
    name: "Dovecot",
    run: "imap",
    packages: SMALL,
    package: "dovecot-imapd",
    services: &["dovecot"],
    stack: Stack::Text(REMEMBERED),
    prepare: |stage| serve_dovecot(stage, ""),
    login: |stage, person| curl(stage, person, "imap://127.0.0.1/"),
    cheap: true,
    ..SERVER
};

/// The second time with the same answer, a code that was used lets in, since PAM is not asked.
const DOVECOT_WITH_A_CACHE: Program = Program {
    run: "imap, auth_cache_size = 1 M, cache_key = %u, each twice",
    stack: Stack::Text(COMBINED),
    prepare: |stage| serve_dovecot(stage, "auth_cache_size = 1 M\n"),
    login: |stage, person| {
        let user = format!("{}:{}", person.name, person.one_answer());
        let arguments = ["-sSf", "--max-time", "100", "--user", &user, "imap://127.0.0.1/"];
        by(stage.command("curl").args(arguments));
        by(stage.command("curl").args(arguments))
    },
    texts: None,
    cheap: false,
    ..DOVECOT
};

fn serve_dovecot(stage: &Stage, more: &str) {
    let cache = if more.is_empty() { "" } else { "cache_key=%u " };
    stage.write(
        "/etc/dovecot/dovecot.conf",
        &format!(
            "protocols = imap\nlisten = 127.0.0.1\nssl = no\ndisable_plaintext_auth = no\n\
             mail_location = maildir:~/Maildir\nauth_verbose = yes\n{more}\
             passdb {{\n  driver = pam\n  args = {cache}dovecot\n}}\n\
             userdb {{\n  driver = passwd\n}}\n"
        ),
    );
    serve(stage, "dovecot", &["-F"], 143);
}

const SASLAUTHD: Program = Program {
    name: "saslauthd",
    run: "testsaslauthd, without -c",
    packages: SMALL,
    package: "sasl2-bin",
    services: &["imap"],
    // Debian has no file for it: it is that of its client.
    prepare: |stage| serve_saslauthd(stage, &[]),
    login: |stage, person| {
        let arguments = ["-s", "imap", "-u", person.name, "-p", &person.one_answer()];
        by(stage.command("testsaslauthd").args(arguments))
    },
    cheap: true,
    ..SERVER
};

#[track_caller]
fn serve_saslauthd(stage: &Stage, more: &[&str]) {
    stage.shell("mkdir -p /run/saslauthd; chmod 755 /run/saslauthd");
    let mut saslauthd = stage.command("saslauthd");
    saslauthd.args(["-d", "-a", "pam", "-n", "2", "-m", "/run/saslauthd"]).args(more);
    stage.daemon("saslauthd", saslauthd);
    stage.until("saslauthd listens", || stage.listens("/run/saslauthd/mux"));
}

/// As Debian starts it, with a cache: each twice.
const SASLAUTHD_FOR_EXIM: Program = Program {
    run: "smtp, by Exim, with -c, each twice",
    packages: EXIM.packages,
    services: &["smtp"],
    prepare: |stage| {
        serve_saslauthd(stage, &["-c"]);
        serve_exim(stage, "${if saslauthd{{$auth2}{$auth3}{smtp}}{1}{0}}");
    },
    login: |stage, person| {
        let answer = person.one_answer();
        log_in_to_exim(stage, person, &answer);
        log_in_to_exim(stage, person, &answer)
    },
    texts: None,
    cheap: false,
    ..SASLAUTHD
};

const EXIM: Program = Program {
    name: "Exim",
    run: "smtp, condition pam",
    packages: &["exim4-daemon-heavy", "sasl2-bin", "curl"],
    package: "exim4-daemon-heavy",
    services: &["exim"],
    prepare: |stage| serve_exim(stage, "${if pam{$auth2:$auth3}{1}{0}}"),
    login: |stage, person| log_in_to_exim(stage, person, &person.one_answer()),
    ..SERVER
};

fn serve_exim(stage: &Stage, condition: &str) {
    stage.write(
        "/root/exim.conf",
        &format!(
            "primary_hostname = stage\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = 25\n\
             auth_advertise_hosts = *\n\
             begin authenticators\nplain:\n  driver = plaintext\n  public_name = PLAIN\n  \
             server_prompts = :\n  server_condition = {condition}\n  server_set_id = $auth2\n"
        ),
    );
    serve(stage, "exim4", &["-C", "/root/exim.conf", "-bdf"], 25);
}

fn log_in_to_exim(stage: &Stage, person: &Person, answer: &str) -> Met {
    let user = format!("{}:{answer}", person.name);
    let options = ["-sSf", "--max-time", "100", "--login-options", "AUTH=PLAIN", "-X", "NOOP"];
    by(stage.command("curl").args(options).args(["--user", &user, "smtp://127.0.0.1"]))
}

const PYTHON_PAM: Program = Program {
    name: "python-pam",
    run: "pam.authenticate, by root",
    packages: &["python3-pampy", "python3-six", "python3-pamela"],
    package: "python3-pampy",
    services: &["login"],
    login: |stage, person| {
        python(stage, person, "import pam; p = pam.pam(); ok = p.authenticate(user, word, 'login')")
    },
    ..SERVER
};

const PAMELA: Program = Program {
    name: "pamela",
    run: "pamela.authenticate, by root",
    package: "python3-pamela",
    login: |stage, person| {
        python(stage, person, "import pamela; pamela.authenticate(user, word, 'login'); ok = True")
    },
    ..PYTHON_PAM
};

fn python(stage: &Stage, person: &Person, script: &str) -> Met {
    let script = format!("import sys; user, word = sys.argv[1:]; {script}; sys.exit(not ok)");
    let answer = person.one_answer();
    by(stage.command("python3").args(["-c", &script, person.name, &answer]))
}
