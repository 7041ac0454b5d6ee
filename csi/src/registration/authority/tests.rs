use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Authority, HEADERS, PREFACE, compressed, escaped};

#[test]
fn text_is_compressed_as_in_the_standard() {
    // RFC 7541, C.4.1 and C.6.1.
    let example = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
    assert_eq!(compressed("www.example.com"), example);
    assert_eq!(compressed("private"), [0xae, 0xc3, 0x77, 0x1a, 0x4b]);
}

#[test]
fn paths_are_escaped() {
    assert_eq!(escaped(b"/var/lib/a b-c_d.sock"), "%2Fvar%2Flib%2Fa%20b-c_d.sock");
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, 1], payload].concat()
}

#[tokio::test]
async fn the_authority_is_mended_in_headers_and_nowhere_else() {
    let authority = Authority::of(Path::new("/run/a.sock"));
    let (mut client, accepted) = UnixStream::pair().unwrap();
    let mut server = authority.mended(accepted).unwrap();
    let block = |text: &[u8]| [b"\x83\x41", text, b"\x86"].concat();
    let sent = [compressed("%2Frun%2Fa.sock"), b"%2Frun%2Fa.sock".to_vec()];
    let meant = [compressed("-2Frun-2Fa.sock"), b"-2Frun-2Fa.sock".to_vec()];
    let written = |[first, second]: &[Vec<u8>; 2]| {
        let preface = vec![b'x'; PREFACE];
        let headers = [frame(HEADERS, &block(first)), frame(HEADERS, &block(second))].concat();
        [preface, headers, frame(0, &sent[0])].concat()
    };
    client.write_all(&written(&sent)).await.unwrap();
    let mut received = vec![0; written(&meant).len()];
    server.read_exact(&mut received).await.unwrap();
    assert_eq!(received, written(&meant));

    server.write_all(b"answer").await.unwrap();
    let mut answer = [0; 6];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"answer");
    drop(client);
    assert_eq!(server.read(&mut answer).await.unwrap(), 0);
}
