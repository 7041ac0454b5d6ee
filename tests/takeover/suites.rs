//! Servers killed and replaced under a suite that checks every byte it reads.

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::readers::number;
use super::writers::Writable;
use crate::posix::{beside, tool};
use crate::random::Random;

#[test]
fn fsx_notices_nothing_of_a_killed_server() {
    let test = "fsx_notices_nothing_of_a_killed_server";
    let Some(fsx) = tool(test, "fsx") else { return };
    let Some(mount) = Writable::new(test) else { return };
    let rounds = number("PFS_TAKEOVER_ROUNDS").unwrap_or(20);
    let seed = number("PFS_TAKEOVER_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("fsx: {rounds} rounds, seed {seed}");
    let artifacts = mount.server.dir("artifacts");
    let mut random = Random::new(seed);
    let (mut round, mut runs) = (0, 0);
    while round < rounds {
        runs += 1;
        let file = mount.data().join(format!("fsx.{runs}"));
        let mut command = Command::new(&fsx);
        command.args(["-f", &beside("fsx.toml"), "-S", &(seed + runs).to_string(), "-N", "3000"]);
        command.arg("-P").arg(&artifacts).arg(&file);
        let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while running.try_wait().unwrap().is_none() && round < rounds {
            thread::sleep(Duration::from_micros(5_000 + random.below(15_000)));
            mount.kill();
            round += 1;
        }
        let output = running.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "run {runs}: {}: {said}{errors}", output.status);
    }
    println!("{runs} runs of fsx");
    mount.umount();
}
