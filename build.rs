//! Links the unwinder statically into the module, and turns the translations in
//! `po/` into a table.
//!
//! `libgcc_s.so.1` probes the processor in its constructor, which costs more
//! than the rest of a login where CPUID traps (in virtual machines), and libpam
//! loads the module again for each login. A linker script named `libgcc_s.so`
//! that is found first makes the linker take libgcc's static half.
//!
//! A login has no locale and reads no files but its own, so gettext's catalogues
//! are compiled in; translators work on ordinary PO files.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// In which order the functions of the module are linked.
const ORDER: &str = "packaging/login-order.ld";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=po");
    println!("cargo:rerun-if-env-changed=RUSTC_WRAPPER");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    has_its_flags(&out)?;
    fs::write(out.join("libgcc_s.so"), "INPUT(-lgcc_eh -lgcc)\n")?;
    println!("cargo:rustc-cdylib-link-arg=-L{}", out.display());
    if has_bfd() {
        println!("cargo:rustc-cdylib-link-arg=-fuse-ld=bfd");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,noseparate-code");
        // What a login runs lies together (packaging/order-login).
        println!("cargo:rerun-if-changed={ORDER}");
        let order = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join(ORDER);
        println!("cargo:rustc-cdylib-link-arg=-Wl,-T,{}", order.display());
    }
    if libc_knows_relr() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
    }
    // The programs of the tests set the time for the modules that they load.
    for symbol in ["clock_gettime", "gettimeofday", "time"] {
        println!("cargo:rustc-link-arg-examples=-Wl,--export-dynamic-symbol={symbol}");
    }
    fs::write(out.join("translations.rs"), translations(Path::new("po"))?)?;
    Ok(())
}

/// RUSTFLAGS and RUSTC_WRAPPER in the environment replace what .cargo/config.toml has, without
/// a word.
fn has_its_flags(out: &Path) -> Result<(), Box<dyn Error>> {
    let profile = out.ancestors().nth(3).and_then(Path::file_name);
    if profile.is_none_or(|name| name != "module") {
        return Ok(());
    }
    let wrapper = env::var_os("RUSTC_WRAPPER").unwrap_or_default();
    if !Path::new(&wrapper).ends_with("packaging/rustc") {
        return Err("RUSTC_WRAPPER has replaced packaging/rustc, and paths of this machine would \
                    be in the module: run `make module`, which calls both, or unset RUSTC_WRAPPER"
            .into());
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if !flags.contains("getrandom_backend") {
        return Err(
            "RUSTFLAGS has replaced the module's own flags: run `make module`, which adds \
                    them to these, or unset RUSTFLAGS"
                .into(),
        );
    }
    Ok(())
}

/// Whether there is the linker that can make two segments of a module: what is read or run,
/// and what is written. The loader maps, splits and unmaps each at each login, and each takes
/// a part of all pages that are faulted in: together they take a fifteenth of a login. What
/// is written is not run, as before, and what the loader has filled in is read-only.
fn has_bfd() -> bool {
    let native = env::var_os("HOST") == env::var_os("TARGET");
    let told = Command::new("ld.bfd").arg("--version").output();
    native && told.is_ok_and(|told| told.status.success())
}

/// Whether the C library here can do a module's relative relocations from a bitmap: glibc
/// since 2.36. That is an eighth of their size, and they are read at each login.
fn libc_knows_relr() -> bool {
    let native = env::var_os("HOST") == env::var_os("TARGET");
    let told = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let told = told.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = told.ok().and_then(|told| {
        let (major, minor) = told.trim().strip_prefix("glibc ")?.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    native && version >= Some((2, 36))
}

/// One text of all translations: language, English text and translation, each ended by the
/// character that ends a unit (US, 31). A slice of them would be a page of addresses that the
/// loader has to fill in at each login.
fn translations(dir: &Path) -> Result<String, Box<dyn Error>> {
    let mut table = String::new();
    let mut files = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(fs::DirEntry::path);
    for file in files {
        let path = file.path();
        let Some(language) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let catalogue = polib::po_file::parse(&path)?;
        for message in catalogue.messages().filter(|message| message.is_translated()) {
            let parts = [language, message.msgid(), message.msgstr()?];
            if parts.iter().any(|part| part.contains('\u{1f}')) {
                return Err(format!("{}: a text has a US in it", path.display()).into());
            }
            parts.iter().for_each(|part| table.extend([part, "\u{1f}"]));
        }
    }
    Ok(format!("{table:?}"))
}
