//! Servers that ask PAM for a user who sits at another machine: web, proxy, printing,
//! databases, shares. Most run as an account that cannot read the store.

use crate::people::{PASSWORD, talk};
use crate::program::{Program, Stack};
use crate::servers::{COMBINED, EACH, REMEMBERED, SERVER, by, curl, serve};
use crate::stage::{Stage, on_terminal};

pub(crate) fn programs() -> Vec<Program> {
    vec![
        CUPS,
        NGINX,
        NGINX_AS_ROOT,
        APACHE,
        SQUID,
        SQUID_WITH_A_HELPER_OF_ROOT,
        POSTGRESQL,
        MARIADB,
        MARIADB_WITH_ONE_FIELD,
        SAMBA,
    ]
}

const CUPS: Program = Program {
    name: "CUPS",
    run: "cupsd, /admin",
    packages: &["cups", "curl"],
    package: "cups-daemon",
    services: &["cups"],
    prepare: |stage| {
        stage.write(
            "/etc/cups/cupsd.conf",
            "LogLevel debug\nListen 127.0.0.1:631\nDefaultAuthType Basic\n\
             <Location />\nOrder allow,deny\nAllow all\n</Location>\n<Location /admin>\n\
             AuthType Basic\nRequire valid-user\nOrder allow,deny\nAllow all\n</Location>\n",
        );
        serve(stage, "cupsd", &["-f"], 631);
    },
    login: |stage, person| curl(stage, person, "http://127.0.0.1:631/admin/"),
    ..SERVER
};

pub(crate) const NGINX: Program = Program {
    name: "nginx (auth_pam)",
    run: "nginx",
    packages: &["nginx-light", "libnginx-mod-http-auth-pam", "curl"],
    package: "libnginx-mod-http-auth-pam",
    services: &["nginx"],
    // A request for / runs PAM twice.
    stack: Stack::Text(REMEMBERED),
    prepare: |stage| serve_nginx(stage, "www-data"),
    login: |stage, person| curl(stage, person, "http://127.0.0.1/"),
    ..SERVER
};

const NGINX_AS_ROOT: Program = Program {
    name: "nginx (auth_pam), user root",
    prepare: |stage| serve_nginx(stage, "root"),
    ..NGINX
};

fn serve_nginx(stage: &Stage, user: &str) {
    stage.write("/var/www/html/index.html", "a page\n");
    stage.write(
        "/etc/nginx/nginx.conf",
        &format!(
            "user {user};\nload_module modules/ngx_http_auth_pam_module.so;\ndaemon off;\n\
             events {{ }}\nhttp {{ server {{ listen 127.0.0.1:80; root /var/www/html;\n\
             location / {{ auth_pam stage; auth_pam_service_name nginx; index index.html; }} }} }}\n"
        ),
    );
    serve(stage, "nginx", &[], 80);
}

const APACHE: Program = Program {
    name: "Apache (mod_authnz_pam)",
    run: "apache2",
    packages: &["apache2", "libapache2-mod-authnz-pam", "curl"],
    package: "libapache2-mod-authnz-pam",
    services: &["apache"],
    stack: Stack::Text(REMEMBERED),
    prepare: |stage| {
        stage.write(
            "/etc/apache2/sites-available/000-default.conf",
            "ServerName stage\n<VirtualHost *:80>\nDocumentRoot /var/www/html\n<Location />\n\
             AuthType Basic\nAuthName stage\nAuthBasicProvider PAM\nAuthPAMService apache\n\
             Require valid-user\n</Location>\n</VirtualHost>\n",
        );
        stage.shell("a2enmod authnz_pam auth_basic");
        serve(stage, "apachectl", &["-D", "FOREGROUND"], 80);
    },
    login: |stage, person| curl(stage, person, "http://127.0.0.1/"),
    ..SERVER
};

const SQUID: Program = Program {
    name: "Squid",
    run: "basic_pam_auth",
    packages: &["squid", "curl", "python3"],
    package: "squid",
    services: &["squid"],
    prepare: serve_squid,
    login: |stage, person| {
        let user = format!("{}:{}", person.name, person.one_answer());
        let options = ["-sSf", "--max-time", "100", "-x", "http://127.0.0.1:3128"];
        // Its own page needs no other server.
        by(stage.command("curl").args(options).args(["--proxy-user", &user, "http://stage/"]))
    },
    ..SERVER
};

/// As its manual has it for /etc/shadow. As shipped, Squid repeats a success for two hours
/// (credentialsttl), which is what a browser needs; here each login is to be seen.
const SQUID_WITH_A_HELPER_OF_ROOT: Program = Program {
    name: "Squid, helper of root",
    run: "basic_pam_auth, setuid root",
    prepare: |stage| {
        stage.shell("chmod u+s /usr/lib/squid/basic_pam_auth");
        serve_squid(stage);
    },
    ..SQUID
};

