//! What an import costs: at most four times the file, whatever is in it, on top of what it
//! costs to import one line. The files here are small next to what is allowed; the debug
//! build reads them in a second each.

use std::fmt::Write as _;

use crate::common::{Finished, World, finish, hasty};

/// The secrets of RFC 4226's examples, and one of the smallest.
const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const SHORT: &str = "GEZDGNBVGY3TQOJQ";
const HEX: &str = "3132333435363738393031323334353637383930";
/// The values of figure 6 of RFC 6030, and their key.
const ENCRYPTED: &str = include_str!("../../fuzz/corpus/imports/pskc_key.xml");
const KEY: &[u8] = b"12345678901234567890123456789012";

/// Bytes that the tool takes for this import, from standard input.
fn peak(world: &World, arguments: &[&str], input: &str) -> (usize, Finished) {
    // What starts a program counts in its peak: this is smaller than the tool, Python is not.
    let mut command = world.command("time");
    command.args(["-q", "-f", "%M", "onetimectl", "import", "--dry-run"]).args(arguments);
    let run = finish(&mut command, input.as_bytes());
    let peak = run.stderr.lines().last().and_then(|line| line.parse::<usize>().ok());
    (peak.unwrap_or_else(|| panic!("no number: {}", run.text())) * 1024, run)
}

/// A world, and what an import of one line costs in it.
struct Scale {
    world: World,
    base: usize,
}

impl Scale {
    fn new() -> Self {
        let world = hasty();
        let (base, _) = peak(&world, &["-"], &format!("otpauth://totp/h:u?secret={BASE32}\n"));
        Self { world, base }
    }

    /// Imports this from standard input, and is content with four times its size.
    #[track_caller]
    fn bounded(&self, what: &str, text: &str, options: &[&str]) -> Finished {
        let (cost, run) = peak(&self.world, &[&["-"], options].concat(), text);
        self.within(what, cost, text.len());
        run
    }

    #[track_caller]
    fn within(&self, what: &str, cost: usize, size: usize) {
        let above = cost.saturating_sub(self.base);
        let times = above as f64 / size as f64;
        println!("{what}: {times:.2} times {size} bytes, above {}", self.base);
        assert!(above <= 4 * size, "{what}: {above} bytes, {times:.2} times the file of {size}");
    }
}

/// So many rows, as `row` makes them of a number.
fn rows(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).map(row).collect()
}

/// An object with a list of entries, as the exports of apps are.
fn json(head: &str, entries: &str, tail: &str) -> String {
    format!("{head}{}{tail}", entries.trim_end().trim_end_matches(','))
}

fn aegis(entries: &str) -> String {
    json("{\"header\": {}, \"db\": {\"version\": 3, \"entries\": [", entries, "]}}\n")
}

#[test]
fn a_large_file_of_each_format_costs_at_most_four_times_its_size() {
    let scale = Scale::new();
    let issuer = "issuer=Example&algorithm=SHA1&digits=6&period=30";
    let uris = rows(6000, |n| format!("otpauth://totp/Example:user{n}?secret={BASE32}&{issuer}\n"));
    let oath = rows(8000, |n| format!("HOTP/T30/6\tuser{n}\tpassword{n}\t{HEX}\n"));
    let csv = rows(9000, |n| format!("S{n},{HEX},hotp,6,30,user{n}\n"));
    let csv = format!("serial,key,type,digits,step,user\n{csv}");
    let vault = aegis(&rows(5000, |n| {
        format!(
            "{{\"type\": \"totp\", \"uuid\": \"uuid-{n}\", \"name\": \"user{n}\", \"issuer\": \
             \"host\", \"note\": \"\", \"info\": {{\"secret\": \"{BASE32}\", \"digits\": 6}}}},\n"
        )
    }));
    let services = rows(4000, |n| {
        format!(
            "{{\"name\": \"host\", \"secret\": \"{BASE32}\", \"otp\": {{\"account\": \"user{n}\", \
             \"issuer\": \"host\", \"tokenType\": \"TOTP\"}}, \"order\": {{\"position\": 0}}}},\n"
        )
    });
    let backup = json("{\"schemaVersion\": 4, \"services\": [", &services, "]}");
    let items = rows(4000, |n| {
        format!(
            "{{\"id\": \"i-{n}\", \"type\": 1, \"name\": \"host\", \"login\": {{\"username\": \
             \"user{n}\", \"password\": \"x\", \"totp\": \"{BASE32}\"}}}},\n"
        )
    });
    let export = json("{\"encrypted\": false, \"items\": [", &items, "]}");
    let keys = rows(4000, |n| {
        format!(
            "<KeyPackage><DeviceInfo><SerialNo>{n}</SerialNo></DeviceInfo><Key Id=\"k{n}\" \
             Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\"><Data><Secret><PlainValue>\
             MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue></Secret></Data><UserId>user{n}</UserId>\
             </Key></KeyPackage>\n"
        )
    });
    let keys = format!(
        "<KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n{keys}</KeyContainer>\n"
    );
    let (head, package) = ENCRYPTED.split_once("<KeyPackage>").expect("a package");
    let package = package.split_once("</KeyContainer>").expect("an end").0;
    let package = |n| format!("<KeyPackage>{}", package.replace("alice", &format!("user{n}")));
    let locked = format!("{head}{}</KeyContainer>\n", rows(4000, package));
    scale.world.write("/root/key", KEY, 0o600);
    for (what, text, options) in [
        ("otpauth", &uris, &["--force"][..]),
        ("oath", &oath, &["--force"]),
        ("oath-csv", &csv, &["--force"]),
        ("aegis", &vault, &["--force"]),
        ("2fas", &backup, &["--force"]),
        ("bitwarden", &export, &["--force"]),
        ("pskc", &keys, &["--force"]),
        ("encrypted pskc", &locked, &["--force", "--key-file", "/root/key"]),
    ] {
        let run = scale.bounded(what, text, options);
        assert!(run.success(), "{what}: {}", run.stderr.lines().next().unwrap_or_default());
        assert!(run.stdout.contains("00 would be imported, 0 failed."), "{what}");
        let number = |line: &str| line.strip_prefix("user")?.split(' ').next()?.parse().ok();
        let users: Vec<usize> = run.stdout.lines().filter_map(number).collect();
        assert!(users.len() >= 4000 && users.iter().copied().eq(0..users.len()), "{what}: order");
    }
    scale.world.write("/root/large", uris.as_bytes(), 0o600);
    let (cost, _) = peak(&scale.world, &["/root/large", "--force"], "");
    scale.within("a file that is named", cost, uris.len());
}

