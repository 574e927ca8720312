//! Servers that let people into a network, and ask PAM for them: VPN and RADIUS.

use crate::people::{End, Met, PASSWORD, Person};
use crate::program::{Program, Stack};
use crate::servers::{EACH, REMEMBERED, SERVER, SMALL, by, serve};
use crate::stage::{Stage, finish, on_terminal};

pub(crate) fn programs() -> Vec<Program> {
    vec![OPENVPN, OPENVPN_WITH_PAIRS, OCSERV, STRONGSWAN, FREERADIUS, FREERADIUS_AS_ROOT]
}

const OPENVPN: Program = Program {
    name: "OpenVPN",
    run: "openvpn-plugin-auth-pam",
    packages: SMALL,
    package: "openvpn",
    services: &["openvpn"],
    stack: Stack::Text(REMEMBERED),
    prepare: |stage| serve_openvpn(stage, "openvpn"),
    login: |stage, person| connect(stage, person, &person.one_answer()),
    cheap: true,
    ..SERVER
};

/// Each pair is the beginning of a prompt, and what answers it. The client sends password and
/// code apart; its user is asked for both (static-challenge).
const OPENVPN_WITH_PAIRS: Program = Program {
    name: "OpenVPN, with pairs",
    run: "password PASSWORD one-time OTP",
    stack: Stack::Text(EACH),
    prepare: |stage| {
        serve_openvpn(stage, "'openvpn login USERNAME password PASSWORD one-time OTP'");
    },
    login: |stage, person| {
        let encoded = |text: &str| {
            let mut base64 = stage.command("base64");
            finish(&mut base64, text.as_bytes()).ok().trim().to_owned()
        };
        let code = encoded(&person.answer("One-time code: "));
        connect(stage, person, &format!("SCRV1:{}:{code}", encoded(PASSWORD)))
    },
    cheap: false,
    ..OPENVPN
};

/// Handshake and authentication are all that happens: nothing is routed.
fn serve_openvpn(stage: &Stage, plugin: &str) {
    stage.shell(
        "mkdir -p /dev/net; mknod /dev/net/tun c 10 200; cd /root; \
         openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate -subj /CN=stage \
         2>/dev/null",
    );
    stage.write(
        "/root/server.conf",
        &format!(
            "dev tun0\nifconfig-noexec\nmode server\ntls-server\nlocal 127.0.0.1\nport 1194\n\
             proto tcp-server\nca certificate\ncert certificate\nkey key\ndh none\n\
             verify-client-cert none\nusername-as-common-name\n\
             plugin /usr/lib/openvpn/openvpn-plugin-auth-pam.so {plugin}\n"
        ),
    );
    stage.write(
        "/root/client.conf",
        "dev null\nclient\nremote 127.0.0.1 1194 tcp-client\nca certificate\n\
         auth-user-pass user\nauth-retry none\nconnect-retry-max 1\n",
    );
    serve(stage, "openvpn", &["--cd", "/root", "--config", "server.conf"], 1194);
}

fn connect(stage: &Stage, person: &Person, answer: &str) -> Met {
    stage.write("/root/user", &format!("{}\n{answer}\n", person.name));
    let said = stage.shell(
        "cd /root; openvpn --config client.conf >said 2>&1 & client=$!
         for _ in $(seq 1000); do
             grep -qE 'Sequence Completed|AUTH_FAILED' said && break; sleep 0.1
         done
         kill $client 2>/dev/null || true; wait $client || true; cat said; rm said user",
    );
    Met::new(End::let_in(said.contains("Initialization Sequence Completed")), said)
}

const OCSERV: Program = Program {
    name: "ocserv",
    run: "openconnect",
    packages: &["ocserv", "openconnect", "openssl"],
    package: "ocserv",
    services: &["ocserv"],
    stack: Stack::Text(EACH),
    prepare: |stage| {
        stage.shell(
            "cd /root; openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out certificate \
             -subj /CN=stage 2>/dev/null; openssl x509 -in certificate -pubkey -noout | \
             openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64 >pin",
        );
        stage.write(
            "/root/ocserv.conf",
            "auth = pam\nlisten-host = 127.0.0.1\ntcp-port = 4443\nrun-as-user = nobody\n\
             run-as-group = daemon\nsocket-file = /run/ocserv.socket\n\
             server-cert = /root/certificate\nserver-key = /root/key\nisolate-workers = false\n\
             device = vpns\nipv4-network = 192.0.2.0\nipv4-netmask = 255.255.255.0\n",
        );
        serve(stage, "ocserv", &["-f", "-c", "/root/ocserv.conf"], 4443);
    },
    login: |stage, person| {
        let pin = format!("--servercert=pin-sha256:{}", stage.read("/root/pin").trim());
        let user = format!("--user={}", person.name);
        // Each field is called Password, after the prompt on a line of its own.
        let mut openconnect = stage.command("openconnect");
        openconnect.args(["--authenticate", &pin, &user, "https://127.0.0.1:4443/"]);
        let mut pty = on_terminal(&openconnect);
        let mut end = End::Refused;
        let pattern = regex::Regex::new(r"COOKIE|Login failed|Password\d*:").expect("a pattern");
        while let Some(text) = pty.expect_or_end(pattern.clone()) {
            if text.contains("COOKIE") {
                end = End::LetIn;
            } else if text.contains("Login failed") {
                break;
            } else {
                let lines: Vec<_> = text.lines().collect();
                let prompt = lines.iter().rev().nth(1).copied().unwrap_or_default();
                pty.send_line(&person.answer(prompt));
            }
        }
        Met::new(end, pty.text())
    },
    ..SERVER
};

