//! The configuration as a whole: keys, defaults, ranges, and what errors say.

use proptest::prelude::*;

use super::*;

#[test]
fn the_shipped_file_shows_every_key_with_its_default() {
    let shipped = include_str!("../../conf/onetime.toml");
    // Keys are shown commented out, as `#key = value`, or set.
    let uncommented: String = shipped
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => rest,
            Some(_) | None => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert_eq!(Config::parse(shipped).unwrap(), Config::default());
    let shown = Config::parse(&uncommented).unwrap();
    assert_eq!(shown.issuer.as_deref(), Some("host.example.org"));
    assert_eq!(Config { issuer: None, ..shown }, Config::default());
    let debug = format!("{:?}", Config::default());
    for key in debug.split([' ', '{', ',']).filter_map(|word| word.strip_suffix(':')) {
        let section = format!("[{key}]");
        let entry = |line: &str| line.starts_with(&format!("{key} = ")) || line == section;
        assert!(uncommented.lines().any(entry), "{key} is not shown in conf/onetime.toml");
    }
}

#[test]
fn an_unknown_key_is_an_error_that_names_line_and_key() {
    let error = Config::parse("issuer = \"x\"\n[code]\nwindw = 2\n").unwrap_err().to_string();
    assert!(error.starts_with("line 3: ") && error.contains("windw"), "{error}");
    let error = Config::parse("[coed]\n").unwrap_err().to_string();
    assert!(error.starts_with("line 1: ") && error.contains("coed"), "{error}");
}

#[test]
fn comments_change_nothing_but_the_number_of_the_line() {
    let error = Config::parse("# one\n\t# '''two\n[coed] # x\n").unwrap_err().to_string();
    assert!(error.starts_with("line 3: ") && error.contains("coed"), "{error}");
    let text = "# one\n[login]\nprompt = '''\n# Code: '''\n# last";
    assert_eq!(Config::parse(text).unwrap().login.prompt, "# Code: ");
    let text = "[login]\nrequire_groups = [ # \"a\",\n # \"b\",\n\t#]\n\"#c\"]\r\n# last\r\n";
    assert_eq!(Config::parse(text).unwrap().login.require_groups.0, ["#c"]);
    // One that TOML does not permit is not left out.
    for control in ["\u{0}", "\u{7}", "\r", "\u{1f}", "\u{7f}"] {
        let text = format!("[login]\n# 12345678{control}9\necho = true\n");
        let error = Config::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("line 2: "), "{control:?}: {error}");
    }
    assert!(Config::parse("# tab\there, and \u{fc}\u{80}\u{2028}\n").is_ok());
    // What is no white space of TOML's does not make a comment of a line.
    assert!(Config::parse("\u{a0}# x\n").is_err());
}

