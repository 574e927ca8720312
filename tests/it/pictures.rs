//! QR codes as text, read from pictures of a real terminal: at a login and by the tool, on
//! dark and light screens of 80 columns and 24 lines.

use crate::common::{
    Photograph, Pty, Theme, World, Xterm, current_code, enable, finish, installed, secret,
    shown_at_login,
};

/// A key as a person types it.
fn in_fours(secret: &str) -> String {
    let groups = secret.as_bytes().chunks(4).map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(" ")
}

/// What two programs of the kind that phones have read from a photograph of the terminal.
#[track_caller]
fn read(terminal: Xterm, shown: &[u8]) -> [String; 2] {
    let photograph = terminal.photograph(shown);
    [photograph.by_zbar(), photograph.by_zxing()]
}

/// A world in which alice is pending, with a service for each form of the QR code.
fn world() -> World {
    let world = installed();
    for form in ["utf8", "utf8-light", "ascii", "none"] {
        let line = format!("auth required pam_onetime.so qr={form}\n");
        world.pam_service(form, &line);
    }
    world.onetimectl(&["enable", "alice", "--issuer", "host.example.org"]).ok();
    world
}

#[test]
fn each_form_of_the_qr_code_is_read_from_a_picture_of_the_terminal_that_it_is_for() {
    let world = world();
    let secret = secret(&world, "alice");
    for (form, theme) in [("utf8", Theme::Dark), ("utf8-light", Theme::Light)] {
        let shown = shown_at_login(&world, form);
        for read in read(Xterm::usual(theme), &shown) {
            assert!(read.contains(&format!("secret={secret}&")), "{form}: {read}");
        }
    }
}

#[test]
fn on_its_own_terminal_the_tool_draws_what_is_read_whatever_the_colours_are() {
    let world = world();
    let secret = secret(&world, "alice");
    let mut terminal = world.pty("onetimectl", &["qr", "alice"]);
    assert!(terminal.wait().success());
    for theme in [Theme::Dark, Theme::Light] {
        for read in read(Xterm::usual(theme), &terminal.transcript()) {
            assert!(read.contains(&format!("secret={secret}&")), "{theme:?}: {read}");
        }
    }
}

#[test]
fn where_the_locale_is_not_utf8_the_tool_draws_with_coloured_spaces_or_says_what_is_missing() {
    let world = world();
    let secret = secret(&world, "alice");
    let key = format!("Key: {}", in_fours(&secret));
    let on_terminal = |variables: &[(&str, &str)], columns, rows| {
        let mut command = world.command("onetimectl");
        command.args(["qr", "alice"]).envs(variables.iter().copied());
        let mut terminal = Pty::spawn_sized(&command, columns, rows);
        assert!(terminal.wait().success(), "{}", terminal.text());
        terminal.transcript()
    };
    let plain = [("LC_ALL", "C")];
    let shown = on_terminal(&plain, 90, 48);
    assert!(shown.is_ascii());
    for theme in [Theme::Dark, Theme::Light] {
        let terminal = Xterm { theme, columns: 90, rows: 48, locale: "C" };
        for read in read(terminal, &shown) {
            assert!(read.contains(&format!("secret={secret}&")), "{theme:?}: {read}");
        }
    }
    // The other ways are all in letters that everybody has.
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("a text");
    let small = text(on_terminal(&plain, 80, 24));
    let no_colour = text(on_terminal(&[("LC_ALL", "C"), ("NO_COLOR", "1")], 90, 48));
    let dumb = text(on_terminal(&[("LANG", "de_DE"), ("TERM", "dumb")], 90, 48));
    let piped = finish(world.command("onetimectl").args(["qr", "alice"]).envs(plain), b"");
    for shown in [&small, &no_colour, &dumb, &piped.text()] {
        assert!(shown.is_ascii() && !shown.contains('\x1b'), "{shown}");
        assert!(shown.contains(&key) && shown.contains("LC_ALL=C.UTF-8"), "{shown}");
    }
    assert!(!piped.stdout.contains("LC_ALL"), "{}", piped.stdout);

    // Who wants no colours gets none where half blocks are understood either.
    for variables in [[("NO_COLOR", "1")], [("TERM", "dumb")]] {
        let shown = text(on_terminal(&variables, 80, 24));
        assert!(shown.contains('█') && !shown.contains('\x1b'), "{variables:?}: {shown}");
        for read in read(Xterm::usual(Theme::Dark), shown.as_bytes()) {
            assert!(read.contains(&format!("secret={secret}&")), "{variables:?}: {read}");
        }
    }
}

