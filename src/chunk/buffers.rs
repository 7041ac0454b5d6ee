//! Memory for large reads of the local disk, used over and over.
//!
//! Memory fresh from the kernel is cleared page by page as it is touched, which
//! takes about as long as reading into it.

use std::ops::{Deref, DerefMut};
use std::sync::Mutex;

use super::lock;

/// Buffers are a multiple of so many bytes.
const STEP: usize = 128 << 10;

/// How many bytes are kept for the next reader, all buffers together.
const IDLE: usize = 8 << 20;

static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Bytes to read into. They are of whatever was read before.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` bytes; small ones are made anew.
    pub fn new(len: usize) -> Self {
        let bytes = match len < STEP / 2 {
            true => vec![0; len],
            false => idle(len).unwrap_or_else(|| vec![0; len.next_multiple_of(STEP)]),
        };
        Self { bytes, len }
    }
}

/// The smallest buffer that has room, and not much more: what is kept counts by
/// what is in it.
fn idle(len: usize) -> Option<Vec<u8>> {
    let mut idle = lock(&BUFFERS);
    let sizes = len..=len + len / 4 + STEP;
    let fits = idle.iter().enumerate().filter(|(_, bytes)| sizes.contains(&bytes.len()));
    let (at, _) = fits.min_by_key(|(_, bytes)| bytes.len())?;
    Some(idle.swap_remove(at))
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() < STEP {
            return;
        }
        let mut idle = lock(&BUFFERS);
        idle.push(std::mem::take(&mut self.bytes));
        let mut used: usize = idle.iter().map(Vec::len).sum();
        while used > IDLE {
            used -= idle.remove(0).len();
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_not_much_larger_than_what_is_in_it() {
        for len in [0, 1, STEP / 2, STEP, 3 * STEP + 1, IDLE, 2 * IDLE] {
            for _ in 0..3 {
                let mut buffer = Buffer::new(len);
                assert_eq!(buffer.len(), len);
                assert!(buffer.bytes.len() <= len + len / 4 + STEP);
                buffer.fill(7);
            }
        }
        let idle: usize = lock(&BUFFERS).iter().map(Vec::len).sum();
        assert!(idle <= IDLE, "{idle}");
    }
}
