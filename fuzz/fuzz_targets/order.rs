//! A file with the order of reads may be anything: it is ignored, never trusted,
//! and what is read of one is written the same again.
#![no_main]

libfuzzer_sys::fuzz_target!(|file: &[u8]| pfs::chunk::fuzz::order(file));