const STRONGSWAN: Program = Program {
    name: "strongSwan",
    run: "IKEv1, xauth-pam",
    packages: &[
        "charon-systemd",
        "strongswan-swanctl",
        "libcharon-extra-plugins",
        "libcharon-extauth-plugins",
        "libstrongswan-standard-plugins",
        "libstrongswan-extra-plugins",
    ],
    package: "charon-systemd",
    services: &["login"],
    prepare: |stage| {
        // The client has a network of its own, with one cable between both.
        stage.shell(
            "ip link add left type veth peer name right; ip addr add 192.0.2.1/24 dev left
             ip link set left up; unshare -n sleep 1000 >/dev/null 2>&1 & echo $! >/root/other
             sleep 0.2; other=$(cat /root/other); ip link set right netns $other
             nsenter -t $other -n sh -euc 'ip addr add 192.0.2.2/24 dev right
                 ip link set right up; ip link set lo up'",
        );
        start_charon(stage, "server", &[], &connection("local_addrs", SERVER_ASKS, ""));
        let other = stage.read("/root/other");
        let enter = ["nsenter", "-t", other.trim(), "-n"];
        let client = connection("remote_addrs", CLIENT_ANSWERS, CLIENT_SECRET);
        start_charon(stage, "client", &enter, &client);
        stage.shell("swanctl --load-all --file /root/server.swanctl --uri unix:///run/server.vici");
    },
    login: |stage, person| {
        let client = stage.read("/root/client.swanctl");
        let client = client.replace("NAME", person.name).replace("WORD", &person.one_answer());
        stage.write("/root/filled", &client);
        stage.shell(
            "cd /root; swanctl --load-all --clear --file filled --uri unix:///run/client.vici
             rm filled",
        );
        let uri = "unix:///run/client.vici";
        let arguments = ["--initiate", "--ike", "stage", "--timeout", "100", "--uri", uri];
        let met = by(stage.command("swanctl").args(arguments));
        stage.run("swanctl", &["--terminate", "--ike", "stage", "--timeout", "5", "--uri", uri]);
        met
    },
    ..SERVER
};

#[track_caller]
fn start_charon(stage: &Stage, part: &str, enter: &[&str], connection: &str) {
    stage.write(&format!("/root/{part}.conf"), &CHARON.replace("PART", part));
    stage.write(&format!("/root/{part}.swanctl"), connection);
    let mut charon = stage.command("env");
    charon.arg(format!("STRONGSWAN_CONF=/root/{part}.conf")).args(enter).arg("charon-systemd");
    stage.daemon(&format!("charon-{part}"), charon);
    let socket = format!("/run/{part}.vici");
    stage.until("charon runs", || stage.path(&socket).exists());
}

fn connection(addresses: &str, more: &str, secret: &str) -> String {
    let text = CONNECTION.replace("ADDRESSES", addresses).replace("MORE", more);
    text.replace("SECRET", secret)
}

/// Of a charon: only what it needs, with a socket of its own.
const CHARON: &str = "\
charon-systemd {
    load = random nonce openssl aes sha1 sha2 hmac kdf gmp curve25519 kernel-netlink \
        socket-default vici xauth-generic xauth-pam updown
    install_routes = no
    plugins {
        vici {
            socket = unix:///run/PART.vici
        }
    }
}
";

const CONNECTION: &str = "\
connections {
    stage {
        version = 1
        ADDRESSES = 192.0.2.1
        local {
            auth = psk
        }
        remote {
            auth = psk
        }
        MORE
        children {
            stage {
            }
        }
    }
}
secrets {
    ike-1 {
        secret = shared
    }
    SECRET
}
";

const SERVER_ASKS: &str = "remote-2 {\n auth = xauth-pam\n }";
const CLIENT_ANSWERS: &str = "local-2 {\n auth = xauth\n xauth_id = NAME\n }";
const CLIENT_SECRET: &str = "xauth-1 {\n id = NAME\n secret = \"WORD\"\n }";

pub(crate) const FREERADIUS: Program = Program {
    name: "FreeRADIUS",
    run: "rlm_pam",
    packages: &["freeradius", "freeradius-utils"],
    package: "freeradius",
    services: &["radiusd"],
    prepare: serve_freeradius,
    login: |stage, person| {
        let answer = person.one_answer();
        let arguments = ["100", "radtest", "-t", "pap", person.name, &answer, "127.0.0.1", "0"];
        by(stage.command("timeout").args(arguments).arg("testing123"))
    },
    ..SERVER
};

const FREERADIUS_AS_ROOT: Program = Program {
    name: "FreeRADIUS, user = root",
    prepare: |stage| {
        stage.shell(
            "sed -i 's/^\\(\\s*\\(user\\|group\\) = \\)freerad$/\\1root/' \
             /etc/freeradius/3.0/radiusd.conf",
        );
        serve_freeradius(stage);
    },
    ..FREERADIUS
};

fn serve_freeradius(stage: &Stage) {
    stage.shell(
        "cd /etc/freeradius/3.0; ln -s ../mods-available/pam mods-enabled/
         rm -f mods-enabled/eap mods-enabled/mschap mods-enabled/ntlm_auth sites-enabled/*",
    );
    stage.write(
        "/etc/freeradius/3.0/sites-enabled/default",
        "server default {
            listen {\n type = auth\n ipaddr = 127.0.0.1\n port = 1812\n }
            authorize {\n update control {\n &Auth-Type := PAM\n }\n }
            authenticate {\n Auth-Type PAM {\n pam\n }\n }
        }\n",
    );
    let mut freeradius = stage.command("freeradius");
    freeradius.args(["-f", "-l", "stdout"]);
    stage.daemon("freeradius", freeradius);
    stage.until("freeradius listens", || {
        stage.read("/var/log/printed-by-freeradius").contains("Ready to process requests")
    });
}
