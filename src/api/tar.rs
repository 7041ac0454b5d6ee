//! Tar streams of a tree's entries.

use bytes::{BufMut, Bytes, BytesMut};
use tar::{EntryType, Header};

use crate::tree::{Entry, EntryKind};

/// Tar files come in blocks of this size.
const BLOCK: usize = 512;

/// Bytes in the longest name and link target a plain header holds.
const NAME_MAX: usize = 100;

/// The header of an entry, with long names in records of their own before it.
/// `path` is the entry's name in the archive.
pub(super) fn header(path: &str, entry: &Entry) -> Bytes {
    let mut out = BytesMut::new();
    let (kind, link, size) = match &entry.kind {
        EntryKind::Dir => (EntryType::Directory, None, 0),
        EntryKind::File(content) => (EntryType::Regular, None, content.size()),
        EntryKind::Symlink(target) => (EntryType::Symlink, Some(target.as_str()), 0),
    };
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(entry.mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    // Times before 1970 cannot be told.
    header.set_mtime(u64::try_from(entry.mtime.to_parts().0).unwrap_or(0));
    if let Some(link) = link {
        put_link(&mut out, &mut header, link);
    }
    put_name(&mut out, &mut header, path);
    header.set_cksum();
    out.put_slice(header.as_bytes());
    out.freeze()
}

fn put_name(out: &mut BytesMut, header: &mut Header, path: &str) {
    if path.len() > NAME_MAX {
        put_long(out, EntryType::GNULongName, path);
    }
    let field = &mut header.as_old_mut().name;
    fill(field, path.as_bytes());
}

fn put_link(out: &mut BytesMut, header: &mut Header, target: &str) {
    if target.len() > NAME_MAX {
        put_long(out, EntryType::GNULongLink, target);
    }
    let field = &mut header.as_old_mut().linkname;
    fill(field, target.as_bytes());
}

fn fill(field: &mut [u8], bytes: &[u8]) {
    let len = bytes.len().min(field.len());
    field[..len].copy_from_slice(&bytes[..len]);
}

/// A record that carries a name too long for a header.
fn put_long(out: &mut BytesMut, kind: EntryType, text: &str) {
    let mut header = Header::new_gnu();
    fill(&mut header.as_old_mut().name, b"././@LongLink");
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // The record ends with a NUL.
    let size = text.len() as u64 + 1;
    header.set_size(size);
    header.set_cksum();
    out.put_slice(header.as_bytes());
    out.put_slice(text.as_bytes());
    out.put_u8(0);
    out.put_slice(&padding(size));
}

/// What fills the last block of a file of `size` bytes.
pub(super) fn padding(size: u64) -> Bytes {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    // Less than a block.
    let rest = (size % BLOCK as u64) as usize;
    match rest {
        0 => Bytes::new(),
        rest => Bytes::from_static(&ZEROS[rest..]),
    }
}

/// What ends an archive.
pub(super) fn trailer() -> Bytes {
    static ZEROS: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
    Bytes::from_static(&ZEROS)
}
