//! The module's line in pam.d, one argument a line here. Whatever is accepted is known,
//! stands once, and makes a configuration with all values in their ranges.
#![no_main]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};

use libfuzzer_sys::fuzz_target;
use pam_onetime::config::Config;
use pam_onetime::{Arguments, Overrides};

const OTHERS: [&str; 6] =
    ["config", "password", "debug", "try_first_pass", "use_first_pass", "nullok"];

fuzz_target!(|data: &[u8]| {
    let words: Vec<_> =
        data.split(|byte| *byte == b'\n').filter_map(|word| CString::new(word).ok()).collect();
    let line: Vec<&CStr> = words.iter().map(CString::as_c_str).collect();
    let Ok(arguments) = Arguments::parse(&line) else { return };
    assert!(arguments.config.is_absolute());
    let keys: BTreeSet<_> = line
        .iter()
        .map(|word| word.to_str().expect("accepted"))
        .map(|word| word.split_once('=').map_or(word, |(key, _)| key))
        .collect();
    assert_eq!(keys.len(), line.len(), "one stands twice");
    for key in keys {
        assert!(OTHERS.contains(&key) || Overrides::KEYS.contains(&key), "{key}");
    }
    if let Ok(config) = arguments.apply(Config::default()) {
        pam_onetime_fuzz::check(&config);
        let Config { store, limits, issuer, .. } = config;
        let default = Config::default();
        assert_eq!((store, issuer), (default.store, default.issuer), "not per login");
        assert_eq!(limits.lockout, default.limits.lockout, "not per login");
    }
});
