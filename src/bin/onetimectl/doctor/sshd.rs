//! What sshd_config makes of the module: whether sshd asks PAM at all, and in a
//! way in which a code can be asked for.

use super::Finding;

/// The pattern of an Include line.
pub(super) fn included(line: &str) -> Option<String> {
    let (key, value) = split(line)?;
    (key == "include").then(|| value.to_owned())
}

fn split(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    let at = line.find([' ', '\t', '='])?;
    let (key, value) = line.split_at_checked(at)?;
    let value = value.trim_matches([' ', '\t', '=', '"']);
    (!line.starts_with('#') && !value.is_empty()).then(|| (key.to_lowercase(), value))
}

/// The first value of a key before any Match block: the one that counts.
fn first<'a>(config: &'a str, keys: &[&str]) -> Option<&'a str> {
    let global = config.lines().filter_map(split).take_while(|(key, _)| key != "match");
    global.into_iter().find(|(key, _)| keys.contains(&key.as_str())).map(|(_, value)| value)
}

/// Checks sshd's configuration against the password modes of pam.d/sshd.
pub(super) fn check(config: &Option<String>, modes: &[String]) -> Vec<Finding> {
    let name = "sshd_config";
    let Some(config) = config else {
        return vec![Finding::warn(name, "cannot be read", "check by hand that sshd asks PAM")];
    };
    let mut findings = Vec::new();
    let is = |keys: &[&str], value: &str| {
        first(config, keys).is_some_and(|found| found.eq_ignore_ascii_case(value))
    };
    if !is(&["usepam"], "yes") {
        findings.push(Finding::fail(name, "UsePAM is not yes: sshd never asks PAM", "UsePAM yes"));
    }
    if is(&["kbdinteractiveauthentication", "challengeresponseauthentication"], "no") {
        findings.push(Finding::fail(
            name,
            "KbdInteractiveAuthentication is no: a code can never be asked for",
            "KbdInteractiveAuthentication yes",
        ));
    }
    if !is(&["passwordauthentication"], "no") {
        findings.push(Finding::warn(
            name,
            "PasswordAuthentication is not no: it answers the code prompt with the password, so enabled users fail by it",
            "PasswordAuthentication no",
        ));
    }
    let methods = first(config, &["authenticationmethods"]).unwrap_or("any");
    let both = |list: &str| {
        list.split(',').any(|m| m.starts_with("publickey")) && list.contains("keyboard-interactive")
    };
    if modes.iter().any(|mode| mode == "none") && !methods.split_whitespace().all(both) {
        findings.push(Finding::fail(
            name,
            format!("pam.d/sshd has password=none, but AuthenticationMethods is {methods}: a code alone, or nothing at all, lets in"),
            "AuthenticationMethods publickey,keyboard-interactive",
        ));
    }
    if config.lines().filter_map(split).any(|(key, _)| key == "match") {
        findings.push(Finding::warn(
            name,
            "has Match blocks, which may say otherwise for some users",
            "look at them: sshd -T -C user=NAME,host=HOST,addr=ADDRESS",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(name, "sshd asks PAM, and a code can be asked for"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(config: &str, mode: &str) -> String {
        let findings = check(&Some(config.to_owned()), &[mode.to_owned()]);
        findings.into_iter().map(|finding| finding.what + "\n").collect()
    }

    const GOOD: &str = "UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no\n";

    #[test]
    fn what_readme_says_is_well() {
        assert!(said(GOOD, "verify").contains("sshd asks PAM"));
        let keys = format!("{GOOD}AuthenticationMethods publickey,keyboard-interactive:pam\n");
        assert!(said(&keys, "none").contains("sshd asks PAM"));
    }

    #[test]
    fn faults_are_named() {
        for (config, mode, named) in [
            ("", "verify", "UsePAM is not yes"),
            ("#UsePAM yes\nusepam no\n", "verify", "UsePAM is not yes"),
            ("UsePAM=yes\nChallengeResponseAuthentication no\n", "verify", "never be asked for"),
            ("UsePAM yes\n", "verify", "PasswordAuthentication is not no"),
            (
                "PasswordAuthentication yes\nPasswordAuthentication no\n",
                "verify",
                "PasswordAuthentication is not no",
            ),
            (GOOD, "none", "a code alone, or nothing at all"),
            (
                "AuthenticationMethods publickey,keyboard-interactive password\n",
                "none",
                "a code alone",
            ),
            ("Match User x\n  UsePAM yes\n", "verify", "UsePAM is not yes"),
            ("Match User x\n  PasswordAuthentication yes\n", "verify", "Match blocks"),
        ] {
            assert!(said(config, mode).contains(named), "{config}: {}", said(config, mode));
        }
    }
}
