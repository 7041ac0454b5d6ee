use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::from_nanos(
        i64::try_from(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond()).unwrap(),
    )
}

#[track_caller]
fn next(spec: &str, after: &str) -> String {
    let schedule: Schedule = spec.parse().unwrap();
    schedule.next_after(at(after)).map_or_else(|| "never".to_owned(), rfc3339)
}

#[test]
fn times_come_in_order() {
    assert_eq!(next("*/15 * * * *", "2026-11-20T10:07:30Z"), "2026-11-20T10:15:00Z");
    assert_eq!(next("0 0 * * *", "2026-12-31T10:00:00Z"), "2027-01-01T00:00:00Z");
    assert_eq!(next("@hourly", "2026-11-20T10:00:00Z"), "2026-11-20T11:00:00Z");
    assert_eq!(next("@every 30s", "2026-11-20T10:00:00Z"), "2026-11-20T10:00:30Z");
    assert_eq!(next("30 6 29 feb *", "2026-01-01T00:00:00Z"), "2028-02-29T06:30:00Z");
    assert_eq!(next("0 12 * * mon-fri", "2026-11-20T12:00:00Z"), "2026-11-23T12:00:00Z");
    assert_eq!(next("0 0 * * 7", "2026-11-20T12:00:00Z"), "2026-11-22T00:00:00Z");
    assert_eq!(next("0 0 13 * 5", "2026-11-14T00:00:00Z"), "2026-11-20T00:00:00Z");
    assert_eq!(next("0 0 30 2 *", "2026-11-14T00:00:00Z"), "never");
    assert_eq!(next("5,10-12/2 1 * * *", "2026-11-20T01:05:00Z"), "2026-11-20T01:10:00Z");
}

#[test]
fn what_was_missed_is_one_tick() {
    let schedule: Schedule = "@daily".parse().unwrap();
    let due = |after, now| schedule.due(at(after), at(now)).map(rfc3339);
    let late = due("2026-11-01T05:00:00Z", "2026-11-20T05:00:00Z");
    assert_eq!(late.as_deref(), Some("2026-11-20T00:00:00Z"));
    assert_eq!(due("2026-11-20T00:00:00Z", "2026-11-20T05:00:00Z"), None);
    let every: Schedule = "@every 1h".parse().unwrap();
    let due = every.due(at("2026-11-20T00:00:00Z"), at("2026-11-20T05:30:00Z")).map(rfc3339);
    assert_eq!(due.as_deref(), Some("2026-11-20T05:00:00Z"));
}

#[test]
fn malformed_schedules_say_why() {
    for bad in ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "x * * * *", "@every 0s"] {
        assert!(bad.parse::<Schedule>().is_err(), "{bad}");
    }
}

#[test]
fn times_print_as_rfc_3339() {
    for text in ["1970-01-01T00:00:00Z", "2000-02-29T23:59:59Z", "1969-12-31T00:00:01Z"] {
        assert_eq!(rfc3339(at(text)), text);
    }
}

#[test]
fn times_are_counted_from_the_start_not_from_the_last_tick() {
    let every: Schedule = "@every 10s".parse().unwrap();
    let at = |seconds: i64| Timestamp::from_parts(seconds, 500);
    assert_eq!(every.due_since(at(0), at(0), at(9)), None);
    assert_eq!(every.due_since(at(0), at(0), at(34)), Some(at(30)));
    // The tick at 30 was made at 34, by hand there was one at 36.
    assert_eq!(every.due_since(at(0), at(34), at(39)), None);
    assert_eq!(every.due_since(at(0), at(36), at(41)), Some(at(40)));
    assert_eq!(every.next_since(at(0), at(34)), Some(at(40)));
    assert_eq!(every.next_since(at(0), at(-5)), Some(at(10)));
    let hourly: Schedule = "@hourly".parse().unwrap();
    let on = |seconds: i64| Timestamp::from_parts(seconds, 0);
    assert_eq!(hourly.due_since(on(10), on(3601), on(7300)), Some(on(7200)));
    assert_eq!(hourly.due_since(on(10), on(7201), on(7300)), None);
    assert_eq!(hourly.next_since(on(10), on(7300)), Some(on(10800)));
}