#[test]
fn a_value_out_of_range_is_an_error_that_names_line_and_key() {
    for (text, key) in [
        ("[code]\ndigits = 9", "digits"),
        ("[code]\nperiod = 1", "period"),
        ("[code]\nwindow = 11", "window"),
        ("[code]\nalgorithm = \"MD5\"", "algorithm"),
        ("[enrollment]\nqr = \"png\"", "qr"),
        ("[login]\necho = 1", "echo"),
        ("[login]\nremember = \"12\"", "remember"),
        ("[login]\nmissing = \"no\"", "missing"),
        ("[login]\nexempt_networks = [\"192.0.2.0/33\"]", "exempt_networks"),
        ("[enrollment]\ndeadline = \"0d\"", "deadline"),
    ] {
        let error = Config::parse(text).unwrap_err().to_string();
        assert!(error.starts_with("line 2: ") && error.contains(key), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for text in [
        "issuer = \"a:b\"",
        "[store]\ndir = \"var\"",
        "[password]\nservice = \"../x\"",
        "[login]\nprompt = \"a\\nb\"",
        "[limits]\nlockout = 0",
        "[limits]\nmax_lockout = 1",
    ] {
        assert!(matches!(Config::parse(text), Err(ConfigError::Value(_))), "{text}");
    }
}

/// What an admin reads. Most of it is what toml and serde say.
#[test]
fn an_error_names_line_path_and_range_in_one_line() {
    for (text, expected) in [
        (
            "[code]\ndigits = 9",
            "line 2: invalid value: integer `9`, expected a whole number from 6 to 8 in `code.digits`",
        ),
        (
            "[code]\nwindow = -1",
            "line 2: invalid value: integer `-1`, expected a whole number from 0 to 10 in `code.window`",
        ),
        (
            "code.resync = '5'",
            "line 1: invalid type: string \"5\", expected a whole number from 0 to 1000 in `code.resync`",
        ),
        (
            "limits = { failures = 3,\nperiod = 9223372036854775808 }",
            "line 2: invalid value: integer `9223372036854775808`, expected a whole number from 0 to 9223372036854775807 in `limits.period`",
        ),
        (
            "[limits]\nfailures = 4294967296",
            "line 2: invalid value: integer `4294967296`, expected a whole number from 0 to 4294967295 in `limits.failures`",
        ),
        (
            "[code]\nalgorithm = 'MD5'",
            "line 2: unknown algorithm: use SHA1, SHA256 or SHA512 in `code.algorithm`",
        ),
        (
            "[login]\nremember = '11y'",
            "line 2: must be \"none\", or a whole number and s, m, h or d, up to 3650d (12h, 14d) in `login.remember`",
        ),
        (
            "[login]\nexempt_networks = [\n'::1',\n'a\\b',\n]",
            "line 2: a\\b: must be a network as in 192.0.2.0/24 or 2001:db8::/32 in `login.exempt_networks`",
        ),
        (
            "[enrollment]\nqr = 'png'",
            "line 2: unknown variant `png`, expected one of `utf8`, `utf8-light`, `ascii`, `none` in `enrollment.qr`",
        ),
        (
            "[enrollment]\nqr = { utf8 = {} }",
            "line 2: invalid type: map, expected a string in quotes in `enrollment.qr`",
        ),
        (
            "[login]\necho = 1",
            "line 2: invalid type: integer `1`, expected a boolean in `login.echo`",
        ),
        (
            "\n[password]\nservce = 'x'",
            "line 3: unknown field `servce`, expected `service` in `password`",
        ),
        (
            "[coed]",
            "line 1: unknown field `coed`, expected one of `issuer`, `store`, `password`, `code`, `enrollment`, `login`, `limits`, `daemon`, `self_service`",
        ),
        ("password = ['x']", "line 1: invalid type: sequence, expected a table in `password`"),
        ("[[password]]", "line 1: invalid type: sequence, expected a table in `password`"),
        ("issuer = 'a'\nissuer = 'b'", "line 2: duplicate key"),
        ("issuer = a", "line 1: string values must be quoted, expected literal string"),
        ("# \u{7}", "line 1: invalid comment character, expected printable characters"),
        (
            "\"a\\nb\" = 1",
            "line 1: unknown field `a b`, expected one of `issuer`, `store`, `password`, `code`, `enrollment`, `login`, `limits`, `daemon`, `self_service`",
        ),
    ] {
        assert_eq!(Config::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

/// A key, a value, and whether the key takes it.
type KeyRow = (&'static str, &'static str, &'static str, Takes);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    It,
    ItNot,
}

/// Every key with values at and beyond its ends.
const ENTRIES: &[KeyRow] = &[
    ("", "issuer", "'it'", Takes::It),
    ("", "issuer", "5", Takes::ItNot),
    ("", "issuer", "'a:b'", Takes::ItNot),
    ("store", "backend", "'files'", Takes::It),
    ("store", "backend", "'etcd'", Takes::ItNot),
    ("store", "dir", "\"/\\u0061\"", Takes::It),
    ("store", "dir", "'a'", Takes::ItNot),
    ("password", "service", "'other'", Takes::It),
    ("password", "service", "'.'", Takes::ItNot),
    ("password", "servic", "'other'", Takes::ItNot),
    ("code", "kind", "'hotp'", Takes::It),
    ("code", "kind", "'HOTP'", Takes::ItNot),
    ("code", "algorithm", "'SHA512'", Takes::It),
    ("code", "algorithm", "'MD5'", Takes::ItNot),
    ("code", "digits", "8", Takes::It),
    ("code", "digits", "0b111", Takes::It),
    ("code", "digits", "5", Takes::ItNot),
    ("code", "digits", "6.0", Takes::ItNot),
    ("code", "period", "15", Takes::It),
    ("code", "period", "301", Takes::ItNot),
    ("code", "window", "+10", Takes::It),
    ("code", "window", "11", Takes::ItNot),
    ("code", "look_ahead", "0x64", Takes::It),
    ("code", "look_ahead", "101", Takes::ItNot),
    ("code", "max_drift", "100", Takes::It),
    ("code", "max_drift", "[100]", Takes::ItNot),
    ("code", "resync", "1_000", Takes::It),
    ("code", "resync", "1001", Takes::ItNot),
    ("enrollment", "at_login", "\"\"\"off\"\"\"", Takes::It),
    ("enrollment", "at_login", "false", Takes::ItNot),
    ("enrollment", "deadline", "'14d'", Takes::It),
    ("enrollment", "deadline", "14", Takes::ItNot),
    ("enrollment", "qr", "'none'", Takes::It),
    ("enrollment", "qr", "'utf8-light'", Takes::It),
    ("enrollment", "qr", "'ascii'", Takes::It),
    ("enrollment", "qr", "'ascii-light'", Takes::ItNot),
    ("enrollment", "qr", "{ none = {} }", Takes::ItNot),
    ("enrollment", "show_without_password", "true", Takes::It),
    ("enrollment", "show_without_password", "'true'", Takes::ItNot),
    ("enrollment", "recovery_codes", "16", Takes::It),
    ("enrollment", "recovery_codes", "17", Takes::ItNot),
    ("login", "missing", "'enrol'", Takes::It),
    ("login", "missing", "''", Takes::ItNot),
    ("login", "require_groups", "['wheel', \"ad\\u006d\"]", Takes::It),
    ("login", "require_groups", "'wheel'", Takes::ItNot),
    ("login", "exempt_groups", "[]", Takes::It),
    ("login", "exempt_groups", "['']", Takes::ItNot),
    ("login", "exempt_networks", "['192.0.2.0/24', '::1/128']", Takes::It),
    ("login", "exempt_networks", "['192.0.2.0/33']", Takes::ItNot),
    ("login", "remember", "'90s'", Takes::It),
    ("login", "remember", "1979-05-27", Takes::ItNot),
    ("login", "prompt", "'# \"Code\"? '", Takes::It),
    ("login", "prompt", "\"a\\nb\"", Takes::ItNot),
    ("login", "echo", "true", Takes::It),
    ("login", "echo", "1", Takes::ItNot),
    ("login", "uniform", "true", Takes::It),
    ("login", "honour_silent", "false", Takes::It),
    ("login", "language", "'zh'", Takes::It),
    ("login", "language", "'xx'", Takes::ItNot),
    ("limits", "failures", "4294967295", Takes::It),
    ("limits", "failures", "4294967296", Takes::ItNot),
    ("limits", "period", "9223372036854775807", Takes::It),
    ("limits", "period", "9223372036854775808", Takes::ItNot),
    ("limits", "lockout", "172800", Takes::It),
    ("limits", "lockout", "172801", Takes::ItNot),
    ("limits", "max_lockout", "60", Takes::It),
    ("limits", "max_lockout", "59", Takes::ItNot),
    ("daemon", "may_ask", "[]", Takes::It),
    ("daemon", "may_ask", "[{ user = 'www-data', services = ['a', 'b'] }]", Takes::It),
    ("daemon", "may_ask", "[{ user = 'www-data' }]", Takes::ItNot),
    ("daemon", "may_ask", "[{ user = 'a', service = ['b'] }]", Takes::ItNot),
    ("daemon", "may_ask", "['www-data']", Takes::ItNot),
    ("limit", "lockout", "60", Takes::ItNot),
];

/// Ways to write the same.
#[derive(Debug, Clone, Copy)]
enum Notation {
    Sections,
    DottedKeys,
    InlineTables,
}

/// The entries of one table after the other.
fn write(entries: &[KeyRow], notation: Notation) -> String {
    let mut text = String::new();
    let mut rest = entries;
    while let Some((section, ..)) = rest.first().copied() {
        let (here, others) = rest.split_at(rest.iter().take_while(|it| it.0 == section).count());
        rest = others;
        let pairs = here.iter().map(|(_, key, value, _)| format!("{key} = {value}"));
        text += &match notation {
            _ if section.is_empty() => pairs.map(|pair| pair + " # here\n").collect(),
            Notation::Sections => {
                format!("[{section}]\n{}\n", pairs.collect::<Vec<_>>().join("\n"))
            }
            Notation::DottedKeys => {
                pairs.map(|pair| format!("{section} . {pair}\n")).collect::<String>()
            }
            Notation::InlineTables => {
                format!("{section} = {{ {} }}\n", pairs.collect::<Vec<_>>().join(", "))
            }
        };
    }
    text
}

/// The configuration as a table: the default, but for the keys that `table` has.
fn overlaid(table: toml::Table) -> toml::Table {
    let mut whole = shown(&Config::default());
    for (name, value) in table {
        match (whole.get_mut(&name), value) {
            (Some(toml::Value::Table(section)), toml::Value::Table(keys)) => section.extend(keys),
            (_, value) => drop(whole.insert(name, value)),
        }
    }
    whole
}

/// Every value of the configuration, as the file would have it.
fn shown(config: &Config) -> toml::Table {
    let Config { issuer, store, password, code, enrollment, login, limits, daemon, self_service } =
        config;
    let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
    let span = |span: Span| match span.seconds() {
        None => "none".to_owned(),
        Some(seconds) if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        Some(seconds) => format!("{seconds}s"),
    };
    let networks = format!("{:?}", login.exempt_networks);
    let networks = networks.trim_start_matches("Networks([").trim_end_matches("])");
    let networks: Vec<_> = networks.split(", ").filter(|it| !it.is_empty()).collect();
    let mut table = toml::toml! {
        [store]
        [password]
        [code]
        [enrollment]
        [login]
        [limits]
        [daemon]
        [self_service]
    };
    if let Some(issuer) = issuer {
        table.insert("issuer".into(), issuer.as_str().into());
    }
    let mut put = |section: &str, key: &str, value: toml::Value| {
        table[section].as_table_mut().unwrap().insert(key.into(), value);
    };
    let number = |number: u64| toml::Value::Integer(number.try_into().unwrap());
    put("store", "backend", word(&store.backend).into());
    put("store", "dir", store.dir.as_str().into());
    put("password", "service", password.service.as_str().into());
    put("code", "kind", word(&code.kind).into());
    put("code", "algorithm", code.algorithm.name().into());
    put("code", "digits", number(code.digits.into()));
    put("code", "period", number(code.period.into()));
    put("code", "window", number(code.window.get()));
    put("code", "look_ahead", number(code.look_ahead.get()));
    put("code", "max_drift", number(code.max_drift.get()));
    put("code", "resync", number(code.resync.get()));
    put("enrollment", "at_login", word(&enrollment.at_login).into());
    put("enrollment", "deadline", span(enrollment.deadline).into());
    let qr = match enrollment.qr {
        Qr::Utf8Light => "utf8-light".to_owned(),
        other @ (Qr::Utf8 | Qr::Ascii | Qr::None) => word(&other),
    };
    put("enrollment", "qr", qr.into());
    put("enrollment", "show_without_password", enrollment.show_without_password.into());
    put("enrollment", "recovery_codes", number(enrollment.recovery_codes.get()));
    put("login", "missing", word(&login.missing).into());
    put("login", "require_groups", login.require_groups.0.clone().into());
    put("login", "exempt_groups", login.exempt_groups.0.clone().into());
    put("login", "exempt_networks", networks.into());
    put("login", "remember", span(login.remember).into());
    put("login", "prompt", login.prompt.as_str().into());
    put("login", "echo", login.echo.into());
    put("login", "uniform", login.uniform.into());
    put("login", "honour_silent", login.honour_silent.into());
    put("login", "language", word(&login.language).into());
    put("limits", "failures", number(limits.failures.into()));
    put("limits", "period", number(limits.period));
    put("limits", "lockout", number(limits.lockout));
    put("limits", "max_lockout", number(limits.max_lockout));
    let may_ask = daemon.may_ask.iter().map(|MayAsk { user, services }| {
        toml::Table::from_iter([
            ("user".to_owned(), user.as_str().into()),
            ("services".to_owned(), services.clone().into()),
        ])
    });
    let may_ask: Vec<_> = may_ask.map(toml::Value::Table).collect();
    put("daemon", "may_ask", may_ask.into());
    put("self_service", "recovery", self_service.recovery.into());
    put("self_service", "renew", self_service.renew.into());
    table
}

/// Of which texts are made that mean the same with and without what is left out of them.
const PIECES: &str = r##"
# #|# '''|#12345678|[login]|[login]|[login]|[code]|[code] # x|[store]|[ login ]|["login"]|['code']|["\u006cogin"]|[[login]]|[login.x]|
login = {}|login.echo = true|code.digits = 8|"login" = {}|"\u0063ode" = {}|echo = true|prompt = "a"|digits = 8|issuer = "[login]"|[coed]|
exempt_groups = [|require_groups = ["[login]",|"login"|[login]]|]|,|{|}|\|"""|'''|"|'|'#b'| |[|]]|login|[daemon]|[[daemon.may_ask]]|may_ask = []|"##;

/// The same, and what a text cannot have in it here.
fn pieces() -> impl Strategy<Value = &'static str> {
    let ends = ["\n", "\n", "\n", "\r\n", "\r", "#\u{1}", "#12345678\u{7f}", "# \u{fc}", "\t# x"];
    let all = PIECES.split('|').map(|piece| piece.trim_matches('\n')).chain(ends);
    prop::sample::select(all.collect::<Vec<_>>())
}

#[test]
fn a_table_with_nothing_in_it_is_as_if_it_were_not_there_and_no_more() {
    let shipped = include_str!("../../conf/onetime.toml");
    assert_eq!(without_comments(shipped).as_deref(), Some(""));
    for table in TABLES {
        assert_eq!(Config::parse(&format!("[{table}]")).unwrap(), Config::default());
        // Twice is once too often, however it is written.
        for again in ["[TABLE]", "[ TABLE ]", "[\"TABLE\"]", "TABLE = {}", "'TABLE' = {}"] {
            let again = again.replace("TABLE", table);
            for text in [format!("[{table}]\n{again}\n"), format!("{again}\n[{table}]\n")] {
                let whole = toml::from_str::<Config>(&text).ok();
                assert_eq!(Config::parse(&text).ok(), whole, "{text}");
            }
            let twice = format!("[{table}]\n[{}]\n{again}\n", TABLES[0]);
            assert_eq!(Config::parse(&twice).ok(), toml::from_str(&twice).ok(), "{twice}");
        }
        let twice = format!("[{table}]\n[{table}]\n");
        assert!(Config::parse(&twice).is_err(), "{twice}");
    }
    for text in ["[coed]\n", "[login]\n[login]\necho = true\n", "[login]\n[code]\n[login]\n"] {
        assert!(Config::parse(text).is_err(), "{text}");
    }
    let escaped = "[\"\\u006cogin\"]\necho = true\n[login]\n";
    assert!(Config::parse(escaped).is_err());
    let echo = Config::parse("[code]\n[login]\necho = true\n[limits]\n").unwrap().login.echo;
    assert!(echo);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn a_text_means_what_it_means_without_its_comments(
        pieces in prop::collection::vec(pieces(), 0..14), lines: bool,
    ) {
        // Most of what is drawn at random is no TOML unless each piece has a line of its own.
        let text = pieces.join(if lines { "\n" } else { "" });
        if let Some(short) = without_comments(&text) {
            let (short, whole) = (toml::from_str::<Config>(&short), toml::from_str(&text));
            prop_assert_eq!(short.ok(), whole.ok(), "{:?}", text);
        }
    }

    #[test]
    fn the_first_control_character_is_found_wherever_it_is(bytes: Vec<u8>) {
        prop_assert_eq!(first_control(&bytes), bytes.iter().position(u8::is_ascii_control));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn a_configuration_holds_what_a_plain_table_of_the_same_text_holds(
        entries in prop::sample::subsequence(ENTRIES, 0..12),
        notation in prop::sample::select(vec![
            Notation::Sections, Notation::DottedKeys, Notation::InlineTables,
        ]),
    ) {
        let mut entries = entries;
        // Most of what is drawn has all its values in their ranges, and each key once.
        if entries.len() > 4 {
            entries.retain(|entry| entry.3 == Takes::It);
        }
        entries.dedup_by_key(|entry| (entry.0, entry.1));
        let text = write(&entries, notation);
        let taken = entries.iter().all(|entry| entry.3 == Takes::It);
        // Two keys are bounded by each other.
        let at_most = |key| entries.iter().any(|it| it.1 == key);
        let taken = taken && !(at_most("max_lockout") && entries.iter().any(|it| it.2 == "172800"));
        let parsed = Config::parse(&text);
        prop_assert_eq!(parsed.is_ok(), taken, "{}: {:?}", &text, &parsed);
        if let Ok(config) = parsed {
            let table: toml::Table = toml::from_str(&text).unwrap();
            prop_assert_eq!(shown(&config), overlaid(table), "{}", &text);
        }
    }
}
