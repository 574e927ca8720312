//! The store: readable, safe, and every account in it sound.

use std::fs;
use std::path::Path;

use pam_onetime::config::Config;
use pam_onetime::store::Store;
use pam_onetime::system::{Person, now};

use super::Finding;

/// So many accounts are named; of more, the number.
const NAMED: usize = 10;
/// f_type of btrfs (statfs(2)).
const BTRFS: i64 = 0x9123_683e;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let dir = Path::new(&config.store.dir);
    let store = match Store::open(dir, Store::ROOT) {
        Ok(store) => store,
        Err(error) => {
            let remedy = "nobody can log in until it is mended";
            return vec![Finding::fail("store", error.to_string(), remedy)];
        }
    };
    let mut findings = vec![Finding::ok("store", format!("{} is safe", dir.display()))];
    findings.extend(cow(&dir.join("state")));
    findings.extend(left_behind(dir));
    findings.extend(accounts(&store));
    findings
}

/// On btrfs, writing in place allocates unless the directory says otherwise.
fn cow(state: &Path) -> Option<Finding> {
    let file = fs::File::open(state).ok()?;
    let kind = rustix::fs::fstatfs(&file).ok()?.f_type;
    let flags = rustix::fs::ioctl_getflags(&file).ok()?;
    let missing = kind == BTRFS && !flags.contains(rustix::fs::IFlags::NOCOW);
    missing.then(|| {
        Finding::warn(
            "store",
            format!("{} is on btrfs without NOCOW: logins fail on a full disk", state.display()),
            "onetimectl init sets it for new accounts; move older ones out and in again",
        )
    })
}

fn left_behind(dir: &Path) -> Option<Finding> {
    let entries = fs::read_dir(dir.join("users")).ok()?.flatten();
    let count = entries.filter(|e| e.file_name().to_string_lossy().starts_with(".new-")).count();
    (count > 0).then(|| {
        Finding::warn(
            "store",
            format!(
                "{count} files that a killed `onetimectl enable` has left: they hold unused secrets"
            ),
            "onetimectl init removes those that are older than an hour",
        )
    })
}

fn accounts(store: &Store) -> Vec<Finding> {
    let names = match store.users() {
        Ok(names) => names,
        Err(error) => return vec![Finding::fail("accounts", error.to_string(), "see the error")],
    };
    let (mut all, mut faults, mut late, mut gone) = (0_usize, Vec::new(), 0_usize, 0_usize);
    let now = now().unwrap_or_default();
    for name in names {
        all = all.saturating_add(1);
        let fault = name.and_then(|name| match Person::find(name.as_str()) {
            Ok(Some(person)) => store.load(&name, person.uid).map(|account| (account, true)),
            Ok(None) | Err(_) => store.inspect(&name).map(|account| (account, false)),
        });
        match fault {
            Ok((account, known)) => {
                let pending_too_late = account.is_some_and(|account| {
                    account.state.activated_at.is_none()
                        && account.record.deadline.is_some_and(|deadline| deadline <= now)
                });
                late = late.saturating_add(usize::from(pending_too_late));
                gone = gone.saturating_add(usize::from(!known));
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    let mut findings: Vec<_> = faults
        .iter()
        .take(NAMED)
        .map(|what| {
            Finding::fail("accounts", what.clone(), "the user cannot log in until it is mended")
        })
        .collect();
    if faults.len() > NAMED {
        let what = format!("{} more accounts are broken", faults.len().saturating_sub(NAMED));
        findings.push(Finding::fail("accounts", what, "onetimectl status names each"));
    }
    if late > 0 {
        let what = format!("{late} pending accounts are past their deadline");
        findings.push(Finding::warn(
            "accounts",
            what,
            "onetimectl enable --new-secret, or disable",
        ));
    }
    if gone > 0 {
        let what = format!("{gone} records are of users whom this system does not know");
        findings.push(Finding::warn("accounts", what, "onetimectl disable removes them"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("accounts", format!("{all} are sound")));
    }
    findings
}
