//! A state as bytes: two slots, each a whole snapshot with sequence number,
//! generation and checksum. The newest valid slot of the record's generation
//! holds; a commit overwrites the other one in place. So a write that is torn
//! or lost leaves the old state, and nothing is allocated during a login.

use std::iter::once;

use zerocopy::little_endian::{I32, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::account::{
    Failures, Generation, MAX_HOSTS, MAX_TOKENS, RememberedHost, SpentRecovery, State, Timestamp,
    TokenState,
};
use crate::code::Step;

/// Bytes of a slot. One disk sector.
pub const SLOT_BYTES: usize = 512;
/// Where the second slot begins: in a file system block of its own, so that a
/// torn write of one cannot reach the other.
const SECOND_AT: usize = 4096;
/// Bytes from the beginning of the file to the end of the second slot.
pub(super) const BOTH_BYTES: usize = SECOND_AT + SLOT_BYTES;
/// Bytes of the file. What is not in a slot is zero.
pub(super) const FILE_BYTES: usize = 8192;
/// The sequence number of a state that has none before it.
pub(super) const FIRST_SEQUENCE: u64 = 1;

const MAGIC: [u8; 8] = *b"OTSTATE\x01";

/// Where a file says that it stands in for another: after the first slot, in a sector of
/// its own.
pub(super) const LINK_AT: u64 = SLOT_BYTES as u64;
/// Bytes of that. All zero if it stands in for none.
pub(super) const LINK_BYTES: usize = 16;
const LINK_MAGIC: [u8; 8] = *b"OTSTAND\x01";

/// What a file stands in for: the file that it has displaced, by the number in whose name
/// it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link(pub(super) [u8; 8]);

/// The beginning of a state file.
#[derive(PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) slots: [[u8; SLOT_BYTES]; 2],
    /// Set as long as the file has no state of its own: `slots` mean nothing then.
    pub(super) link: Option<Link>,
}

/// A slot, byte for byte. The compiler refuses a layout with holes or of another size.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    checked: CheckedFields,
    /// CRC-32 of all before it.
    checksum: U32,
}

/// What the checksum covers.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct CheckedFields {
    magic: [u8; 8],
    sequence: U64,
    generation: [u8; 16],
    /// [`ACTIVATED`], [`LOGGED_IN`].
    flags: U32,
    failures: U32,
    /// Seconds since 1970, as all times here; zero without the flag.
    activated_at: U64,
    last_login: U64,
    failures_since: U64,
    locked_until: U64,
    lockouts: U64,
    tokens: [TokenLayout; MAX_TOKENS],
    recovery_set: U32,
    recovery_bits: U32,
    hosts: [HostLayout; MAX_HOSTS],
    spare: [u8; 100],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct TokenLayout {
    next: U64,
    drift: I32,
    spare: [u8; 12],
    resync: U64,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned, Clone, Copy)]
#[repr(C)]
struct HostLayout {
    key: [u8; 16],
    until: U64,
}

const _: () = assert!(size_of::<Layout>() == SLOT_BYTES);

/// There has been an activation.
const ACTIVATED: u32 = 1;
/// There has been a login with a code.
const LOGGED_IN: u32 = 2;

/// One of the two slots of a state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The one at the beginning of the file.
    First,
    /// The one in the second block.
    Second,
}

impl Slot {
    /// Its offset in the file.
    pub(super) const fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => SECOND_AT as u64,
        }
    }

    /// The slot that stays as it is while this one is overwritten.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A state as found, and where its successor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LatestState {
    pub(super) state: State,
    /// The slot to overwrite.
    pub(super) spare: Slot,
    /// The sequence number to write there.
    pub(super) sequence: u64,
}

/// Finds the newest valid slot of `generation` among both.
///
/// # Errors
/// What is wrong, in words: a state is never read as "fresh".
pub(super) fn latest(
    slots: &[[u8; SLOT_BYTES]; 2],
    generation: Generation,
) -> Result<LatestState, &'static str> {
    let [first, second] = slots;
    let mut newest_first = [(Slot::Second, second), (Slot::First, first)];
    if claimed_sequence(first) > claimed_sequence(second) {
        newest_first.reverse();
    }
    // Mostly the newest one answers, and the other need not be looked at.
    let mut valid =
        newest_first.into_iter().filter_map(|(slot, bytes)| Some((slot, decode(bytes)?)));
    let newest = valid.next().ok_or("the state is damaged: neither slot is valid")?;
    let (_, (newest_of_all, _)) = newest;
    once(newest)
        .chain(valid)
        .find(|(_, (_, state))| state.generation == generation)
        .map(|(slot, (_, state))| LatestState {
            state,
            spare: slot.other(),
            sequence: newest_of_all.saturating_add(1),
        })
        .ok_or("the state belongs to another issue of this account")
}

