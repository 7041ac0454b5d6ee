//! Any history of a view agrees with a file system in memory: operations on
//! names and contents, open files, commits beside those of others, aborts, the
//! death of the process and the loss of power.
//!
//! `PFS_MODEL_CASES` says how many histories are tried.

mod agreement;
mod branch;
mod crashes;
mod found;
#[path = "../../../../tests/model/life.rs"]
mod life;
mod machine;
#[path = "../../../../tests/model/memory.rs"]
mod memory;
#[path = "../../../../tests/model/operations.rs"]
mod operations;
mod viewed;
mod writers;

use proptest::prelude::*;

use self::machine::{Machine, Step};
use self::operations::{Sizes, op};
use crate::vfs::transaction::staged::{BLOCK, WHOLE};

/// The length of the file `large`: it is copied up in blocks.
const LARGE: u64 = WHOLE + 3 * BLOCK + 77;

fn step(sizes: Sizes) -> impl Strategy<Value = Step> {
    let one = move || op(sizes);
    let few = move || prop::collection::vec(one(), 1..5);
    prop_oneof![
        60 => one().prop_map(Step::Do),
        3 => (one(), any::<u16>()).prop_map(|(op, at)| Step::Torn(op, at)),
        2 => ("[abc]", few()).prop_map(|(dir, ops)| Step::List(dir, ops)),
        3 => (0..4u32).prop_map(Step::Commit),
        2 => few().prop_map(Step::Others),
        1 => Just(Step::Follow),
        1 => Just(Step::Abort),
        3 => Just(Step::Crash),
        3 => any::<u64>().prop_map(Step::LosePower),
    ]
}

fn history(large: bool) -> impl Strategy<Value = (bool, Vec<Step>)> {
    let sizes = Sizes { small: 60, large: large.then_some((LARGE, BLOCK)) };
    (any::<bool>(), prop::collection::vec(step(sizes), 1..50))
}

fn run(large: bool, keeps: bool, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut machine = Machine::new(large, keeps).await;
        for step in steps {
            machine.step(step).await;
        }
        machine.conclude().await;
    });
}

/// So many cases, or a part of what `PFS_MODEL_CASES` asks for.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PFS_MODEL_CASES").ok().and_then(|text| text.parse::<u32>().ok());
    let cases = asked.map_or(usual, |asked| (asked / 300 * usual).max(1));
    ProptestConfig { cases, max_shrink_iters: 4_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(250))]
    #[test]
    fn any_history_of_a_view_agrees_with_a_model((keeps, steps) in history(false)) {
        run(false, keeps, steps);
    }
}

proptest! {
    #![proptest_config(cases(50))]
    #[test]
    fn so_does_one_with_a_file_of_many_blocks((keeps, steps) in history(true)) {
        run(true, keeps, steps);
    }
}
