//! The S3 client against a server of a few requests on the loopback.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::store::location::open_with;

type Objects = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct Request {
    method: String,
    target: String,
    headers: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
}

async fn read_request(socket: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let headers = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let mut body = bytes.split_off(head + 4);
    let mut first = headers.lines().next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let mut request = Request { method, target, headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while body.len() < length {
        if socket.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    request.body = body;
    Some(request)
}

fn answer(objects: &Objects, request: &Request) -> (u16, String, Vec<u8>) {
    let mut objects = objects.lock().unwrap();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let key = path.trim_start_matches("/bucket").trim_start_matches('/').to_owned();
    match (request.method.as_str(), query) {
        ("GET", query) if query.contains("list-type") => {
            let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix="));
            let prefix = prefix.unwrap_or("").replace("%2F", "/");
            let found = objects.iter().filter(|(key, _)| key.starts_with(&prefix));
            let items: String = found.map(|(key, body)| item(key, body.len())).collect();
            let list = format!("<ListBucketResult>{items}</ListBucketResult>");
            (200, String::new(), list.into_bytes())
        }
        ("POST", _) => {
            let text = String::from_utf8(request.body.clone()).unwrap();
            let key = text.split("<Key>").nth(1).unwrap().split("</Key>").next().unwrap();
            objects.remove(key);
            let done = format!("<DeleteResult><Deleted><Key>{key}</Key></Deleted></DeleteResult>");
            (200, String::new(), done.into_bytes())
        }
        ("PUT", _) if request.header("if-none-match").is_some() && objects.contains_key(&key) => {
            (412, String::new(), Vec::new())
        }
        ("PUT", _) => {
            objects.insert(key, request.body.clone());
            (200, "etag: \"1\"\r\n".to_owned(), Vec::new())
        }
        (_, _) => match objects.get(&key) {
            None => (404, String::new(), Vec::new()),
            Some(body) => part(body, request.header("range")),
        },
    }
}

fn item(key: &str, size: usize) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
         <ETag>\"1\"</ETag><Size>{size}</Size></Contents>"
    )
}

fn part(body: &[u8], range: Option<&str>) -> (u16, String, Vec<u8>) {
    let stamp = "etag: \"1\"\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let Some((from, to)) = range.and_then(|r| r.strip_prefix("bytes=")?.split_once('-')) else {
        return (200, stamp.to_owned(), body.to_vec());
    };
    let (start, end) = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Err(_), Ok(last)) => (body.len().saturating_sub(last), body.len()),
        (Ok(start), end) => (start, end.map_or(body.len(), |end| body.len().min(end + 1))),
        (Err(_), Err(_)) => (0, body.len()),
    };
    let told = format!("{stamp}content-range: bytes {start}-{}/{}\r\n", end - 1, body.len());
    (206, told, body[start..end].to_vec())
}

async fn serve(listener: TcpListener, objects: Objects) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let Some(request) = read_request(&mut socket).await else { continue };
        let (status, headers, body) = answer(&objects, &request);
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        let _ = socket.write_all(head.as_bytes()).await;
        if request.method != "HEAD" {
            let _ = socket.write_all(&body).await;
        }
    }
}

fn vars(port: u16) -> Vec<(String, String)> {
    let pairs = [
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_REGION", "here".to_owned()),
        ("UNRELATED", "x".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

#[tokio::test]
async fn s3_keeps_the_contract() {
    install_crypto();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let objects = Objects::default();
    let server = tokio::spawn(serve(listener, Arc::clone(&objects)));
    let options = StoreOptions::default();
    let store = open_with("s3://bucket/some/prefix", &options, &vars(port)).unwrap();
    contract(&store).await;
    assert!(objects.lock().unwrap().contains_key("some/prefix/a/one"));
    server.abort();
}

#[tokio::test]
async fn an_unreachable_store_says_so() {
    install_crypto();
    // Bound and closed again: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let options = StoreOptions { retry: quick(), ..StoreOptions::default() };
    let store = open_with("s3://bucket", &options, &vars(port)).unwrap();
    let error = store.get("k").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("s3://bucket"), "{error}");
}
