//! Frames: how one blob is stored inside a pack.
//!
//! A frame is one codec byte and the payload: 0 for the plain bytes, 1 for a
//! zstd frame of them.

use std::borrow::Cow;
use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use super::lock;

/// The codec byte of plain bytes.
pub(super) const RAW: u8 = 0;
/// The codec byte of a zstd frame.
pub(super) const ZSTD: u8 = 1;

/// Fast, and most of what higher levels save; see `docs/adr/0005`.
const LEVEL: i32 = 1;
/// Below this a frame's own overhead eats the gain.
const TOO_SMALL: usize = 128;
/// Bytes looked at in each of up to three places to guess whether zstd would help.
const SAMPLE: usize = 4 << 10;
/// Bits per byte above which data counts as incompressible. 4 KiB of uniform
/// noise measure about 7.95.
const NOISE: f32 = 7.8;

/// One blob ready to be laid into a pack.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub codec: u8,
    pub payload: Bytes,
    /// The chaining values of its groups, if they are known.
    pub values: Bytes,
}

impl Frame {
    /// How many bytes the frame takes in the pack.
    pub fn stored(&self) -> usize {
        1 + self.payload.len()
    }
}

/// Compresses `plain` where that saves at least a twentieth; copies it where
/// it is `alone` in a larger buffer.
pub(super) fn encode(plain: Bytes, alone: bool) -> Frame {
    let raw = |plain: Bytes| {
        let payload = if alone { Bytes::copy_from_slice(&plain) } else { plain };
        Frame { codec: RAW, payload, values: Bytes::new() }
    };
    if plain.len() < TOO_SMALL || looks_incompressible(&plain) {
        return raw(plain);
    }
    match compress(&plain) {
        Ok(packed) if packed.len() < plain.len() - plain.len() / 20 => {
            // Without the room that the worst case would have needed.
            let payload = packed.into_boxed_slice().into();
            Frame { codec: ZSTD, payload, values: Bytes::new() }
        }
        // Not smaller, or no memory for it: plain bytes always work.
        Ok(_) | Err(_) => raw(plain),
    }
}

/// Idle zstd contexts. Making one costs more than compressing a small file, and
/// one per thread would be many for threads that come and go.
static COMPRESSORS: Mutex<Vec<Compressor<'static>>> = Mutex::new(Vec::new());
static DECOMPRESSORS: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());
/// How many idle contexts of a kind are kept.
const IDLE: usize = 8;

fn compress(plain: &[u8]) -> io::Result<Vec<u8>> {
    let idle = lock(&COMPRESSORS).pop();
    let mut compressor = match idle {
        Some(compressor) => compressor,
        None => Compressor::new(LEVEL)?,
    };
    let packed = compressor.compress(plain);
    give_back(&COMPRESSORS, compressor);
    packed
}

fn decompress(payload: &[u8], len: usize) -> io::Result<Vec<u8>> {
    let idle = lock(&DECOMPRESSORS).pop();
    let mut decompressor = match idle {
        Some(decompressor) => decompressor,
        None => Decompressor::new()?,
    };
    let plain = decompressor.decompress(payload, len);
    give_back(&DECOMPRESSORS, decompressor);
    plain
}

fn give_back<T>(pool: &Mutex<Vec<T>>, context: T) {
    let mut idle = lock(pool);
    if idle.len() < IDLE {
        idle.push(context);
    }
}

/// Guesses from the byte frequencies of a few samples.
fn looks_incompressible(plain: &[u8]) -> bool {
    if plain.len() < 2 * SAMPLE {
        return false;
    }
    let last = plain.len() - SAMPLE;
    let places = [last / 2, 0, last];
    let count = if plain.len() < 16 * SAMPLE { 1 } else { places.len() };
    places.into_iter().take(count).all(|at| entropy(&plain[at..at + SAMPLE]) > NOISE)
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
    Ok(match decode_slice(frame, len)? {
        Cow::Borrowed(plain) => frame.slice_ref(plain),
        Cow::Owned(plain) => plain.into(),
    })
}

/// [`decode`] where plain bytes are lent, not shared.
pub(super) fn decode_slice(frame: &[u8], len: usize) -> Result<Cow<'_, [u8]>, String> {
    let Some((&codec, payload)) = frame.split_first() else {
        return Err("the frame is empty".to_owned());
    };
    let plain = match codec {
        RAW => Cow::Borrowed(payload),
        ZSTD => decompress(payload, len).map_err(|e| format!("zstd: {e}"))?.into(),
        other => return Err(format!("unknown codec {other}")),
    };
    match plain.len() == len {
        true => Ok(plain),
        false => Err(format!("expected {len} bytes, found {}", plain.len())),
    }
}
