//! Files that are cut while they are put.

use super::with_input;
use crate::server::Server;

fn put(server: &Server, flags: &[&str], input: &[u8]) -> String {
    let output = with_input(server, flags, input);
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

fn files(server: &Server, dir: &str) -> Vec<(String, String)> {
    let listed = server.pfs(&["glob", "file", &format!("{dir}/*"), "--raw"]);
    let path = |line: &str| {
        let file = serde_json::from_str::<serde_json::Value>(line).unwrap();
        file["file"]["path"].as_str().unwrap().to_owned()
    };
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let repo = dir.split(':').next().unwrap();
    listed
        .lines()
        .map(path)
        .map(|path| (name(&path), server.pfs(&["get", "file", &format!("{repo}:{path}")])))
        .collect()
}

fn numbered(contents: &[&str]) -> Vec<(String, String)> {
    let file = |(n, text): (usize, &&str)| (format!("{n:016x}"), (*text).to_owned());
    contents.iter().enumerate().map(file).collect()
}

#[test]
fn files_are_split_by_lines_values_and_rows() {
    let server = Server::start();
    server.pfs(&["create", "repo", "r"]);
    let line = ["put-file", "r", "master", "lines", "--split", "line", "--target-file-datums", "2"];
    assert_eq!(put(&server, &line, b"a\nb\nc\nd\ne"), "");
    assert_eq!(files(&server, "r@master:/lines"), numbered(&["a\nb\n", "c\nd\n", "e"]));
    // The numbering goes on; 'put file' replaces instead.
    assert_eq!(put(&server, &line, b"f\n"), "");
    assert_eq!(files(&server, "r@master:/lines"), numbered(&["a\nb\n", "c\nd\n", "e", "f\n"]));
    let native = ["put", "file", "r@master:/lines", "--split", "line"];
    assert_eq!(put(&server, &native, b"x\ny\n"), "");
    assert_eq!(files(&server, "r@master:/lines"), numbered(&["x\n", "y\n"]));

    let json = ["put-file", "r", "master", "json", "--split", "json"];
    assert_eq!(put(&server, &json, br#" {"a": "}{"} [1,[2]]"x y" 12 {"b":1}{"c":2}"#), "");
    let values = ["{\"a\": \"}{\"} ", "[1,[2]]", "\"x y\" ", "12 ", "{\"b\":1}", "{\"c\":2}"];
    assert_eq!(files(&server, "r@master:/json"), numbered(&values));

    let csv = ["put-file", "r", "master", "csv", "--split", "csv", "--header-records", "1"];
    let rows = b"id,text\n1,\"two\nlines\"\n2,\"a \"\"quote\"\"\"\n3,c\n";
    assert_eq!(put(&server, &[&csv[..], &["--target-file-bytes", "10"]].concat(), rows), "");
    let expected =
        ["id,text\n1,\"two\nlines\"\n", "id,text\n2,\"a \"\"quote\"\"\"\n", "id,text\n3,c\n"];
    assert_eq!(files(&server, "r@master:/csv"), numbered(&expected));

    let sql = ["put-file", "r", "master", "sql", "--split", "sql", "--target-file-datums", "2"];
    let dump = "CREATE TABLE t (n int);\nCOPY t (n) FROM stdin;\n1\n2\n3\n\\.\n-- end\n";
    assert_eq!(put(&server, &sql, dump.as_bytes()), "");
    let head = "CREATE TABLE t (n int);\nCOPY t (n) FROM stdin;\n";
    let expected = [format!("{head}1\n2\n\\.\n"), format!("{head}3\n\\.\n-- end\n")];
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_eq!(files(&server, "r@master:/sql"), numbered(&expected));
}

#[test]
fn what_cannot_be_split_is_refused() {
    let server = Server::start();
    server.pfs(&["create", "repo", "r"]);
    let with = |format| ["put", "file", "r@master:/d", "-a", "--split", format];
    for (format, input, said) in [
        ("json", &b"{\"a\": [1}"[..], "ends within a value"),
        ("json", b"1 ] 2", "unexpected ']'"),
        ("csv", b"a,\"b\nc", "ends within a quoted field"),
        ("sql", b"SELECT 1;\n", "holds no table"),
        ("sql", b"COPY t (n) FROM stdin;\n1\n", "ends within a table"),
    ] {
        let answer = put(&server, &with(format), input);
        assert!(answer.contains(said), "{format}: {answer}");
    }
    assert!(server.refused(&["list", "file", "r@master"]).contains("r@master"));
    server.pfs(&["put", "file", "r@master:/d/notes.txt", "-f", "/dev/null"]);
    let mixed = put(&server, &with("line"), b"a\n");
    assert!(mixed.contains("notes.txt") && mixed.contains("--overwrite"), "{mixed}");
    let url = ["put", "file", "r@master:/u", "--split", "line", "-f", "http://127.0.0.1:1/x"];
    assert_eq!(server.output(&url).status.code(), Some(2));
}
