#![cfg(test)]
//! The binary from outside: its processes, on real servers.

mod faults;
