//! Servers that let people into a network, and ask PAM for them: VPN and RADIUS.

use crate::common::Pty;
use crate::people::{End, Met, Person};
use crate::program::{Program, Stack};
use crate::servers::{EACH, REMEMBERED, SERVER, SMALL, by, serve};
use crate::stage::Stage;

pub(crate) fn programs() -> Vec<Program> {
    vec![OPENVPN, OCSERV, FREERADIUS, FREERADIUS_AS_ROOT]
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
         for _ in $(seq 200); do
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
        let mut pty = Pty::spawn(&openconnect);
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

const FREERADIUS: Program = Program {
    name: "FreeRADIUS",
    run: "rlm_pam",
    packages: &["freeradius", "freeradius-utils"],
    package: "freeradius",
    services: &["radiusd"],
    prepare: serve_freeradius,
    login: |stage, person| {
        let answer = person.one_answer();
        let arguments = ["10", "radtest", "-t", "pap", person.name, &answer, "127.0.0.1", "0"];
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
