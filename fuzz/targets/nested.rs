//! What modules of the nested password service may send. Only the first hidden prompt is
//! answered, and only with the password; nothing leaks, whatever comes.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use pam_onetime::nested::converse;

const PROMPT_ECHO_OFF: i32 = 1;
const ERROR_MSG: i32 = 3;
const TEXT_INFO: i32 = 4;
const MAX_MESSAGES: usize = 32;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    password: &'a [u8],
    messages: Vec<SentMessage>,
    /// So many fewer than there are are told of.
    untold: i8,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum SentMessage {
    Hidden,
    Text,
    Error,
    Null,
    Style(i32),
}

fuzz_target!(|input: Input<'_>| {
    let password: Vec<u8> = input.password.iter().copied().filter(|byte| *byte != 0).collect();
    let messages: Vec<Option<i32>> = input
        .messages
        .iter()
        .map(|sent| match sent {
            SentMessage::Hidden => Some(PROMPT_ECHO_OFF),
            SentMessage::Text => Some(TEXT_INFO),
            SentMessage::Error => Some(ERROR_MSG),
            SentMessage::Null => None,
            SentMessage::Style(style) => Some(*style),
        })
        .collect();
    let there = i32::try_from(messages.len()).expect("few");
    let count = there - i32::from(input.untold).max(0);
    let told = usize::try_from(count).map_or(&[][..], |count| &messages[..count]);
    let mut unasked = Some(&password);
    let expected = |style: &Option<i32>| match style {
        Some(PROMPT_ECHO_OFF) => unasked.take().cloned().map(Some),
        Some(TEXT_INFO | ERROR_MSG) => Some(None),
        _ => None,
    };
    let expected: Option<Vec<_>> = told.iter().map(expected).collect();
    let expected = expected.filter(|_| (1..=MAX_MESSAGES).contains(&told.len()));
    assert_eq!(converse(&password, &messages, count).ok(), expected);
});
