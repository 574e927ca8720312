//! `onetimectl config`: what is in force for each service and where it comes from, beside
//! what a login does; and every fault of a configuration with its line.

use crate::common::{World, assert_ends, finish, installed};
use serde_json::{Value, json};

/// The policies that are in force, by the services that have them.
#[track_caller]
fn shown(world: &World) -> Vec<Value> {
    world.onetimectl(&["--json", "config", "show"]).json()
}

#[track_caller]
fn of<'a>(policies: &'a [Value], service: &str) -> &'a Value {
    let has = |policy: &&Value| {
        policy["services"].as_array().is_some_and(|names| names.contains(&json!(service)))
    };
    policies.iter().find(has).unwrap_or_else(|| panic!("nothing of {service}: {policies:?}"))
}

#[track_caller]
fn value<'a>(policy: &'a Value, key: &str) -> &'a Value {
    let values = policy["values"].as_array().expect("values");
    values.iter().find(|value| value["key"] == key).unwrap_or_else(|| panic!("no {key}: {policy}"))
}

#[test]
fn config_show_names_the_source_of_each_value_for_each_service() {
    let world = installed();
    let text = "[code]\nwindow = 2\n\n[login]\nexempt_networks = [\n  \"10.0.0.0/8\" ]\nmissing = \"deny\"\n";
    world.write("/etc/onetime/onetime.toml", text.as_bytes(), 0o644);
    let ours = "auth required pam_onetime.so";
    world.pam_service("common", &format!("# c\n{ours} window=3 [prompt=Code, now: ] nullok\n"));
    world.pam_service("sshd", "@include common\n");
    world.pam_service("login", "@include common\n");
    world.pam_service("su", &format!("{ours} require_groups=wheel,adm password=stack\n"));
    let policies = shown(&world);
    let sshd = of(&policies, "sshd");
    assert_eq!(sshd, of(&policies, "login"));
    assert_eq!((&sshd["line"], &sshd["error"]), (&json!("/etc/pam.d/common:2"), &Value::Null));
    for (key, expected) in [
        ("code.window", json!({ "value": 3, "from": "argument" })),
        ("login.missing", json!({ "value": "ignore", "from": "argument" })),
        ("login.prompt", json!({ "value": "Code, now: ", "from": "argument" })),
        ("code.digits", json!({ "value": 6, "from": "default" })),
        ("password", json!({ "value": "verify", "from": "default" })),
        (
            "login.exempt_networks",
            json!({ "value": ["10.0.0.0/8"], "from": "file", "file": "/etc/onetime/onetime.toml", "line": 5 }),
        ),
    ] {
        let mut found = value(sshd, key).clone();
        found.as_object_mut().expect("an object").remove("key");
        assert_eq!(found, expected, "{key}");
    }
    let su = of(&policies, "su");
    assert_eq!(value(su, "login.require_groups")["value"], json!(["wheel", "adm"]));
    assert_eq!(value(su, "login.missing")["line"], 7);
    assert_eq!(value(su, "password")["value"], "stack");
    let text = world.onetimectl(&["config", "show"]).ok();
    assert!(
        text.contains("(/etc/pam.d/common:2)\n") && text.contains("onetime.toml:7\n"),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colour where no terminal is: {text}");
}

#[test]
fn config_show_says_where_every_login_is_refused_and_still_shows_the_others() {
    let world = installed();
    world.pam_service("su", "auth required pam_onetime.so windwo=3\n");
    let run = world.onetimectl(&["config", "show"]);
    assert_ends(&run, 1, "every login is refused: argument windwo: unknown");
    assert!(run.stdout.contains("sshd"), "{}", run.text());
    let policies = shown(&world);
    let su = of(&policies, "su");
    assert_eq!((&su["values"], &su["error"]), (&Value::Null, &json!("argument windwo: unknown")));
    assert_eq!(su["version"], 1);
    world.pam_service("su", "auth required pam_onetime.so config=/nowhere\n");
    let error = of(&shown(&world), "su")["error"].clone();
    let error = error.as_str().expect("a reason");
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(error.ends_with("(put it back, or correct the path)"), "{error}");
}

#[test]
fn config_check_reports_every_fault_of_a_file_that_is_not_in_its_place_to_anybody() {
    let world = installed();
    let text = "[login]\nmissing = \"dney\"\n\necho = 1\n[loign]\n[limits]\nmax_lockout = 3\n";
    world.write("/home/alice/new.toml", text.as_bytes(), 0o666);
    let mut command = world.command_as("alice", "onetimectl");
    let run = finish(command.args(["config", "check", "/home/alice/new.toml"]), b"");
    let lines: Vec<_> = run.stdout.lines().filter_map(|it| it.split(": ").next()).collect();
    let expected = [2, 4, 5, 7].map(|line| format!("/home/alice/new.toml:{line}"));
    assert_eq!((lines, run.status.code()), (expected.iter().map(|it| &**it).collect(), Some(1)));
    let faults = world.onetimectl(&["--json", "config", "check", "/home/alice/new.toml"]);
    let fault = &faults.json::<Value>()[1];
    assert_eq!((&fault["line"], &fault["version"]), (&json!(4), &json!(1)));
    assert_ends(&world.onetimectl(&["config", "check"]), 0, "/etc/onetime/onetime.toml: sound");
    assert_ends(&world.onetimectl(&["config", "check", "/nowhere"]), 1, "cannot open /nowhere");
}