#[test]
fn the_shortest_rows_errors_notes_and_keys_of_nobody_cost_no_more() {
    let scale = Scale::new();
    let short = rows(6_000, |n| format!("otpauth://totp/{n}?secret={SHORT}\n"));
    let nobodys = rows(6_000, |_| format!("otpauth://totp/?secret={SHORT}\n"));
    let noted = rows(400, |n| {
        let unknown: String = (0..200).map(|m| format!("&{:x}", n * 200 + m + 0x10_0000)).collect();
        format!("otpauth://totp/{n}?secret={SHORT}{unknown}\n")
    });
    let faults = rows(12_000, |n| format!("HOTP/T{} u{n}\n", 1_000_000 + n));
    let tiny = rows(40_000, |n| format!("x {n}\n"));
    let stock = rows(12_000, |n| format!("{n},{SHORT},totp\n"));
    scale.world.write("/root/map", b"none,alice\n", 0o600);
    for (what, text, options) in [
        ("short URIs", &short, &["--force"][..]),
        ("unknown users", &short, &[]),
        ("keys of nobody", &nobodys, &[]),
        ("keys of nobody, and one asked for", &nobodys, &["--user", "alice"]),
        ("unknown parameters", &noted, &["--force"]),
        ("different faults", &faults, &["--from", "oath"]),
        ("rows too short for a key", &tiny, &["--from", "oath"]),
        ("keys in stock", &stock, &["--map", "/root/map", "--from", "oath-csv"]),
    ] {
        scale.bounded(what, text, options);
    }
    let map = rows(30_000, |n| format!("{n},alice\n"));
    scale.world.write("/root/map", map.as_bytes(), 0o600);
    let (cost, run) = peak(&scale.world, &["-", "--map", "/root/map"], &format!("S1,{HEX},totp\n"));
    scale.within("a map", cost, map.len());
    assert!(run.stderr.contains("in none of the files"));
}

#[test]
fn a_hostile_file_costs_no_more() {
    let scale = Scale::new();
    let megabytes = |text: &str| text.repeat(2_000_000 / text.len());
    let name = |name: &str| {
        aegis(&format!(
            "{{\"type\": \"totp\", \"name\": \"{name}\", \"info\": {{\"secret\": \"\"}}}}"
        ))
    };
    let mut keys = String::from("{\"encrypted\": false, ");
    for _ in 0..300_000 {
        write!(keys, "\"\":0,").expect("a string takes it");
    }
    keys.push_str("\"items\": []}");
    let element = |inner: &str| {
        format!(
            "<KeyContainer xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">{inner}</KeyContainer>"
        )
    };
    let in_secret = |inner: &str| {
        let inner = megabytes(inner);
        element(&format!(
            "<KeyPackage><Key><Data><Secret>{inner}</Secret></Data></Key></KeyPackage>"
        ))
    };
    let attributes: String = (0..100_000).map(|n| format!(" a{n}=\"\"")).collect();
    let spaces: String = (0..100_000).map(|n| format!(" xmlns:a{n}=\"u\"")).collect();
    for (what, text, format) in [
        ("one line", megabytes("x"), "otpauth"),
        ("one line", megabytes("x"), "oath"),
        ("a quotation mark that is not closed", format!("a,\"{}", megabytes("b,c\n")), "oath-csv"),
        ("fields", megabytes(","), "oath-csv"),
        ("a huge name", name(&megabytes("n")), "aegis"),
        ("a huge name with escapes", name(&megabytes("\\n")), "aegis"),
        ("a huge name of a value", format!("{{\"{}\": 0}}", megabytes("\\n")), "2fas"),
        ("nesting", aegis(&megabytes("[")), "aegis"),
        ("nesting that ends", aegis(&(megabytes("[") + &megabytes("]"))), "aegis"),
        ("tiny entries", aegis(&megabytes("0,")), "aegis"),
        ("empty keys", keys, "bitwarden"),
        ("attributes", element(&format!("<KeyPackage{attributes}/>")), "pskc"),
        ("namespaces", element(&format!("<KeyPackage{spaces}/>")), "pskc"),
        (
            "a huge attribute",
            element(&format!("<KeyPackage><Key Id=\"{}\"/>", megabytes("&lt;"))),
            "pskc",
        ),
        ("nested elements", element(&megabytes("<a>")), "pskc"),
        ("a huge name of an element", element(&format!("<{}/>", megabytes("a"))), "pskc"),
        ("encrypted values", in_secret("<EncryptedValue/>"), "pskc"),
        ("MACs", in_secret("<ValueMAC/>"), "pskc"),
        ("tiny packages", element(&megabytes("<KeyPackage/>")), "pskc"),
    ] {
        let run = scale.bounded(what, &text, &["--from", format]);
        assert!(!run.success(), "{what}: {}", run.stdout);
    }
}