/// The sequence number that a slot has if it is valid.
fn claimed_sequence(slot: &[u8; SLOT_BYTES]) -> u64 {
    let Layout { checked, .. }: &Layout = zerocopy::transmute_ref!(slot);
    checked.sequence.get()
}

/// A whole file that holds this snapshot and nothing else.
pub(super) fn new_file(snapshot: &[u8; SLOT_BYTES]) -> Vec<u8> {
    let mut file = snapshot.to_vec();
    file.resize(FILE_BYTES, 0);
    file
}

/// A whole file that only says for which one it stands in.
pub(super) fn stand_in(link: Link) -> Vec<u8> {
    let mut file = vec![0; SLOT_BYTES];
    file.extend(LINK_MAGIC);
    file.extend(link.0);
    file.resize(FILE_BYTES, 0);
    file
}

/// What is in the beginning of a file.
pub(super) fn beginning(bytes: &[u8; BOTH_BYTES]) -> Beginning {
    #[derive(FromBytes, Immutable, KnownLayout)]
    #[repr(C)]
    struct Parts {
        first: [u8; SLOT_BYTES],
        link_magic: [u8; 8],
        link: [u8; 8],
        between: [u8; SECOND_AT - SLOT_BYTES - LINK_BYTES],
        second: [u8; SLOT_BYTES],
    }
    let Parts { first, link_magic, link, second, .. }: &Parts = zerocopy::transmute_ref!(bytes);
    let link = (*link_magic == LINK_MAGIC).then_some(Link(*link));
    Beginning { slots: [*first, *second], link }
}

/// The bytes of a slot.
pub(super) fn encode(sequence: u64, state: &State) -> [u8; SLOT_BYTES] {
    let State { generation, activated_at, last_login, failures, tokens, recovery, hosts } = *state;
    let flag = |time: Option<Timestamp>, bit| if time.is_some() { bit } else { 0 };
    let time = |time: Option<Timestamp>| U64::new(time.unwrap_or_default().0);
    let checked = CheckedFields {
        magic: MAGIC,
        sequence: U64::new(sequence),
        generation: generation.0,
        flags: U32::new(flag(activated_at, ACTIVATED) | flag(last_login, LOGGED_IN)),
        failures: U32::new(failures.count),
        activated_at: time(activated_at),
        last_login: time(last_login),
        failures_since: U64::new(failures.since.0),
        locked_until: U64::new(failures.locked_until.0),
        lockouts: U64::new(failures.lockouts.into()),
        tokens: tokens.map(|TokenState { next, drift, resync }| TokenLayout {
            next: U64::new(next.0),
            drift: I32::new(drift),
            spare: [0; 12],
            resync: U64::new(resync.0),
        }),
        recovery_set: U32::new(recovery.set),
        recovery_bits: U32::new(recovery.bits.into()),
        hosts: hosts
            .map(|RememberedHost { key, until }| HostLayout { key, until: U64::new(until.0) }),
        spare: [0; 100],
    };
    let checksum = U32::new(super::checksum(checked.as_bytes()));
    zerocopy::transmute!(Layout { checked, checksum })
}

