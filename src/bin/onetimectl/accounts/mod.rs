//! One account after the other: issued, shown, changed, taken away. One file a verb.

pub(crate) mod disable;
pub(crate) mod enable;
pub(crate) mod init;
pub(crate) mod rebind;
pub(crate) mod rename;
pub(crate) mod repair;
pub(crate) mod report;
pub(crate) mod resync;
pub(crate) mod status;
mod table;
pub(crate) mod token;
pub(crate) mod unlock;
pub(crate) mod verify;
