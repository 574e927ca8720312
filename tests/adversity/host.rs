//! A host process that lives long: libpam loads the module at each login and unloads
//! it after it, and nothing of a login stays behind in the process.

use std::fs;

use crate::common::{
    ALICE_PASSWORD, BOB_PASSWORD, Figures, Host, Phone, activate, current_code, enable, extent,
    hasty, secret, since_epoch,
};

/// What a process has.
#[derive(Debug, Clone, Copy)]
struct Footprint {
    descriptors: usize,
    mappings: usize,
    threads: u64,
    /// KiB.
    resident: u64,
}

impl Footprint {
    fn of(host: &Host) -> Self {
        let status = host.proc("status");
        let number = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let word = line.and_then(|rest| rest.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {key} {status}"))
        };
        let descriptors = fs::read_dir(format!("/proc/{}/fd", host.id())).expect("it lives");
        Self {
            descriptors: descriptors.count(),
            mappings: host.proc("maps").lines().count(),
            threads: number("Threads:"),
            resident: number("VmRSS:"),
        }
    }
}

fn module_is_mapped(host: &Host) -> bool {
    host.proc("maps").contains("pam_onetime.so")
}

#[test]
fn a_hundred_thousand_logins_leave_nothing_behind_in_their_process() {
    let world = hasty();
    world.write("/etc/onetime/onetime.toml", b"[limits]\nfailures = 0\n", 0o644);
    let key = "auth required pam_onetime.so password=none\nauth required pam_permit.so\n";
    world.pam_service("key", key);
    world.pam_service("broken", "auth required pam_onetime.so passwort=none\n");
    let alice = Phone::new(&activate(&world, "alice"));
    enable(&world, "bob");
    let mut host = Host::new(&world);
    // Half an hour from now, so that no code has been used.
    let begin = since_epoch().as_secs() / 30 + 60;
    let mut cycle = |step: u64| {
        let time = i64::try_from(step * 30).ok();
        let mut login = |service: &str, user: &str, answers: &[&str], result: i32| {
            assert_eq!(host.login(time, service, user, answers), result, "{user} by {service}");
            assert!(!module_is_mapped(&host), "still loaded after {user} by {service}");
        };
        let code = alice.code(step);
        login("key", "alice", &[&code], 0);
        login("key", "alice", &[&code], 7);
        login("key", "alice", &["000000x"], 7);
        login("sshd", "alice", &[ALICE_PASSWORD, &alice.code(step + 1)], 0);
        // Pending: a QR code is drawn, and skipped.
        login("sshd", "bob", &[BOB_PASSWORD, ""], 0);
        login("key", "carol", &[], 0);
        login("key", "nobody-knows", &[], 7);
        login("broken", "alice", &[], 3);
        Footprint::of(&host)
    };
    let cycles = extent(375, 12_500);
    let footprints: Vec<_> = (0..cycles).map(|nth| cycle(begin + 3 * nth)).collect();
    // By then every module has been loaded that loads others for good.
    let warm = footprints.len() / 10;
    let (first, last) = (footprints[warm], footprints[footprints.len() - 1]);
    let mut figures = Figures::new("host", &["", "after a tenth of the logins", "at the end"]);
    figures.row(&[&"logins", &(8 * warm), &(8 * footprints.len())]);
    figures.row(&[&"descriptors", &first.descriptors, &last.descriptors]);
    figures.row(&[&"mappings", &first.mappings, &last.mappings]);
    figures.row(&[&"threads", &first.threads, &last.threads]);
    figures.row(&[&"resident memory, KiB", &first.resident, &last.resident]);
    figures.publish();
    for footprint in &footprints[warm..] {
        assert_eq!(footprint.descriptors, first.descriptors, "{footprint:?}");
        assert_eq!(footprint.mappings, first.mappings, "{footprint:?}");
        assert_eq!(footprint.threads, 1, "{footprint:?}");
        // A word lost by each login would be more, in the long form.
        assert!(footprint.resident <= first.resident + 256, "{footprint:?}, first {first:?}");
    }
}

#[test]
fn a_thread_that_has_logged_in_ends_like_any_other() {
    let world = hasty();
    // With all that is issued at a login: a record, and recovery codes.
    let stack = "auth required pam_onetime.so password=none missing=enrol recovery_codes=3 \
                 show_without_password=true\nauth required pam_permit.so\n";
    world.pam_service("issue", stack);
    let mut host = Host::new(&world);
    for nth in 0..extent(20, 600) {
        world.remove("/var/lib/onetime/users");
        world.onetimectl(&["init"]).ok();
        let mut threads = |count: u32, answers: &[&str], result: i32| {
            let line = format!("threads {count} 1 issue alice {}", answers.join(" "));
            let results = vec![result; count as usize];
            assert_eq!(host.tell(&line), Some(results), "{nth}: {answers:?}");
            assert!(!module_is_mapped(&host), "{nth}: {answers:?}");
        };
        threads(2, &[""], 0);
        let code = current_code(&secret(&world, "alice"), 0);
        threads(1, &[&code], 0);
        threads(2, &[&code], 7);
    }
    assert!(host.end().success());
}
