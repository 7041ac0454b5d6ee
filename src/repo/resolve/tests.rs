use super::*;

fn seconds(text: &str) -> Option<i64> {
    parse_time(text).map(|time| time.to_parts().0)
}

#[test]
fn times_with_and_without_zone_and_dates_are_understood() {
    assert_eq!(seconds("1970-01-01T00:01:00Z"), Some(60));
    assert_eq!(seconds("1970-01-01T01:01:00+01:00"), Some(60));
    assert_eq!(seconds("1970-01-01T00:01:00"), Some(60));
    assert_eq!(seconds("1970-01-01"), Some(86_399));
    assert_eq!(seconds("1970-13-01"), None);
    assert_eq!(seconds("1970-01-01 nonsense"), None);
}