fn serve_squid(stage: &Stage) {
    stage.write(
        "/etc/squid/squid.conf",
        "http_port 127.0.0.1:3128\nvisible_hostname stage\npid_filename none\n\
         auth_param basic program /usr/lib/squid/basic_pam_auth -n squid\n\
         auth_param basic children 2\nauth_param basic credentialsttl 1 second\nacl known proxy_auth REQUIRED\n\
         http_access allow known\nhttp_access deny all\n",
    );
    let page = "mkdir -p /var/www; echo page >/var/www/index.html; cd /var/www; \
                exec python3 -m http.server --bind 127.0.0.1 80";
    serve(stage, "sh", &["-c", page], 80);
    // It reserves memory for as many connections as it may have.
    serve(stage, "sh", &["-c", "ulimit -n 1024; exec squid -N"], 3128);
}

pub(crate) const POSTGRESQL: Program = Program {
    name: "PostgreSQL",
    run: "psql",
    packages: &["postgresql"],
    package: "postgresql-15",
    services: &["postgresql"],
    stack: Stack::Text(REMEMBERED),
    prepare: |stage| {
        stage.shell("test -d /etc/postgresql/15/main || pg_createcluster 15 main");
        stage.write(
            "/etc/postgresql/15/main/pg_hba.conf",
            "host all all 127.0.0.1/32 pam pamservice=postgresql\nlocal all postgres peer\n",
        );
        stage.shell("chmod 644 /etc/postgresql/15/main/pg_hba.conf; pg_ctlcluster 15 main start");
        stage.wait_for_port(5432);
        stage.shell("for it in dora pia ada; do runuser -u postgres createuser $it; done");
    },
    login: |stage, person| {
        let mut psql = stage.command("psql");
        // By default it tries twice, with TLS and without.
        psql.env("PGPASSWORD", person.one_answer()).env("PGSSLMODE", "disable");
        by(psql.args(["-h", "127.0.0.1", "-U", person.name, "-d", "postgres", "-c", "select 1"]))
    },
    ..SERVER
};

const MARIADB: Program = Program {
    name: "MariaDB",
    run: "auth_pam, dialog",
    packages: &["mariadb-server", "mariadb-client"],
    package: "mariadb-server",
    services: &["mariadb"],
    stack: Stack::Text(EACH),
    prepare: serve_mariadb,
    login: |stage, person| {
        let query = "select concat('Welcome, ', 'you', '.') as greeting";
        let arguments = ["-h", "127.0.0.1", "-u", person.name, "-p", "-e", query];
        let mut mariadb = stage.command("mariadb");
        talk(stage, &mut on_terminal(mariadb.args(arguments)), person, &["denied"])
    },
    ..SERVER
};

/// Of clients without the plugin "dialog", and of those that are given the password.
const MARIADB_WITH_ONE_FIELD: Program = Program {
    name: "MariaDB, with one field",
    run: "auth_pam, password given beforehand",
    stack: Stack::Text(COMBINED),
    login: |stage, person| {
        let mut mariadb = stage.command("mariadb");
        let password = format!("-p{}", person.one_answer());
        by(mariadb.args(["-h", "127.0.0.1", "-u", person.name, &password, "-e", "select 1"]))
    },
    ..MARIADB
};

fn serve_mariadb(stage: &Stage) {
    stage.shell("install -d -o mysql /run/mysqld");
    serve(stage, "mariadbd", &["--user=mysql", "--bind-address=127.0.0.1"], 3306);
    let users: String = ["dora", "pia", "ada"]
        .iter()
        .map(|it| format!("create user {it}@'%' identified via pam using 'mariadb';"))
        .collect();
    stage.run("mariadb", &["-e", &format!("install soname 'auth_pam'; {users}")]).ok();
}

const SAMBA: Program = Program {
    name: "Samba",
    run: "smbd, obey pam restrictions = yes",
    packages: &["samba", "smbclient"],
    package: "samba",
    services: &["samba"],
    stack: Stack::Text(EACH),
    // It has no auth phase to say anything in.
    texts: None,
    prepare: |stage| {
        stage.write(
            "/etc/samba/smb.conf",
            "[global]\ninterfaces = lo\nbind interfaces only = yes\nobey pam restrictions = yes\n\
             [share]\npath = /srv\n",
        );
        stage.shell(&format!(
            "for it in dora pia ada; do printf '{PASSWORD}\\n{PASSWORD}\\n' | \
             smbpasswd -s -a $it; done"
        ));
        serve(stage, "smbd", &["--foreground", "--no-process-group"], 445);
    },
    login: |stage, person| {
        let user = format!("{}%{PASSWORD}", person.name);
        by(stage.command("smbclient").args(["-U", &user, "//127.0.0.1/share", "-c", "ls"]))
    },
    ..SERVER
};
