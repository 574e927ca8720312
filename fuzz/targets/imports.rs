//! Files of other programs, as onetimectl import reads them. A token that is accepted
//! fits a record, and as an otpauth URI is the same token again; what is refused is told
//! in one line with its number, and quotes nothing that could be a secret.
#![no_main]

#[allow(dead_code)]
#[path = "../../src/bin/onetimectl/moving/import/formats/mod.rs"]
mod formats;

use formats::{Found, Imported, Malformed, google, oath, otpauth, pskc};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use pam_onetime::account::UserName;
use pam_onetime::code::Kind;
use pam_onetime::config::is_issuer;
use pam_onetime::enrollment::Enrollment;
use pam_onetime::login::{Invitation, PasswordProof};
use pam_onetime::store::fuzzing::{read_record, write_record};
use pam_onetime_fuzz::record;

fuzz_target!(|text: &str| {
    let one = google::parse(text).map(|found| vec![Imported { user: None, found: Ok(found) }]);
    for all in [one, oath::parse(text, &TimeZone::UTC), otpauth::parse(text), pskc::parse(text)] {
        match all {
            Ok(all) => all.into_iter().for_each(|imported| accepted(imported, text)),
            Err(error) => refused(&error, text),
        }
    }
});

fn refused(Malformed { line, what }: &Malformed, text: &str) {
    assert!((1..=text.lines().count() + 1).contains(line), "line {line}");
    assert!(what.len() < 160 && !what.contains(|c: char| c.is_control()), "{what}");
    for word in what.split(|c: char| !c.is_ascii_alphanumeric()) {
        assert!(word.len() < 16 || word.parse::<u64>().is_ok(), "is it a secret? {what}");
    }
}

fn accepted(Imported { user, found }: Imported, text: &str) {
    let Found { token, state, issuer, left, warnings } = match found {
        Ok(found) => found,
        Err(error) => return refused(&error, text),
    };
    for note in left.iter().chain(&warnings) {
        assert!(!note.contains(|c: char| c.is_control()), "{note}");
    }
    let mut record = record([token.clone()]);
    if let Some(user) = user.and_then(|user| UserName::new(user).ok()) {
        record.user = user;
    }
    if let Some(issuer) = issuer.filter(|issuer| is_issuer(issuer)) {
        record.issuer = issuer;
    }
    let written = write_record(&record).expect("what was read can be written");
    assert_eq!(read_record(&written).as_ref(), Ok(&record));

    let invitation = Invitation::new(&record, &PasswordProof::by_administrator());
    let uri = Enrollment::of(&invitation).next().expect("one token").uri_from(state.next);
    let again = otpauth::parse(&uri).expect("our own URI").pop().expect("one");
    let again = again.found.expect("our own token");
    assert_eq!(again.token, token);
    if token.kind == Kind::Hotp {
        assert_eq!(again.state.next, state.next);
    }
}
