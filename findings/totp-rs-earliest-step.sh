#!/usr/bin/env bash
# totp-rs: check() answers with the earliest step of the window that shows the code. Two
# steps that are close together sometimes show the same code; who notes the answer as the
# last step that was used has noted the older one.
. "$(dirname "$0")/common.sh"
crate 'totp-rs = "=6.0.0"' <<'RS'
use totp_rs::{Algorithm, Builder};

fn main() {
    let totp = |skew| {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_skew(skew)
            .with_step_duration(30)
            .with_secret(b"12345678901234567890".to_vec())
            .build()
            .expect("valid parameters")
    };
    let (exact, around) = (totp(0), totp(1));
    // With this secret, the steps before and after this one show the same code.
    let step = 153_568u64;
    let code = exact.generate((step + 1) * 30).to_string();
    assert_eq!(exact.check(&code, (step - 1) * 30), Some(step - 1));
    assert_eq!(exact.check(&code, (step + 1) * 30), Some(step + 1));
    let found = around.check(&code, step * 30).expect("it is right");
    println!("shown by the steps -1 and +1, answered {:+}", found as i64 - step as i64);
}
RS
same "totp-rs 6.0.0" "shown by the steps -1 and +1, answered -1" "$(crate/target/debug/find)"
