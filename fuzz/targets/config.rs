//! onetime.toml. What is accepted has all its values in their ranges and lets nobody in
//! without a factor, but whom it exempts; what is refused is reported in one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pam_onetime::config::Config;

fuzz_target!(|text: &str| {
    match Config::parse(text) {
        Ok(config) => pam_onetime_fuzz::check(&config),
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
});
