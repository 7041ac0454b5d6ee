//! A frame may be anything, and so may the length it is said to have.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (u32, &[u8])| {
    let (len, frame) = input;
    pfs::chunk::fuzz::frame(frame, len as usize);
});
