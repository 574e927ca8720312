//! Links the unwinder statically into the module.
//!
//! `libgcc_s.so.1` probes the processor in its constructor, which costs more
//! than the rest of a login where CPUID traps (in virtual machines), and libpam
//! loads the module anew for each login. A linker script named `libgcc_s.so`
//! that is found first makes the linker take libgcc's static half.

#![allow(clippy::disallowed_methods, reason = "a build reads its environment")]
#![allow(clippy::print_stdout, reason = "this is how cargo is told")]

use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    fs::write(out.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")?;
    println!("cargo:rustc-cdylib-link-arg=-L{}", out.display());
    Ok(())
}