#[test]
fn a_photograph_in_jpeg_of_a_terminal_is_imported_and_other_kinds_of_pictures_are_named() {
    let world = world();
    let secret = secret(&world, "alice");
    let mut terminal = world.pty("onetimectl", &["qr", "alice"]);
    assert!(terminal.wait().success());
    let photograph = Xterm::usual(Theme::Dark).photograph(&terminal.transcript());
    let here = installed();
    let mut file = Vec::new();
    for options in [&["-grayscale"][..], &["-progressive"], &["-quality", "60", "-optimize"]] {
        // By libjpeg, as cameras and apps do.
        file = photograph.as_jpeg(options);
        here.write("/root/photograph", &file, 0o600);
        let arguments = ["import", "/root/photograph", "--replace", "--yes"];
        let run = here.onetimectl(&arguments);
        assert!(run.success() && !run.text().contains(&secret), "{options:?}: {}", run.text());
        assert_eq!(crate::common::secret(&here, "alice"), secret, "{options:?}");
    }
    here.onetimectl(&["verify", "alice", &current_code(&secret, 0)]).ok();

    let half = &file[..file.len() / 2];
    for (file, said) in [
        (half, "not a JPEG file in order"),
        (b"\0\0\0\x24ftypheic\0\0\0\0", "is HEIF: of pictures, only PNG and JPEG are read"),
    ] {
        here.write("/root/photograph", file, 0o600);
        let run = here.onetimectl(&["import", "/root/photograph"]);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(run.stderr.contains(said) && run.stderr.contains("convert it"), "{}", run.text());
    }
}

#[test]
fn ascii_and_none_show_the_key_alone_and_a_drawing_ends_with_the_way_out() {
    let world = world();
    let key = format!("Key: {}", in_fours(&secret(&world, "alice")));
    for form in ["ascii", "none"] {
        let shown = shown_at_login(&world, form);
        let shown = String::from_utf8_lossy(&shown);
        assert!(shown.is_ascii() && !shown.contains("##"), "{form}: {shown}");
        assert!(shown.contains(&key) && !shown.contains("type it"), "{form}: {shown}");
    }
    let shown = shown_at_login(&world, "utf8");
    let way_out = format!("{key} (type it if the app cannot read it)");
    assert!(String::from_utf8_lossy(&shown).contains(&way_out));
    let config = "[enrollment]\nqr = \"ascii\"\n";
    world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
    let doctor = world.onetimectl(&["doctor"]);
    assert!(doctor.stdout.contains("policy-qr-ascii"), "{}", doctor.text());
}

#[test]
fn what_is_wider_than_the_screen_is_not_drawn_and_words_say_so() {
    let world = installed();
    world.pam_service("utf8", "auth required pam_onetime.so qr=utf8\n");
    // Each of these letters is nine of a URI.
    let issuer = "\u{6f22}".repeat(64);
    world.onetimectl(&["enable", "alice", "--issuer", &issuer]).ok();
    let shown = shown_at_login(&world, "utf8");
    let shown = String::from_utf8_lossy(&shown);
    assert!(!shown.contains('█'), "{shown}");
    assert!(shown.contains("The QR code does not fit this screen: type the key"), "{shown}");
    let mut terminal = world.pty("onetimectl", &["qr", "alice"]);
    assert!(terminal.wait().success());
    let text = terminal.text();
    assert!(!text.contains('█') && text.contains("--qr FILE.png"), "{text}");
    let piped = finish(world.command("onetimectl").args(["qr", "alice"]), b"").ok();
    assert!(!piped.contains('█') && piped.contains("does not fit this screen"), "{piped}");
}

