//! How a login ends for whoever has asked for it.

use std::time::Duration;

use pam_onetime::audit::Subject;
use pam_onetime::authenticate::{Host, Machine};
use pam_onetime::callers::Asker;
use pam_onetime::conclusion::{self, Conclusion, Trouble};
use pam_onetime::login::AccountVerdict;
use pam_onetime::relay::{End, Step};
use pam_onetime::system;

use crate::door::SocketDoor;
use crate::talk::Talk;

/// The most that is waited after a failure.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Says how a login has ended, and when those may know it who need not wait.
pub(crate) fn end(door: SocketDoor<'_>, conclusion: Conclusion, asker: Asker) {
    let delay = door.delay();
    if conclusion.is_admission() || asker.is_believed() {
        return door.end(conclusion, delay);
    }
    // Others need not wait, if it is left to them.
    let delay = Duration::from_micros(delay.into()).min(LONGEST_DELAY);
    Machine.wait_until(Machine.uptime().saturating_add(delay));
    door.end(conclusion, 0);
}

/// Ends a login before it is known whether its user is one.
pub(crate) fn give_up(talk: &mut Talk, trouble: Trouble, mut subject: Subject, given: &str) {
    subject.user = system::name_for_log(given);
    let conclusion = conclusion::conclude(Err(trouble), &subject);
    let end = End::new(conclusion, AccountVerdict::Valid, 0);
    let _gone = talk.say(Step { end: Some(end), ..Step::default() }).is_err();
}
