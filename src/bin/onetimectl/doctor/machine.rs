//! Judges the rest of the machine: clock, syslog, SELinux. Values in, findings
//! out.

use pam_onetime::ClockSync;
use pam_onetime::account::Timestamp;

use super::finding::{Finding, FindingId, NameList};

/// 2026 and 2100 begin.
const PLAUSIBLE: std::ops::Range<u64> = 1_767_225_600..4_102_444_800;

/// What is known of the clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// `None`: before 1970.
    pub(crate) now: Option<Timestamp>,
    /// What the kernel says.
    pub(crate) kernel: Option<ClockSync>,
    /// Whether systemd-timesyncd says that it has set it.
    pub(crate) timesyncd: bool,
}

pub(crate) fn judge_clock(clock: Clock) -> Finding {
    let Clock { now, kernel, timesyncd } = clock;
    if !now.is_some_and(|now| PLAUSIBLE.contains(&now.0)) {
        let what = "the clock is far off: no time-based code is right";
        return Finding::new(FindingId::ClockFarOff, what, "set the clock, and run an NTP client");
    }
    let remedy = "run an NTP client (systemd-timesyncd, chrony): codes last 30 seconds";
    match kernel {
        Some(ClockSync::Yes) => Finding::sound(FindingId::ClockSynchronized, "synchronized"),
        // In some containers the kernel does not say.
        _ if timesyncd => {
            Finding::sound(FindingId::ClockSynchronized, "synchronized by systemd-timesyncd")
        }
        Some(ClockSync::No) => {
            Finding::new(FindingId::ClockUnsynchronized, "nothing keeps the clock right", remedy)
        }
        None => Finding::new(
            FindingId::ClockUnknown,
            "it is not known whether the clock is right",
            remedy,
        ),
    }
}

/// What is at /dev/log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// A daemon takes lines there.
    Listening,
    /// A socket whose daemon has gone or is stuck.
    Silent,
    Other,
    Nothing,
}

pub(crate) fn judge_log(log: Log) -> Finding {
    let what = match log {
        Log::Listening => {
            return Finding::sound(FindingId::SyslogListens, "a daemon listens at /dev/log");
        }
        Log::Silent => "nobody listens at /dev/log: logins are not logged",
        Log::Other => "/dev/log is not a socket: logins are not logged",
        Log::Nothing => "/dev/log is not there: logins are not logged",
    };
    Finding::new(FindingId::SyslogMissing, what, "run a syslog daemon or systemd-journald")
}

/// What is known of SELinux.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selinux<'a> {
    /// The text of /sys/fs/selinux/enforce, if there is one.
    pub(crate) enforce: Option<&'a str>,
    /// The label of the store.
    pub(crate) label: Option<&'a str>,
    /// The end of the audit log.
    pub(crate) audit: Option<&'a str>,
}

pub(crate) fn judge_selinux(selinux: Selinux<'_>) -> Vec<Finding> {
    match selinux.enforce.map(str::trim) {
        None => return vec![Finding::sound(FindingId::SelinuxOff, "not in use")],
        Some("1") => {}
        Some(_) => return vec![Finding::sound(FindingId::SelinuxOff, "not enforcing")],
    }
    let mut found = Vec::new();
    // user:role:type:level
    let kind = selinux.label.map(|label| label.trim_end_matches('\0').split(':').nth(2));
    match kind.flatten() {
        Some("var_lib_t" | "unlabeled_t" | "default_t" | "file_t" | "") | None => {
            let what = "enforcing, and the store has no label of its own: \
                        some services may not read it";
            let remedy = "give it one (semanage fcontext, restorecon), and look for denials: \
                          ausearch -m avc -c sshd";
            found.push(Finding::new(FindingId::SelinuxUnlabelled, what, remedy));
        }
        Some(_) => {}
    }
    let denied = denials(selinux.audit.unwrap_or_default());
    if !denied.is_empty() {
        let what = format!("enforcing, and it has denied an access of pam_onetime: {denied}");
        let remedy = "audit2allow shows what is missing: ausearch -m avc | grep onetime";
        found.push(Finding::new(FindingId::SelinuxDenials, what, remedy));
    }
    if found.is_empty() {
        found.push(Finding::sound(FindingId::SelinuxSound, "enforcing, and the store has a label"));
    }
    found
}

/// Which programs were denied what, as far as it is ours.
fn denials(audit: &str) -> NameList {
    let ours = audit.lines().filter(|line| {
        line.contains("avc:") && line.contains("denied") && line.contains("onetime")
    });
    let mut seen = std::collections::BTreeSet::new();
    let mut names = NameList::default();
    for line in ours {
        let program = line.split_once("comm=\"").and_then(|(_, rest)| rest.split_once('"'));
        let program = program.map_or("?", |(program, _)| program);
        if seen.len() < 100 && seen.insert(program) {
            names.add(program);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use FindingId::*;

    #[test]
    fn a_clock_is_right_if_something_says_so() {
        let good = Some(Timestamp(1_800_000_000));
        for (now, kernel, timesyncd, id) in [
            (good, Some(ClockSync::Yes), false, ClockSynchronized),
            (good, Some(ClockSync::No), true, ClockSynchronized),
            (good, Some(ClockSync::No), false, ClockUnsynchronized),
            (good, None, false, ClockUnknown),
            (good, None, true, ClockSynchronized),
            (Some(Timestamp(0)), Some(ClockSync::Yes), true, ClockFarOff),
            (Some(Timestamp(u64::MAX)), Some(ClockSync::Yes), true, ClockFarOff),
            (None, None, false, ClockFarOff),
        ] {
            let clock = Clock { now, kernel, timesyncd };
            assert_eq!(judge_clock(clock).id, id, "{clock:?}");
        }
    }

    #[test]
    fn logins_are_logged_only_where_a_daemon_listens() {
        let ids = [Log::Listening, Log::Silent, Log::Other, Log::Nothing];
        let ids = ids.map(|log| judge_log(log).id);
        assert_eq!(ids, [SyslogListens, SyslogMissing, SyslogMissing, SyslogMissing]);
    }

    #[test]
    fn selinux_matters_when_it_enforces() {
        let denial = "type=AVC msg=audit(1.2:3): avc:  denied  { read } for  pid=1 comm=\"sshd\" \
                      name=\"alice\" path=\"/var/lib/onetime/state/alice\"\n";
        let (own, common) = (Some("system_u:object_r:onetime_t:s0\0"), Some("a:b:var_lib_t:s0"));
        let one = Some("1\n");
        for (enforce, label, audit, ids) in [
            (None, None, denial, &[SelinuxOff][..]),
            (Some("0"), common, denial, &[SelinuxOff]),
            (one, own, "", &[SelinuxSound]),
            (one, common, "", &[SelinuxUnlabelled]),
            (one, None, "", &[SelinuxUnlabelled]),
            (one, own, denial, &[SelinuxDenials]),
            (one, common, denial, &[SelinuxUnlabelled, SelinuxDenials]),
        ] {
            let found = judge_selinux(Selinux { enforce, label, audit: Some(audit) });
            let found: Vec<_> = found.into_iter().map(|finding| finding.id).collect();
            assert_eq!(found, ids, "{enforce:?} {label:?}");
        }
        let found = judge_selinux(Selinux { enforce: one, label: own, audit: Some(denial) });
        assert!(found[0].what.ends_with("sshd"), "{found:?}");
        let other = denial.replace("onetime", "something");
        assert!(denials(&other).is_empty());
    }
}
