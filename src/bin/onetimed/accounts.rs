//! The store, as far as who asks may use it: what comes through a service's account counts
//! against that account's own limit.

use pam_onetime::account::{Account, Recovery, UserName};
use pam_onetime::callers::Asker;
use pam_onetime::login::ports::{Accounts, Addition};
use pam_onetime::login::{Judgement, Verdict};
use pam_onetime::store::{AccountSnapshot, LogError, Store};

/// The accounts of a login, for whoever asks for it.
pub(crate) struct AccountsOf {
    pub(crate) store: Store,
    pub(crate) asker: Asker,
    /// The name of the account that asks.
    pub(crate) name: String,
}

impl Accounts for AccountsOf {
    type Error = LogError;
    type Snapshot = AccountSnapshot;

    fn load(&self, user: &UserName, uid: u32) -> Result<Option<AccountSnapshot>, LogError> {
        Accounts::load(&self.store, user, uid)
    }

    fn update(
        &self,
        user: &UserName,
        uid: u32,
        known: Option<&AccountSnapshot>,
        judge: impl FnMut(Option<&Account>) -> Judgement,
    ) -> Result<Verdict, LogError> {
        match self.asker {
            Asker::Root | Asker::User => Accounts::update(&self.store, user, uid, known, judge),
            Asker::Service => {
                Ok(self.store.update_at_service(&self.name, user, uid, known, judge)?)
            }
        }
    }

    fn enroll(&self, account: &Account) -> Result<(), LogError> {
        Accounts::enroll(&self.store, account)
    }

    fn add_recovery(&self, user: &UserName, recovery: Recovery) -> Result<Addition, LogError> {
        Accounts::add_recovery(&self.store, user, recovery)
    }

    fn take_overs(&self) -> Vec<String> {
        Accounts::take_overs(&self.store)
    }
}
