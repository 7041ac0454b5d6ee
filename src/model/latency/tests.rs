use super::*;

#[test]
fn a_duration_is_in_the_bucket_that_bounds_it_closely() {
    let mut before = 0;
    for at in 0..BUCKETS - 1 {
        let bound = bound(at);
        assert_eq!((bucket(bound - 1), bucket(bound)), (at, at + 1), "{bound}");
        assert!(before < bound && (bound <= 1024 || bound - before <= before / 4), "{bound}");
        before = bound;
    }
    assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
}

#[test]
fn percentiles_are_close_and_differences_are_of_the_time_between() {
    let histogram = Histogram::default();
    (1..=1000).for_each(|ms| histogram.add(Duration::from_micros(ms)));
    let read = histogram.read();
    let near = |part: f64, wanted: u64| {
        let found = read.percentile(part);
        assert!((wanted..=wanted + wanted / 4).contains(&found), "{part}: {found}");
    };
    near(0.5, 500_000);
    near(0.99, 990_000);
    assert_eq!((read.percentile(1.0), read.max_ns), (1_000_000, 1_000_000));
    histogram.add(Duration::from_secs(100));
    let since = histogram.read().since(&read);
    assert_eq!(since.buckets.values().sum::<u64>(), 1);
    assert_eq!(since.percentile(0.5), 100_000_000_000);
    assert_eq!(Latency::default().percentile(0.99), 0);
}
