use super::*;

fn growth(commits: u64, bytes: u64, seconds: i64) -> Growth {
    let before = Some(Timestamp::from_parts(0, 0));
    Growth { commits, bytes, before, now: Timestamp::from_parts(seconds, 0) }
}

fn trigger(commits: u64, size: u64, rate_limit: &str, all: bool) -> Trigger {
    let (branch, rate_limit) = ("master".to_owned(), rate_limit.to_owned());
    Trigger { branch, commits, size, rate_limit, all, ..Trigger::default() }
}

#[test]
fn one_condition_is_enough_unless_all_must_hold() {
    let either = trigger(3, 100, "@every 1m", false);
    let all = trigger(3, 100, "@every 1m", true);
    let table = [
        (growth(2, 99, 59), false, false),
        (growth(3, 99, 59), true, false),
        (growth(2, 100, 59), true, false),
        (growth(2, 99, 60), true, false),
        (growth(3, 100, 59), true, false),
        (growth(3, 100, 60), true, true),
    ];
    for (growth, one, every) in table {
        assert_eq!((holds(&either, &growth), holds(&all, &growth)), (one, every), "{growth:?}");
    }
    let first = Growth { before: None, ..growth(0, 0, 1) };
    assert!(holds(&trigger(0, 0, "@daily", false), &first));
    assert!(holds(&trigger(0, 0, "", false), &first));
    let scheduled = Trigger { cron: "@every 1s".to_owned(), ..trigger(0, 0, "", false) };
    assert!(!holds(&scheduled, &growth(9, 9, 9)));
}

#[test]
fn triggers_that_cannot_work_are_refused() {
    let refused = |trigger: Trigger| check(&trigger).unwrap_err().rule;
    assert!(check(&trigger(1, 1, "0 * * * *", true)).is_ok());
    assert!(refused(trigger(1, 1, "often", false)).contains("\"often\" is invalid"));
    let cron =
        |cron: &str, commits| Trigger { cron: cron.to_owned(), ..trigger(commits, 0, "", false) };
    assert!(check(&cron("@daily", 0)).is_ok());
    assert!(refused(cron("@daily", 1)).contains("no other condition"));
    assert!(refused(cron("daily", 0)).contains("is invalid"));
    let nowhere = Trigger { branch: String::new(), ..trigger(1, 0, "", false) };
    assert!(refused(nowhere).contains("watches no branch"));
}

#[test]
fn sizes_have_units() {
    let sizes = ["100", "10K", "1.5KiB", "2 MB", "1Ti"].map(parse_size);
    assert_eq!(sizes, [100, 10_000, 1536, 2_000_000, 1 << 40].map(Some));
    assert_eq!(["", "x", "1X", "-1", "1.2.3"].map(parse_size), [None; 5]);
}
