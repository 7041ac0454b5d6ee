use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::model::Timestamp;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn printed(paint: bool, print: impl FnOnce(&mut Sink) -> io::Result<()>) -> String {
    let buffer = Buffer::default();
    print(&mut Sink::to(Box::new(buffer.clone()), paint)).unwrap();
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn spans_use_the_words_users_know() {
    const DAY: u64 = 24 * 3600;
    let table = [
        (0, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (3600 + 1799, "About an hour"),
        (3600 + 1800, "2 hours"),
        (2 * DAY - 1801, "47 hours"),
        (2 * DAY, "2 days"),
        (14 * DAY - 3600, "13 days"),
        (14 * DAY, "2 weeks"),
        (60 * DAY - 3600, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (730 * DAY, "2 years"),
    ];
    for (seconds, words) in table {
        assert_eq!(span(seconds), words, "{seconds} s");
    }
}

#[test]
fn a_clock_that_runs_behind_shows_no_negative_age() {
    let now = Timestamp::from_parts(100, 0);
    assert_eq!(ago(Timestamp::from_parts(200, 0), now), "Less than a second ago");
    assert_eq!(ago(Timestamp::from_parts(37, 5), now), "About a minute ago");
}

#[test]
fn sizes_have_four_significant_digits() {
    let table = [
        (0, "0B"),
        (74, "74B"),
        (1023, "1023B"),
        (1024, "1KiB"),
        (1734, "1.693KiB"),
        (106_701, "104.2KiB"),
        (2_685_403, "2.561MiB"),
        (1_048_575, "1024KiB"),
        (1 << 30, "1GiB"),
        (u64::MAX, "16EiB"),
    ];
    for (bytes, text) in table {
        assert_eq!(size(bytes), text);
    }
}

#[test]
fn sizes_are_read_in_every_spelling() {
    for text in ["20GiB", "20G", "20gb", "20 GiB"] {
        assert_eq!(parse_size(text), Ok(20 << 30), "{text}");
    }
    assert_eq!(parse_size("1.5k"), Ok(1536));
    assert_eq!(parse_size("7"), Ok(7));
    assert!(parse_size("much").is_err());
    assert!(parse_size("1 parsec").unwrap_err().contains("parsec"));
    assert_eq!(parse_memory("32MiB"), Ok(32 << 20));
    assert!(parse_memory("1KiB").unwrap_err().contains("32MiB or more"));
}

#[test]
fn tables_align_and_leave_no_trailing_blanks() {
    let text = printed(false, |sink| {
        let mut table = Table::new(&["NAME", "CREATED", "STATE"]);
        table.row(sink, vec!["a".into(), "2 hours ago".into(), Cell::state("running")])?;
        table.row(sink, vec!["über".into(), "About a minute ago".into(), "".into()])?;
        table.finish(sink)
    });
    insta::assert_snapshot!(text, @r"
    NAME CREATED            STATE
    a    2 hours ago        running
    über About a minute ago
    ");
}

#[test]
fn wide_columns_start_every_twenty_characters() {
    let text = printed(false, |sink| {
        let mut table = Table::new(&["COMPONENT", "VERSION"]).least_width(20);
        table.row(sink, vec!["pachctl".into(), "1.7.5".into()])?;
        table.finish(sink)
    });
    assert_eq!(text, "COMPONENT           VERSION\npachctl             1.7.5\n");
}

#[test]
fn an_empty_table_still_has_its_header() {
    assert_eq!(printed(false, |sink| Table::new(&["A", "B"]).finish(sink)), "A B\n");
}

#[test]
fn the_header_comes_again_every_fifty_lines_where_wanted() {
    let headers = |repeat: bool| {
        let text = printed(false, |sink| {
            let mut table = Table::new(&["N", "M"]).repeat_header(repeat);
            for n in 0..120 {
                table.row(sink, vec![n.to_string().into(), "m".into()])?;
            }
            table.finish(sink)
        });
        let at = text.lines().enumerate().filter(|(_, line)| line.starts_with('N'));
        at.map(|(at, _)| at).collect::<Vec<_>>()
    };
    assert_eq!(headers(true), [0, 50, 100]);
    assert_eq!(headers(false), [0]);
}

#[test]
fn rows_that_come_one_by_one_have_one_header() {
    let text = printed(false, |sink| {
        let mut table = Table::new(&["N"]).repeat_header(true);
        for n in 0..60 {
            table.row(sink, vec![n.to_string().into()])?;
            table.flush(sink)?;
        }
        table.finish(sink)
    });
    let headers = text.lines().enumerate().filter(|(_, line)| *line == "N").map(|(at, _)| at);
    assert_eq!(headers.collect::<Vec<_>>(), [0, 50]);
}

#[test]
fn a_cell_stays_on_its_line() {
    let text = printed(false, |sink| {
        let mut table = Table::new(&["NAME", "SIZE"]);
        table.row(sink, vec!["/a\nb\tc\u{1b}[31m".into(), "1B".into()])?;
        table.finish(sink)
    });
    assert_eq!(text, "NAME               SIZE\n/a\\nb\\tc\\u{1b}[31m 1B\n");
}

#[test]
fn a_failed_write_says_what_was_written() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = Named::new("a.txt", Full).write_all(b"x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().starts_with("cannot write a.txt: "), "{error}");
}

#[test]
fn colour_is_only_there_when_asked_for() {
    let state =
        |paint| printed(paint, |sink| Fields::new(sink).state("State", "failure").map(|_| ()));
    assert_eq!(state(false), "State: failure\n");
    assert_eq!(state(true), "State: \u{1b}[31mfailure\u{1b}[0m\n");
}

#[test]
fn yaml_entities_are_documents() {
    let text = printed(false, |sink| {
        Encoding::Yaml.write(sink, &json!({"name": "a"}))?;
        Encoding::Yaml.write(sink, &json!({"name": "b"}))
    });
    assert_eq!(text, "---\nname: a\n---\nname: b\n");
}

#[test]
fn entities_of_the_dash_era_are_flat() {
    let job = json!({"job": {"id": "1", "pipeline": {"name": "p"}}, "details": {"salt": "x"}});
    assert_eq!(flat(job), json!({"job": {"id": "1"}, "pipeline": {"name": "p"}, "salt": "x"}));
}
