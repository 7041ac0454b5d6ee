//! Calls of kubelet as this program's HTTP takes them.
//!
//! Kubelet dials the socket of a plugin by its path, and its library then sends
//! the path, escaped, as the `:authority` of every call. No authority may have a
//! percent sign, and a server that sees to that ends the call. So before a server
//! hears of it, every `%` there becomes a `-`, which is as long, also where headers
//! are compressed: everything else stays what and where it is.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// What every connection of HTTP/2 begins with.
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// The head of a frame: three bytes of length, one of type, one of flags, four
/// that number the stream.
const HEAD: usize = 9;

/// The type of the frames that headers are in.
const HEADERS: u8 = 1;

/// Text as it is sent, and as it should have been.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    spellings: [(Vec<u8>, Vec<u8>); 2],
}

impl Authority {
    /// What kubelet sends when it dials `socket`.
    pub fn of(socket: &Path) -> Self {
        let sent = escaped(socket.as_os_str().as_bytes());
        let meant = sent.replace('%', "-");
        let plain = (sent.clone().into_bytes(), meant.clone().into_bytes());
        Self { spellings: [(compressed(&sent), compressed(&meant)), plain] }
    }

    /// Puts it right wherever it stands in a block of headers.
    fn mend(&self, block: &mut [u8]) {
        for (sent, meant) in &self.spellings {
            let mut from = 0;
            while let Some(at) = find(&block[from..], sent) {
                block[from + at..][..meant.len()].copy_from_slice(meant);
                from += at + meant.len();
            }
        }
    }

    /// A connection on which what `client` sends arrives mended.
    pub fn mended(&self, client: UnixStream) -> io::Result<UnixStream> {
        let (inner, server) = UnixStream::pair()?;
        let (from_client, mut to_client) = client.into_split();
        let (mut from_server, to_server) = inner.into_split();
        let this = self.clone();
        // Each ends when either side has; there is nobody to tell.
        tokio::spawn(async move { drop(this.forward(from_client, to_server).await) });
        tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        Ok(server)
    }

    async fn forward(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
        let mut buffer = vec![0; PREFACE];
        from.read_exact(&mut buffer).await?;
        to.write_all(&buffer).await?;
        loop {
            buffer.resize(HEAD, 0);
            from.read_exact(&mut buffer).await?;
            let length =
                usize::from(buffer[0]) << 16 | usize::from(buffer[1]) << 8 | usize::from(buffer[2]);
            buffer.resize(HEAD + length, 0);
            from.read_exact(&mut buffer[HEAD..]).await?;
            if buffer[3] == HEADERS {
                self.mend(&mut buffer[HEAD..]);
            }
            to.write_all(&buffer).await?;
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

/// A path as gRPC makes an authority of it: all but what may stand in one is
/// written as hexadecimal digits.
fn escaped(path: &[u8]) -> String {
    let mut text = String::new();
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => text.push(char::from(*byte)),
            _ if b"-_.~!$&'()*+,;=:[]@".contains(byte) => text.push(char::from(*byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// ASCII text in the Huffman code of RFC 7541, appendix B.
fn compressed(text: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u64, 0);
    for byte in text.bytes() {
        let (code, length) = CODES[usize::from(byte - FIRST)];
        held = held << length | u64::from(code);
        bits += u32::from(length);
        while bits >= 8 {
            bits -= 8;
            // The rest stays for the next ones.
            bytes.push((held >> bits) as u8);
        }
    }
    if bits > 0 {
        // Filled up with ones.
        bytes.push(((held << (8 - bits)) as u8) | (0xff >> bits));
    }
    bytes
}

/// The first character of [`CODES`], the exclamation mark.
const FIRST: u8 = b'!';

/// The code of every visible character, and how many bits it has.
#[rustfmt::skip]
const CODES: [(u32, u8); 94] = [
    (0x3f8, 10), (0x3f9, 10), (0xffa, 12), (0x1ff9, 13), (0x15, 6), (0xf8, 8), (0x7fa, 11),
    (0x3fa, 10), (0x3fb, 10), (0xf9, 8), (0x7fb, 11), (0xfa, 8), (0x16, 6), (0x17, 6), (0x18, 6),
    (0x0, 5), (0x1, 5), (0x2, 5), (0x19, 6), (0x1a, 6), (0x1b, 6), (0x1c, 6), (0x1d, 6), (0x1e, 6),
    (0x1f, 6), (0x5c, 7), (0xfb, 8), (0x7ffc, 15), (0x20, 6), (0xffb, 12), (0x3fc, 10),
    (0x1ffa, 13), (0x21, 6), (0x5d, 7), (0x5e, 7), (0x5f, 7), (0x60, 7), (0x61, 7), (0x62, 7),
    (0x63, 7), (0x64, 7), (0x65, 7), (0x66, 7), (0x67, 7), (0x68, 7), (0x69, 7), (0x6a, 7),
    (0x6b, 7), (0x6c, 7), (0x6d, 7), (0x6e, 7), (0x6f, 7), (0x70, 7), (0x71, 7), (0x72, 7),
    (0xfc, 8), (0x73, 7), (0xfd, 8), (0x1ffb, 13), (0x7fff0, 19), (0x1ffc, 13), (0x3ffc, 14),
    (0x22, 6), (0x7ffd, 15), (0x3, 5), (0x23, 6), (0x4, 5), (0x24, 6), (0x5, 5), (0x25, 6),
    (0x26, 6), (0x27, 6), (0x6, 5), (0x74, 7), (0x75, 7), (0x28, 6), (0x29, 6), (0x2a, 6),
    (0x7, 5), (0x2b, 6), (0x76, 7), (0x2c, 6), (0x8, 5), (0x9, 5), (0x2d, 6), (0x77, 7), (0x78, 7),
    (0x79, 7), (0x7a, 7), (0x7b, 7), (0x7ffe, 15), (0x7fc, 11), (0x3ffd, 14), (0x1ffd, 13),
];

#[cfg(test)]
mod tests;
