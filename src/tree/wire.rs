//! Bytes in and out: varints, fixed arrays, the pack table.

use bytes::Bytes;

use crate::chunk::ChunkRef;
use crate::model::{ChunkId, PackId};

/// What is wrong with the bytes of a persisted value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// Appends unsigned numbers seven bits at a time, lowest first.
pub(super) fn put_uint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number, zigzag-coded so that small ones stay short.
pub(super) fn put_int(out: &mut Vec<u8>, value: i64) {
    put_uint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Takes a persisted value apart; every step checks what is left.
pub(super) struct Reader {
    rest: Bytes,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes }
    }

    pub fn take(&mut self, len: usize) -> Result<Bytes, Malformed> {
        match len <= self.rest.len() {
            true => Ok(self.rest.split_to(len)),
            false => Err(Malformed("it is cut short")),
        }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        <[u8; N]>::try_from(&*taken).map_err(|_| Malformed("it is cut short"))
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub fn uint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            if at == 9 && byte > 1 {
                return Err(Malformed("a number is too large"));
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                if byte == 0 && at > 0 {
                    return Err(Malformed("a number is padded"));
                }
                self.rest = self.rest.slice(at + 1..);
                return Ok(value);
            }
        }
        Err(Malformed("a number does not end"))
    }

    pub fn uint32(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.uint()?).map_err(|_| Malformed("a number is too large"))
    }

    pub fn int(&mut self) -> Result<i64, Malformed> {
        let coded = self.uint()?;
        Ok((coded >> 1) as i64 ^ -((coded & 1) as i64))
    }

    /// A count of things that take at least `each` bytes; bounded by what is
    /// left, so that a wrong count cannot ask for memory.
    pub fn count(&mut self, each: usize) -> Result<usize, Malformed> {
        let count = usize::try_from(self.uint()?).unwrap_or(usize::MAX);
        match count.checked_mul(each) {
            Some(bytes) if bytes <= self.rest.len() => Ok(count),
            _ => Err(Malformed("a count exceeds what follows")),
        }
    }

    /// Fails unless all bytes were used.
    pub fn end(self) -> Result<(), Malformed> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(Malformed("it has bytes after its end")),
        }
    }
}

/// The packs that a value's references name, each written once.
#[derive(Debug, Default)]
pub(super) struct PackTable {
    packs: Vec<PackId>,
}

impl PackTable {
    fn index(&mut self, pack: PackId) -> u64 {
        // Neighbours mostly share a pack, so the search starts at the end.
        match self.packs.iter().rposition(|p| *p == pack) {
            Some(at) => at as u64,
            None => {
                self.packs.push(pack);
                self.packs.len() as u64 - 1
            }
        }
    }

    /// Appends one reference; its pack goes to the table.
    pub fn put_ref(&mut self, out: &mut Vec<u8>, chunk: &ChunkRef) {
        out.extend_from_slice(chunk.id.as_bytes());
        put_uint(out, self.index(chunk.pack));
        put_uint(out, chunk.offset.into());
        put_uint(out, chunk.stored.into());
        put_uint(out, chunk.len.into());
    }

    /// Appends the table itself.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, self.packs.len() as u64);
        for pack in &self.packs {
            out.extend_from_slice(pack.as_bytes());
        }
    }

    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        let count = reader.count(PackId::LEN)?;
        let packs = (0..count).map(|_| Ok(PackId::new(reader.array()?))).collect::<Result<_, _>>();
        Ok(Self { packs: packs? })
    }

    pub fn read_ref(&self, reader: &mut Reader) -> Result<ChunkRef, Malformed> {
        let id = ChunkId::new(reader.array()?);
        let at = usize::try_from(reader.uint()?).unwrap_or(usize::MAX);
        let pack = *self.packs.get(at).ok_or(Malformed("a reference names no pack"))?;
        let (offset, stored, len) = (reader.uint32()?, reader.uint32()?, reader.uint32()?);
        ChunkRef::checked(id, pack, (offset, stored), len)
            .ok_or(Malformed("a reference is out of bounds"))
    }
}

/// The fewest bytes a reference takes.
pub(super) const REF_MIN: usize = ChunkId::LEN + 4;
