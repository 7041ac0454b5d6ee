use super::*;

fn one(text: &str) -> Node {
    let mut documents = parse(text).unwrap();
    assert_eq!(documents.len(), 1, "{text:?}");
    documents.remove(0)
}

fn plain(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(text) => serde_json::from_str(text).unwrap(),
        Value::Text(text) => text.as_str().into(),
        Value::List(nodes) => nodes.iter().map(plain).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, node)| (key.text.clone(), plain(node))).collect()
        }
    }
}

#[test]
fn json_with_tabs_and_escapes_parses() {
    let node = one(
        "{\n\t\"a\":\t[1, -2.5e3, true, null],\n\t\"b\": \"tab\there \\\"q\\\" \\u00e9 \\ud83d\\ude00\"\n}",
    );
    let expected = serde_json::json!({"a": [1, -2.5e3, true, null], "b": "tab\there \"q\" é 😀"});
    assert_eq!(plain(&node), expected);
    let Value::Map(entries) = &node.value else { panic!("not a map") };
    assert_eq!(entries[1].0.at, Position { line: 3, column: 2 });
}

#[test]
fn several_json_documents_stand_one_after_another() {
    assert_eq!(parse("{} {\"a\":1}\n[2]").unwrap().len(), 3);
    assert_eq!(parse(" \n").unwrap().len(), 0);
}

#[test]
fn yaml_documents_parse_with_positions() {
    let documents = parse("a: 1\nb:\n  - x\n  - \"2\"\n---\nc: ~\nd: |\n  two\n  lines\n").unwrap();
    assert_eq!(plain(&documents[0]), serde_json::json!({"a": 1, "b": ["x", "2"]}));
    assert_eq!(plain(&documents[1]), serde_json::json!({"c": null, "d": "two\nlines\n"}));
    let Value::Map(entries) = &documents[0].value else { panic!("not a map") };
    assert_eq!(entries[1].0.at, Position { line: 2, column: 1 });
    let Value::List(items) = &entries[1].1.value else { panic!("not a list") };
    assert_eq!(items[0].at, Position { line: 3, column: 5 });
}

#[test]
fn yaml_anchors_and_merges_expand() {
    let node = one("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\nagain: *b\n");
    let expected = serde_json::json!(
        {"base": {"x": 1, "y": 2}, "use": {"y": 3, "x": 1}, "again": {"x": 1, "y": 2}});
    assert_eq!(plain(&node), expected);
}

#[test]
fn flow_style_yaml_may_start_with_a_brace() {
    assert_eq!(plain(&one("{a: b}")), serde_json::json!({"a": "b"}));
}

#[test]
fn errors_carry_positions() {
    let error = |text: &str| parse(text).unwrap_err();
    assert_eq!(error("{\n\t\"a\": nope}").at, Position { line: 2, column: 7 });
    assert_eq!(error("{\"a\": 1, \"a\": 2}").message, "key \"a\" is given twice, first at 1:2");
    assert!(error("{\"a\": ").message.contains("ends"));
    assert!(error("a: 1\na: 2\n").message.contains("twice"));
    assert_eq!(error("a:\n  - 1\n b: 2\n").at.line, 3);
    assert!(error("[\"\u{1}\"]").message.contains("line"));
}

#[test]
fn hostile_documents_are_refused_in_bounded_time() {
    assert!(parse(&"[".repeat(100_000)).is_err());
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(parse(&bomb).unwrap_err().message.contains("more than"));
}
