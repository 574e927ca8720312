//! A state's file of two slots. What is accepted stands in one of them byte for byte,
//! with the right checksum and the record's generation; a commit torn anywhere leaves
//! the old state or the new one.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use pam_onetime::account::{Generation, Timestamp};
use pam_onetime::store::fuzzing::{read_state, write_slot};

const SLOT: usize = 512;
const SECOND: usize = 4096;
const CHECKED: usize = SLOT - 4;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Which slots are given the right magic and checksum.
    mend: [bool; 2],
    same_generation: bool,
    length: Option<u16>,
    torn_at: u16,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut file = vec![0; 2 * SECOND];
    let (first, second) = input.bytes.split_at(input.bytes.len().min(SLOT));
    for ((at, bytes), mend) in [(0, first), (SECOND, second)].into_iter().zip(input.mend) {
        let bytes = &bytes[..bytes.len().min(SLOT)];
        file[at..at + bytes.len()].copy_from_slice(bytes);
        if at == SECOND && input.same_generation {
            file.copy_within(16..32, SECOND + 16);
        }
        if mend {
            file[at..at + 8].copy_from_slice(b"OTSTATE\x01");
            let checksum = crc32fast::hash(&file[at..at + CHECKED]).to_le_bytes();
            file[at + CHECKED..at + SLOT].copy_from_slice(&checksum);
        }
    }
    if let Some(length) = input.length {
        file.resize(length.into(), 0);
    }
    for at in [0, SECOND] {
        if let Some(generation) = file.get(at + 16..at + 32) {
            let generation = Generation(generation.try_into().expect("16 bytes"));
            read(&file, generation, usize::from(input.torn_at) % (SLOT + 1));
        }
    }
});

fn read(file: &[u8], generation: Generation, torn_at: usize) {
    let Ok((state, sequence, spare)) = read_state(file, generation) else { return };
    assert_eq!((file.len(), state.generation), (2 * SECOND, generation));
    let holding = SECOND - spare;
    let slot = &file[holding..holding + SLOT];
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
    let mut torn = file.to_vec();
    torn[spare..spare + torn_at].copy_from_slice(&commit[..torn_at]);
    let whole = torn[spare..spare + SLOT] == commit;
    let (after, ..) = read_state(&torn, generation).expect("one of the two is whole");
    assert_eq!(after, if whole { next } else { state });
}
