//! A state's two slots. What is accepted is in one of them byte for byte, with the
//! right checksum and the record's generation; a commit torn anywhere leaves the old
//! state or the new one.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use pam_onetime::account::{Generation, Timestamp};
use pam_onetime::store::fuzzing::{read_state, write_slot};

const SLOT: usize = 512;
const CHECKED: usize = SLOT - 4;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Which slots are given the right magic and checksum.
    repair: [bool; 2],
    same_generation: bool,
    torn_at: u16,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut slots = [[0; SLOT]; 2];
    let mut bytes = input.bytes.iter();
    slots.as_flattened_mut().iter_mut().zip(&mut bytes).for_each(|(to, from)| *to = *from);
    if input.same_generation {
        slots.as_flattened_mut().copy_within(16..32, SLOT + 16);
    }
    for (slot, _) in slots.iter_mut().zip(input.repair).filter(|(_, repair)| *repair) {
        slot[..8].copy_from_slice(b"OTSTATE\x01");
        let checksum = crc32fast::hash(&slot[..CHECKED]).to_le_bytes();
        slot[CHECKED..].copy_from_slice(&checksum);
    }
    for slot in &slots {
        let generation = Generation(slot[16..32].try_into().expect("16 bytes"));
        read(&slots, generation, usize::from(input.torn_at) % (SLOT + 1));
    }
});

fn read(slots: &[[u8; SLOT]; 2], generation: Generation, torn_at: usize) {
    let Ok((state, sequence, spare)) = read_state(slots, generation) else { return };
    assert_eq!(state.generation, generation);
    let slot = slots[1 - spare];
    assert_eq!(crc32fast::hash(&slot[..CHECKED]).to_le_bytes(), slot[CHECKED..]);
    let its_own = u64::from_le_bytes(slot[8..16].try_into().expect("8 bytes"));
    assert_eq!(write_slot(its_own, &state), slot);
    assert!(sequence > its_own || its_own == u64::MAX);
    if sequence == u64::MAX {
        return;
    }
    let mut next = state;
    next.last_login = Some(Timestamp(sequence));
    let commit = write_slot(sequence, &next);
    let mut torn = *slots;
    torn[spare][..torn_at].copy_from_slice(&commit[..torn_at]);
    let whole = torn[spare] == commit;
    let (after, ..) = read_state(&torn, generation).expect("one of the two is whole");
    assert_eq!(after, if whole { next } else { state });
}