#[test]
fn several_tokens_are_all_shown_under_labels_of_their_own_or_one_is_named() {
    let world = installed();
    let first = enable(&world, "alice");
    world.onetimectl(&["token", "add", "alice"]).ok();
    let rows: Vec<serde_json::Value> = world.onetimectl(&["--json", "qr", "alice"]).json();
    let tokens = rows[0]["tokens"].as_array().expect("an array");
    assert_eq!(tokens.len(), 2, "{rows:?}");
    assert_eq!(
        (&rows[0]["secret"], &tokens[0]["secret"]),
        (&first.as_str().into(), &rows[0]["secret"])
    );
    let label = |index: usize| tokens[index]["uri"].as_str().expect("a text").to_owned();
    assert!(label(0).contains(":alice?") && label(1).contains(":alice%20%282%29?"), "{rows:?}");
    let text = world.onetimectl(&["qr", "alice"]).ok();
    assert!(text.contains("account alice,") && text.contains("account alice (2),"), "{text}");

    for arguments in
        [&["qr", "alice", "--qr", "/root/a.png"][..], &["handout", "alice", "-o", "/root/a.png"]]
    {
        let run = world.onetimectl(arguments);
        assert_eq!(run.status.code(), Some(1), "{}", run.text());
        assert!(run.stderr.contains("several tokens") && run.stderr.contains("--token ID"));
        assert!(!world.exists("/root/a.png"));
        world.onetimectl(&[arguments, &["--token", "2"]].concat()).ok();
        let read = crate::common::scan(&world.read("/root/a.png"), "png");
        assert_eq!(read, label(1));
        world.remove("/root/a.png");
    }
    let run = world.onetimectl(&["qr", "alice", "--token", "3"]);
    assert!(run.stderr.contains("alice: has no token 3"), "{}", run.text());
    world.onetimectl(&["handout", "alice", "-o", "/root/a.html"]).ok();
    let sheet = world.read_text("/root/a.html");
    assert!(sheet.contains("Account: alice<") && sheet.contains("Account: alice (2)<"), "{sheet}");
}

#[test]
fn a_second_token_goes_by_qr_code_or_export_to_another_machine_and_arrives_as_the_second() {
    let world = installed();
    enable(&world, "alice");
    world.onetimectl(&["token", "add", "alice"]).ok();
    let exported = |world: &World| world.onetimectl(&["export", "alice"]).ok();
    let uris = exported(&world);
    assert_eq!(uris.lines().count(), 2, "{uris}");

    let second = uris.lines().last().and_then(|uri| uri.split("secret=").nth(1));
    let second = second.and_then(|rest| rest.split('&').next()).expect("the second's secret");

    let by_qr_code = installed();
    for (id, label) in [("1", ":alice?"), ("2", ":alice%20%282%29?")] {
        let file = format!("/root/{id}.png");
        world.onetimectl(&["qr", "alice", "--token", id, "--qr", &file]).ok();
        let picture = Photograph(world.read(&file));
        for read in [picture.by_zbar(), picture.by_zxing()] {
            assert!(read.contains(label), "{id}: {read}");
        }
        by_qr_code.write(&file, &picture.0, 0o600);
    }
    by_qr_code.onetimectl(&["import", "/root/1.png", "/root/2.png"]).ok();
    let by_export = installed();
    by_export.write("/root/uris", uris.as_bytes(), 0o600);
    by_export.onetimectl(&["import", "/root/uris"]).ok();
    for here in [&by_qr_code, &by_export] {
        assert_eq!(exported(here), uris);
        here.onetimectl(&["verify", "alice", &current_code(second, 0)]).ok();
    }
}

#[test]
fn an_issuer_that_many_machines_have_is_named_by_init_and_doctor() {
    let world = installed();
    for (issuer, common) in
        [("localhost", true), ("debian", true), ("vm.localdomain", true), ("vm.example.org", false)]
    {
        let config = format!("issuer = \"{issuer}\"\n");
        world.write("/etc/onetime/onetime.toml", config.as_bytes(), 0o644);
        let init = world.onetimectl(&["init"]);
        assert!(init.success() && init.stderr.contains("set issuer") == common, "{}", init.text());
        let doctor = world.onetimectl(&["doctor"]);
        let named = doctor.stdout.contains("policy-issuer-common");
        assert_eq!(named, common, "{issuer}: {}", doctor.text());
    }
}
