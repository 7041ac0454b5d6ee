//! Frames: how one blob is stored inside a pack.
//!
//! A frame is one codec byte and the payload: 0 for the plain bytes, 1 for a
//! zstd frame of them.

use bytes::Bytes;

/// The codec byte of plain bytes.
pub(super) const RAW: u8 = 0;
/// The codec byte of a zstd frame.
pub(super) const ZSTD: u8 = 1;

/// Fast, and most of what higher levels save; see `docs/adr/0001`.
const LEVEL: i32 = 1;
/// Below this a frame's own overhead eats the gain.
const TOO_SMALL: usize = 128;
/// Bytes looked at in each of three places to guess whether zstd would help.
const SAMPLE: usize = 4 << 10;
/// Bits per byte above which data counts as incompressible. 4 KiB of uniform
/// noise measure about 7.95.
const NOISE: f32 = 7.8;

/// One blob ready to be laid into a pack.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub codec: u8,
    pub payload: Bytes,
}

impl Frame {
    /// How many bytes the frame takes in the pack.
    pub fn stored(&self) -> usize {
        1 + self.payload.len()
    }
}

/// Compresses `plain` where that saves at least a twentieth.
pub(super) fn encode(plain: Bytes) -> Frame {
    let raw = |payload| Frame { codec: RAW, payload };
    if plain.len() < TOO_SMALL || looks_incompressible(&plain) {
        return raw(plain);
    }
    match zstd::bulk::compress(&plain, LEVEL) {
        Ok(packed) if packed.len() < plain.len() - plain.len() / 20 => {
            Frame { codec: ZSTD, payload: packed.into() }
        }
        // Not smaller, or no memory for it: plain bytes always work.
        Ok(_) | Err(_) => raw(plain),
    }
}

/// Guesses from the byte frequencies of three samples.
fn looks_incompressible(plain: &[u8]) -> bool {
    if plain.len() < 2 * SAMPLE {
        return false;
    }
    let last = plain.len() - SAMPLE;
    [0, last / 2, last].into_iter().all(|at| entropy(&plain[at..at + SAMPLE]) > NOISE)
}

/// Bits per byte if the bytes were independent.
fn entropy(sample: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    for &byte in sample {
        counts[usize::from(byte)] += 1;
    }
    let total = sample.len() as f32;
    let bits = |&count: &u16| f32::from(count) * (total / f32::from(count)).log2();
    counts.iter().filter(|&&count| count > 0).map(bits).sum::<f32>() / total
}

/// The plain bytes of a frame that should have `len` of them.
pub(super) fn decode(frame: &Bytes, len: usize) -> Result<Bytes, String> {
    let Some((&codec, payload)) = frame.split_first() else {
        return Err("the frame is empty".to_owned());
    };
    let plain = match codec {
        RAW => frame.slice(1..),
        ZSTD => zstd::bulk::decompress(payload, len).map_err(|e| format!("zstd: {e}"))?.into(),
        other => return Err(format!("unknown codec {other}")),
    };
    match plain.len() == len {
        true => Ok(plain),
        false => Err(format!("expected {len} bytes, found {}", plain.len())),
    }
}
