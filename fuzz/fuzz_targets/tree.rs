//! Nodes, chunk lists and roots of trees: any bytes give an error or a value
//! that is written back the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pfs::tree::fuzz_decode(bytes));
