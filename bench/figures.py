"""Figures: printed, compared with what is to be reached, taken in rounds."""

import os
import statistics
import sys
import time

from server import run

# name: to reach, in the unit the figure is printed in; `_ratio`s of time and
# what costs something at most that,
AT_MOST = {
    "small_put_ratio": 2.0,
    "small_store_objects": 20,
    "small_change_umount": 0.25,
    "million_change_umount": 0.25,
    "big_put_ratio": 1.5,
    "big_insert_stored": 8,
    "big_get_ratio": 1.5,
    "million_mount_ls_stat": 0.3,
    "volumes_publish_p50": 0.1,
    "volumes_publish_p99": 0.5,
    "volumes_used_rss": 1024,
    "volumes_taken_over_rss": 1024,
    "million_mount_rss": 150,
    "million_find": 15,
    "million_find_rss": 400,
    "start_latency_median": 50,
    "datum_cost": 15,
    "skip_job": 2.0,
    "server_rss_peak": 300,
    "warm_second_epoch_requests": 0,
    "warm_passthrough_read": 0,
    "cold_shuffled_1t_requests_per_file": 0.1,
    "cold_shuffled_8t_requests_per_file": 0.1,
    "remote_1t_store_requests": 60,
    "remote_8t_store_requests": 60,
    "remote_20ms_1t": 5,
    "remote_20ms_8t": 5,
    "reflink_10gib": 0.1,
    "reflink_moved": 1,
    "memory_rss_peak": 300,
    "follow_latency": 100,
    "follow_requests_after": 50,
}
# and speed beside something else at least that.
AT_LEAST = {
    "warm_seq_1j_speed": 0.9,
    "warm_seq_4j_speed": 0.75,
    "warm_rand4k_speed": 0.75,
    "warm_rand128k_speed": 0.9,
    "warm_shuffled_1t_speed": 0.85,
    "warm_shuffled_8t_speed": 0.85,
    "warm_find_speed": 0.9,
    "warm_stat_ordered_speed": 0.9,
    "warm_stat_shuffled_speed": 0.9,
    "warm_passthrough_seq_1j_speed": 0.9,
    "warm_passthrough_seq_4j_speed": 0.9,
    "warm_passthrough_rand4k_speed": 0.9,
    "warm_passthrough_rand128k_speed": 0.9,
    "cold_seq_1j_speed": 1.5,
    "cold_seq_4j_speed": 0.8,
    "cold_rand4k_speed": 0.75,
    "cold_shuffled_1t_speed": 4.0,
    "cold_shuffled_8t_speed": 1.3,
    "cold_find_speed": 0.4,
    "cold_stat_ordered_speed": 0.8,
    "cold_stat_shuffled_speed": 1.5,
    "remote_1t_speed": 50,
    "remote_8t_speed": 50,
    "remote_seq_speed": 0.8,
    "write_seq_speed": 0.8,
    "write_create_speed": 0.5,
}
missed = []


def say(name, value, unit):
    print(f"{name} {value:.4g} {unit}" if isinstance(value, float) else f"{name} {value} {unit}")
    sys.stdout.flush()
    for table, reached in ((AT_MOST, value <= AT_MOST.get(name, value)),
                           (AT_LEAST, value >= AT_LEAST.get(name, value))):
        if name in table:
            missed.extend([] if reached else [name])
            print(f"  {'reached' if reached else 'MISSED'}: {name} {value:.4g}, "
                  f"to reach {table[name]} {unit}", file=sys.stderr)


def timed(action):
    """Seconds an action takes on a quiet disk."""
    os.sync()
    start = time.monotonic()
    action()
    return time.monotonic() - start


def drop_caches():
    """Nothing of any file is in the page cache, and no inode in the kernel's."""
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


class Beside:
    """The same measured at two places in turn: ratios within a round are
    comparable, on a machine that does other things too, when figures are not."""

    def __init__(self, prefix, rounds):
        self.prefix, self.rounds = prefix, rounds
        self.taken = {}

    def take(self, name, unit, theirs, ours):
        """`theirs` and `ours` each return a speed; the higher, the better."""
        _, pairs = self.taken.setdefault(name, (unit, []))
        pairs.append((theirs(), ours()))

    def say(self, other):
        for name, (unit, pairs) in self.taken.items():
            name = f"{self.prefix}_{name}"
            say(f"{name}_{other}", float(statistics.median(a for a, _ in pairs)), unit)
            say(f"{name}_pfs", float(statistics.median(b for _, b in pairs)), unit)
            ratios = sorted(b / a for a, b in pairs)
            say(f"{name}_speed", float(statistics.median(ratios)), "x")
            if len(ratios) > 1:
                say(f"{name}_speed_worst", float(ratios[0]), "x")


def compiled(target, compiler, *sources):
    """A helper program made from its source in bench/."""
    run(*compiler, "-o", str(target), *map(str, sources))
    return target
