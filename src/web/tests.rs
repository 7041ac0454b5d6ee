use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::*;

#[test]
fn addresses_are_of_this_machine_unless_asked() {
    let shown = |text: &str| text.parse::<HttpAddress>().map(|address| address.to_string());
    assert_eq!(shown("9100").unwrap(), "http://127.0.0.1:9100");
    assert_eq!(shown(":9100").unwrap(), "http://127.0.0.1:9100");
    assert_eq!(shown("http://0.0.0.0:80/").unwrap(), "http://0.0.0.0:80");
    assert_eq!(shown("[::1]:0").unwrap(), "http://[::1]:0");
    assert_eq!(shown("unix:///run/m.sock").unwrap(), "unix:/run/m.sock");
    for wrong in ["", "host", "host:70000", "unix:", "unix:m.sock", "a/b:1"] {
        assert!(shown(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn metrics_are_written_as_prometheus_reads_them() {
    let mut text = Exposition::default();
    text.family("a_total", Kind::Counter, "What.")
        .sample("a_total", &[("x", "1"), ("y", "q\"\\\n")], 3.0)
        .sample("a_total", &[], 0.5);
    text.single("b", Kind::Gauge, "Level.", f64::INFINITY);
    let wanted = "# HELP a_total What.\n# TYPE a_total counter\n\
        a_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 3\na_total 0.5\n\
        # HELP b Level.\n# TYPE b gauge\nb inf\n";
    assert_eq!(text.into_text(), wanted);
}

struct Greeting;

#[async_trait]
impl Site for Greeting {
    async fn page(&self, path: &str) -> Option<Page> {
        (path == "/hello").then(|| Page::text(200, "good day\n"))
    }
}

async fn ask(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    line: &str,
) -> String {
    let request = format!("{line} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn pages_are_served_on_ports_and_sockets() {
    let listening = serve(&":0".parse().unwrap(), Arc::new(Greeting)).await.unwrap();
    let HttpAddress::Tcp(place) = listening.address().clone() else { panic!("a port") };
    let connect = async || TcpStream::connect(&place).await.unwrap();
    let found = ask(connect().await, "GET /hello").await;
    assert!(found.starts_with("HTTP/1.1 200 OK\r\n") && found.ends_with("good day\n"), "{found}");
    assert!(ask(connect().await, "GET /other").await.starts_with("HTTP/1.1 404"));
    assert!(ask(connect().await, "POST /hello").await.starts_with("HTTP/1.1 405"));

    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("s");
    // Left by a process that died.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let listening = serve(&HttpAddress::Unix(path.clone()), Arc::new(Greeting)).await.unwrap();
    let found = ask(UnixStream::connect(&path).await.unwrap(), "GET /hello").await;
    assert!(found.ends_with("good day\n"), "{found}");
    assert!(serve(&HttpAddress::Unix(path.clone()), Arc::new(Greeting)).await.is_err(), "in use");
    drop(listening);
    assert!(!path.exists());
}