/// Sequence number and state of a valid slot: magic and checksum are right,
/// and every byte is one that [`encode`] writes.
fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, State)> {
    let Layout { checked, .. }: &Layout = zerocopy::transmute_ref!(slot);
    let flags = checked.flags.get();
    let time = |time: U64, flag| (flags & flag != 0).then_some(Timestamp(time.get()));
    let state = State {
        generation: Generation(checked.generation),
        activated_at: time(checked.activated_at, ACTIVATED),
        last_login: time(checked.last_login, LOGGED_IN),
        failures: Failures {
            count: checked.failures.get(),
            since: Timestamp(checked.failures_since.get()),
            lockouts: u32::try_from(checked.lockouts.get()).ok()?,
            locked_until: Timestamp(checked.locked_until.get()),
        },
        tokens: checked.tokens.map(|token| TokenState {
            next: Step(token.next.get()),
            drift: token.drift.get(),
            resync: Step(token.resync.get()),
        }),
        recovery: SpentRecovery {
            set: checked.recovery_set.get(),
            bits: u16::try_from(checked.recovery_bits.get()).ok()?,
        },
        hosts: checked
            .hosts
            .map(|host| RememberedHost { key: host.key, until: Timestamp(host.until.get()) }),
    };
    let sequence = checked.sequence.get();
    (encode(sequence, &state) == *slot).then_some((sequence, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::TokenId;
    use proptest::prelude::*;

    /// Every byte is tried; by Miri, which is slow, one in 64.
    const STRIDE: usize = if cfg!(miri) { 64 } else { 1 };
    const OURS: Generation = Generation([1; 16]);
    const OTHER: Generation = Generation([2; 16]);

    fn state(generation: Generation, next: u64) -> State {
        State::fresh(generation)
            .with_token(TokenId::FIRST, TokenState { next: Step(next), ..TokenState::default() })
    }

    fn slots(first: Option<(u64, State)>, second: Option<(u64, State)>) -> [[u8; SLOT_BYTES]; 2] {
        [first, second].map(|content| match content {
            Some((sequence, state)) => encode(sequence, &state),
            None => [0; SLOT_BYTES],
        })
    }

    #[test]
    fn the_newest_slot_holds_and_the_other_one_is_overwritten() {
        for (first, second, spare) in
            [(5, 6, Slot::First), (6, 5, Slot::Second), (6, 6, Slot::First)]
        {
            let slots =
                slots(Some((first, state(OURS, first))), Some((second, state(OURS, second))));
            let holding = LatestState { state: state(OURS, 6), spare, sequence: 7 };
            assert_eq!(latest(&slots, OURS), Ok(holding));
        }
    }

    #[test]
    fn while_an_account_is_issued_anew_the_slot_of_the_record_in_force_holds() {
        let slots = slots(Some((7, State::fresh(OTHER))), Some((6, state(OURS, 6))));
        let old = LatestState { state: state(OURS, 6), spare: Slot::First, sequence: 8 };
        assert_eq!(latest(&slots, OURS), Ok(old));
        let new = LatestState { state: State::fresh(OTHER), spare: Slot::Second, sequence: 8 };
        assert_eq!(latest(&slots, OTHER), Ok(new));
    }

    #[test]
    fn a_torn_commit_leaves_the_old_state() {
        let old = slots(Some((6, state(OURS, 6))), None);
        let new = slots(Some((6, state(OURS, 6))), Some((7, state(OURS, 7))));
        for torn_at in (0..=SLOT_BYTES).step_by(STRIDE) {
            let mut torn = old;
            torn[1][..torn_at].copy_from_slice(&new[1][..torn_at]);
            let next = latest(&torn, OURS).unwrap().state.token(TokenId::FIRST).next;
            assert_eq!(next, Step(if torn_at == SLOT_BYTES { 7 } else { 6 }), "{torn_at}");
        }
    }

    #[test]
    fn damaged_and_foreign_states_are_never_read_as_fresh() {
        let good = slots(Some((6, state(OURS, 6))), None);
        assert!(latest(&[[0; SLOT_BYTES]; 2], OURS).is_err());
        assert!(latest(&good, OTHER).is_err());
        for index in (0..SLOT_BYTES).step_by(STRIDE) {
            for bit in 0..8 {
                let mut damaged = good;
                damaged[0][index] ^= 1 << bit;
                assert!(latest(&damaged, OURS).is_err(), "byte {index} bit {bit}");
            }
        }
    }

    #[test]
    fn a_slot_with_a_right_checksum_but_bytes_of_another_version_is_refused() {
        let mut slot = encode(6, &state(OURS, 6));
        slot[SLOT_BYTES - 5] = 1;
        let checksum = crate::store::checksum(&slot[..SLOT_BYTES - 4]).to_le_bytes();
        slot[SLOT_BYTES - 4..].copy_from_slice(&checksum);
        assert_eq!(decode(&slot), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_state_comes_back_as_it_was(
            generation: [u8; 16], sequence: u64, activated: Option<u64>, login: Option<u64>,
            count: u32, since: u64, lockouts: u32, until: u64, tokens: [(u64, i32, u64); 4],
            recovery: (u32, u16), hosts: [([u8; 16], u64); 8],
        ) {
            let mut state = State {
                activated_at: activated.map(Timestamp),
                last_login: login.map(Timestamp),
                failures: Failures {
                    count, lockouts, since: Timestamp(since), locked_until: Timestamp(until),
                },
                ..State::fresh(Generation(generation))
            };
            for (id, (next, drift, resync)) in TokenId::all().zip(tokens) {
                let token = TokenState { next: Step(next), drift, resync: Step(resync) };
                state = state.with_token(id, token);
            }
            (state.recovery.set, state.recovery.bits) = recovery;
            state.hosts = hosts.map(|(key, until)| RememberedHost { key, until: Timestamp(until) });
            prop_assert_eq!(decode(&encode(sequence, &state)), Some((sequence, state)));
        }
    }
}
