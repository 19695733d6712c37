//! How the program is linked: machine code that is the same for several types is kept once.
//!
//! tract, hyper and the codecs are generic over many types, and a good part of what the compiler makes of them is equal byte
//! for byte. The linker that rustc brings on x86-64 Linux (LLD) folds it; elsewhere the program is larger and does the same.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("TARGET", "x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
