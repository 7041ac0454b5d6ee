//! The end of a pack may be anything: it is refused, never trusted.
#![no_main]

libfuzzer_sys::fuzz_target!(|end: &[u8]| pfs::chunk::fuzz::footer(end));
