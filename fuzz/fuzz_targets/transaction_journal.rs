//! A transaction's journal may be anything: what is read of it ends within it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok((_, end)) = pfs::vfs::transaction::journal::decode(bytes) {
        assert!(end <= bytes.len());
    }
});
