//! What the model has found, one by one.

use super::machine::{Machine, Step};
use super::operations::{Op, Over, Target};

fn at(path: &str) -> Target {
    Target::Path(path.to_owned())
}

fn write(path: &str) -> Step {
    Step::Do(Op::Write(at(path), 0, b"written".to_vec()))
}

fn sync() -> Step {
    Step::Do(Op::Sync(at("a")))
}

fn remove(path: &str) -> Step {
    Step::Do(Op::Remove(path.to_owned()))
}

async fn play(large: bool, keeps: bool, steps: Vec<Step>) {
    let mut machine = Machine::new(large, keeps).await;
    for step in steps {
        machine.step(step).await;
    }
    machine.conclude().await;
}

#[tokio::test]
async fn what_was_removed_before_a_crash_is_there_when_power_is_lost_after_it() {
    let steps = vec![write("c"), sync(), remove("c"), Step::Crash, Step::LosePower(0)];
    play(false, false, steps).await;
    let over = Op::Rename("a/c".into(), "c".into(), Over::Replace);
    let steps = vec![write("c"), sync(), Step::Do(over), Step::Crash, Step::LosePower(0)];
    play(false, false, steps).await;
}

#[tokio::test]
async fn a_link_that_took_the_place_of_an_equal_file_is_told_to_be_one_after_the_commit() {
    let link = Op::Link("a/c".into(), "b/b".into());
    let own = Op::SetTime(at("b"), 1);
    let steps = vec![remove("b/b"), Step::Do(link), Step::Do(own), Step::Commit(0)];
    play(false, true, steps).await;
}

#[tokio::test]
async fn a_copy_of_a_part_that_a_crash_interrupts_never_holds_more() {
    for at in (0..400).step_by(7) {
        let new = Step::Do(Op::Create("b/c1".into(), 0o600));
        let part = Op::Copy("large".into(), Target::Path("b/c1".into()), (0, 0, 70_000));
        let part = Step::Torn(part, at);
        play(true, false, vec![new, part]).await;
    }
}

#[tokio::test]
async fn a_file_that_became_a_copy_has_changed_also_after_a_crash() {
    let empty = Op::Truncate(at("a/c"), 0);
    let copy = Op::Copy("c".into(), at("a/c"), (0, 0, 1 << 20));
    play(false, false, vec![Step::Do(empty), Step::Do(copy), Step::Crash]).await;
}

#[tokio::test]
async fn what_is_written_after_a_time_was_set_is_newer_also_after_a_crash() {
    let set = || Step::Do(Op::SetTime(at("c"), 1));
    play(false, false, vec![write("c"), set(), write("c"), Step::Crash]).await;
    let steps = vec![write("c"), set(), write("c"), sync(), Step::LosePower(0)];
    play(false, false, steps).await;
    let steps = vec![write("c"), set(), sync(), Step::LosePower(0), Step::Crash];
    play(false, false, steps).await;
}

#[tokio::test]
async fn a_directory_that_is_given_up_has_the_time_others_gave_it() {
    let set = || Op::SetTime(at("b"), 1);
    play(false, true, vec![Step::Do(set()), Step::Others(vec![set()]), Step::Abort]).await;
}

#[tokio::test]
async fn what_a_crash_keeps_from_showing_does_not_show_later() {
    let copy = |end| Op::Copy("large".into(), at("b/b"), (0, 0, end));
    for torn in (0..400).step_by(7) {
        let steps = vec![
            Step::Do(copy(81_921)),
            Step::Commit(0),
            Step::Torn(copy(98_304), torn),
            Step::Do(copy(81_921)),
        ];
        play(true, false, steps).await;
    }
}
