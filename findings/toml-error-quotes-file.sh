#!/usr/bin/env bash
# The crate toml: the text of an error quotes the line of the file that it is about. Its
# message() alone does not, for an error of syntax; for a value of another type, it does.
# Where the file holds a secret and the error goes to a log, the secret goes there too.
. "$(dirname "$0")/common.sh"
crate 'toml = "=1.1.2"' 'serde = { version = "=1.0.228", features = ["derive"] }' <<'RS'
#[derive(serde::Deserialize)]
#[allow(dead_code)]
struct File {
    secret: u32,
}

fn main() {
    for text in ["secret = JBSWY3DPEHPK3PXP\n", "secret = \"JBSWY3DPEHPK3PXP\"\n"] {
        let error = toml::from_str::<File>(text).err().expect("it is no number");
        let quoted = |said: &str| if said.contains("JBSWY3DPEHPK3PXP") { "yes" } else { "no" };
        println!("text {} message {}", quoted(&error.to_string()), quoted(error.message()));
    }
}
RS
same "is the secret in an error of syntax" "text yes message no" "$(crate/target/debug/find | sed -n 1p)"
same "is the secret in an error of type" "text yes message yes" "$(crate/target/debug/find | sed -n 2p)"
