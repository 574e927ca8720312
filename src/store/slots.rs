//! A state as bytes: two slots, each a whole snapshot with sequence number,
//! generation and checksum. The newest valid slot of the record's generation
//! holds; a commit overwrites the other one in place. So a write that is torn
//! or lost leaves the old state, and nothing is allocated during a login.

use std::iter::once;

use crate::account::{Failures, Generation, RememberedHost, State, Timestamp, TokenId, TokenState};
use crate::code::Step;

/// Bytes of a slot. One disk sector.
pub(super) const SLOT_BYTES: usize = 512;
/// Where the second slot begins: in a file system block of its own, so that a
/// torn write of one cannot reach the other.
const SECOND_AT: usize = 4096;
/// Bytes from the beginning of the file to the end of the second slot.
pub(super) const BOTH_BYTES: usize = SECOND_AT + SLOT_BYTES;
/// Bytes of the file. What is not in a slot is zero.
pub(super) const FILE_BYTES: usize = 8192;

const MAGIC: [u8; 8] = *b"OTSTATE\x01";
/// What the checksum covers: all before it.
const CHECKED_BYTES: usize = SLOT_BYTES - 4;
/// Bytes of a token's place that are zero today.
const TOKEN_SPARE: usize = 12;

const ACTIVATED: u32 = 1;
const LOGGED_IN: u32 = 2;

/// Which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    First,
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

    /// The other one.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// A state as found, and where its successor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holding {
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
pub(super) fn read(
    slots: &[[u8; SLOT_BYTES]; 2],
    generation: Generation,
) -> Result<Holding, &'static str> {
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
        .map(|(slot, (_, state))| Holding {
            state,
            spare: slot.other(),
            sequence: newest_of_all.saturating_add(1),
        })
        .ok_or("the state belongs to another issue of this account")
}

/// The sequence number that a slot has if it is valid.
fn claimed_sequence(slot: &[u8; SLOT_BYTES]) -> Option<u64> {
    let mut rest = slot.get(MAGIC.len()..)?;
    number(&mut rest)
}

/// A whole file that holds `state` and nothing else.
pub(super) fn new_file(state: &State) -> Vec<u8> {
    let mut file = encode(1, state).to_vec();
    file.resize(FILE_BYTES, 0);
    file
}

/// The two slots in the beginning of a file.
pub(super) fn both(beginning: &[u8; BOTH_BYTES]) -> [[u8; SLOT_BYTES]; 2] {
    [beginning.first_chunk(), beginning.last_chunk()].map(|slot| *slot.unwrap_or(&[0; SLOT_BYTES]))
}

/// The bytes of a slot.
pub(super) fn encode(sequence: u64, state: &State) -> [u8; SLOT_BYTES] {
    let flag = |time: Option<Timestamp>, bit| if time.is_some() { bit } else { 0 };
    let flags = flag(state.activated_at, ACTIVATED) | flag(state.last_login, LOGGED_IN);
    let mut checked = [0; CHECKED_BYTES];
    let mut rest = checked.as_mut_slice();
    put(&mut rest, MAGIC);
    put(&mut rest, sequence.to_le_bytes());
    put(&mut rest, state.generation.0);
    put(&mut rest, flags.to_le_bytes());
    put(&mut rest, state.failures.count.to_le_bytes());
    for time in [
        state.activated_at.unwrap_or_default(),
        state.last_login.unwrap_or_default(),
        state.failures.since,
        state.failures.locked_until,
    ] {
        put(&mut rest, time.0.to_le_bytes());
    }
    put(&mut rest, u64::from(state.failures.lockouts).to_le_bytes());
    for id in TokenId::all() {
        let TokenState { next, drift, resync } = state.token(id);
        put(&mut rest, next.0.to_le_bytes());
        put(&mut rest, drift.to_le_bytes());
        put(&mut rest, [0; TOKEN_SPARE]);
        put(&mut rest, resync.0.to_le_bytes());
    }
    put(&mut rest, state.recovery.set.to_le_bytes());
    put(&mut rest, u32::from(state.recovery.bits).to_le_bytes());
    for host in state.hosts {
        put(&mut rest, host.key);
        put(&mut rest, host.until.0.to_le_bytes());
    }
    let mut slot = [0; SLOT_BYTES];
    let mut rest = slot.as_mut_slice();
    put(&mut rest, checked);
    put(&mut rest, super::checksum(&checked).to_le_bytes());
    slot
}

