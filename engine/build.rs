//! The migrations are part of the binary, and Cargo does not know that they are read.

fn main() {
    println!("cargo::rerun-if-changed=../migrations");
}
