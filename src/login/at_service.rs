//! The verdict on an answer that comes through a service's account (`may_ask`). Wrong codes
//! count against that account's own limit with the user: whoever breaks into it cannot lock
//! everybody out everywhere.

use super::{Judgement, Refusal, Verdict};
use crate::account::{Account, Failures};

/// A [`Judgement`], and what the service's account has failed with the user from now on.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceJudgement {
    /// The verdict. The user's own failures are in its state as they were.
    pub judgement: Judgement,
    /// To be durable before the verdict is used; `None`: nothing is to be written.
    pub failures: Option<Failures>,
}

/// Judges as `judge` does, but by what the service's account has failed with the user. While
/// the user's own account is locked, that is the verdict here too. `judge` is called twice.
pub fn judge_at_service(
    account: &Account,
    failures: Failures,
    mut judge: impl FnMut(Option<&Account>) -> Judgement,
) -> ServiceJudgement {
    let own = account.state.failures;
    let there =
        Account { record: account.record.clone(), state: account.state.with_failures(failures) };
    // Both, always: the time it takes reveals nothing.
    let (everywhere, there) = (judge(Some(account)), judge(Some(&there)));
    if matches!(everywhere.verdict, Verdict::Refused(Refusal::LockedOut { .. })) {
        // Written, so that this refusal takes as long as others do.
        let judgement = everywhere.with_failures(own);
        return ServiceJudgement { judgement, failures: Some(failures) };
    }
    let counted = there.next.map(|next| next.failures);
    let verdict = match there.verdict {
        Verdict::Refused(Refusal::LockedOut { until }) => {
            Verdict::Refused(Refusal::LockedAtService { until })
        }
        verdict @ (Verdict::Admitted(_)
        | Verdict::NotNeeded(_)
        | Verdict::Again(_)
        | Verdict::Refused(_)) => verdict,
    };
    let is_success = matches!(verdict, Verdict::Admitted(_));
    ServiceJudgement {
        judgement: Judgement { verdict, ..there }.with_failures(own),
        failures: counted.filter(|counted| !is_success || *counted != failures),
    }
}