/// Room that is not taken stays zero.
fn put<const N: usize>(rest: &mut &mut [u8], field: [u8; N]) {
    if let Some((place, tail)) = std::mem::take(rest).split_first_chunk_mut() {
        *place = field;
        *rest = tail;
    }
}

/// Sequence number and state of a valid slot: magic and checksum are right,
/// and every byte is one that [`encode`] writes.
fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, State)> {
    let mut rest: &[u8] = slot;
    if take(&mut rest)? != MAGIC {
        return None;
    }
    let sequence = number(&mut rest)?;
    let generation = Generation(take(&mut rest)?);
    let flags = u32::from_le_bytes(take(&mut rest)?);
    let count = u32::from_le_bytes(take(&mut rest)?);
    let activated_at = Timestamp(number(&mut rest)?);
    let last_login = Timestamp(number(&mut rest)?);
    let since = Timestamp(number(&mut rest)?);
    let locked_until = Timestamp(number(&mut rest)?);
    let lockouts = u32::try_from(number(&mut rest)?).ok()?;
    let mut state = State {
        activated_at: (flags & ACTIVATED != 0).then_some(activated_at),
        last_login: (flags & LOGGED_IN != 0).then_some(last_login),
        failures: Failures { count, since, lockouts, locked_until },
        ..State::fresh(generation)
    };
    for id in TokenId::all() {
        let next = Step(number(&mut rest)?);
        let drift = i32::from_le_bytes(take(&mut rest)?);
        let _spare: [u8; TOKEN_SPARE] = take(&mut rest)?;
        let resync = Step(number(&mut rest)?);
        state = state.with_token(id, TokenState { next, drift, resync });
    }
    state.recovery.set = u32::from_le_bytes(take(&mut rest)?);
    state.recovery.bits = u16::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    for host in &mut state.hosts {
        *host = RememberedHost { key: take(&mut rest)?, until: Timestamp(number(&mut rest)?) };
    }
    (encode(sequence, &state) == *slot).then_some((sequence, state))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (chunk, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*chunk)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            let holding = Holding { state: state(OURS, 6), spare, sequence: 7 };
            assert_eq!(read(&slots, OURS), Ok(holding));
        }
    }

    #[test]
    fn while_an_account_is_issued_anew_the_slot_of_the_record_in_force_holds() {
        let slots = slots(Some((7, State::fresh(OTHER))), Some((6, state(OURS, 6))));
        let old = Holding { state: state(OURS, 6), spare: Slot::First, sequence: 8 };
        assert_eq!(read(&slots, OURS), Ok(old));
        let new = Holding { state: State::fresh(OTHER), spare: Slot::Second, sequence: 8 };
        assert_eq!(read(&slots, OTHER), Ok(new));
    }

    #[test]
    fn a_torn_commit_leaves_the_old_state() {
        let old = slots(Some((6, state(OURS, 6))), None);
        let new = slots(Some((6, state(OURS, 6))), Some((7, state(OURS, 7))));
        for torn_at in 0..=SLOT_BYTES {
            let mut torn = old;
            torn[1][..torn_at].copy_from_slice(&new[1][..torn_at]);
            let next = read(&torn, OURS).unwrap().state.token(TokenId::FIRST).next;
            assert_eq!(next, Step(if torn_at == SLOT_BYTES { 7 } else { 6 }), "{torn_at}");
        }
    }

    #[test]
    fn damaged_and_foreign_states_are_never_read_as_fresh() {
        let good = slots(Some((6, state(OURS, 6))), None);
        assert!(read(&[[0; SLOT_BYTES]; 2], OURS).is_err());
        assert!(read(&good, OTHER).is_err());
        for index in 0..SLOT_BYTES {
            for bit in 0..8 {
                let mut damaged = good;
                damaged[0][index] ^= 1 << bit;
                assert!(read(&damaged, OURS).is_err(), "byte {index} bit {bit}");
            }
        }
    }

    #[test]
    fn a_slot_with_a_right_checksum_but_bytes_of_another_version_is_refused() {
        let mut slot = encode(6, &state(OURS, 6));
        slot[CHECKED_BYTES - 1] = 1;
        let checksum = crate::store::checksum(&slot[..CHECKED_BYTES]).to_le_bytes();
        slot[CHECKED_BYTES..].copy_from_slice(&checksum);
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
