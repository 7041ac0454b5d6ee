//! A commit object may be anything: it is refused or is exactly its commit.
#![no_main]

libfuzzer_sys::fuzz_target!(|object: &[u8]| {
    if let Ok(row) = pfs::repo::object::decode(object) {
        assert_eq!(pfs::repo::object::encode(&row), object);
    }
});
