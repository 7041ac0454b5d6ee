//! The operations that views and mounts are tried with.

use std::ops::Range;

use proptest::prelude::*;

/// What an operation is about: a path, or a file that was opened before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Path(String),
    Open(u8),
}

/// What a rename does with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Replace,
    Refuse,
    Exchange,
}

/// One operation.
#[derive(Debug, Clone)]
pub enum Op {
    Create(String, u32),
    Mkdir(String, u32),
    Symlink(String, String),
    Link(String, String),
    Remove(String),
    Rename(String, String, Over),
    Open(u8, String),
    Close(u8),
    Write(Target, u64, Vec<u8>),
    Append(Target, Vec<u8>),
    Truncate(Target, u64),
    /// Makes a range read as zeros, without changing the size.
    Zero(Target, Range<u64>),
    /// Makes the file reach so far.
    Extend(Target, u64),
    /// Copies bytes from one offset to another, so many.
    Copy(String, Target, (u64, u64, u64)),
    Chmod(Target, u32),
    SetTime(Target, i64),
    SetXattr(Target, String, Vec<u8>),
    RemoveXattr(Target, String),
    Sync(Target),
}

/// Where a file is written to: anywhere in a small one, or around the ends of
/// blocks of a large one.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Small files are about so long.
    pub small: u64,
    /// The length and the block size of the file `large`, where there is one.
    pub large: Option<(u64, u64)>,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![3 => path().prop_map(Target::Path), 2 => (0..3u8).prop_map(Target::Open)]
}

fn time() -> impl Strategy<Value = i64> {
    prop::sample::select(vec![-1_500_000_000, 1, 1_234_567_890_123_456_789])
}

fn mode() -> impl Strategy<Value = u32> {
    prop::sample::select(vec![0o600u32, 0o755, 0o644, 0o700])
}

fn xattr() -> impl Strategy<Value = String> {
    "user\\.[xy]"
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(b'a'..=b'z', 1..most)
}

fn over() -> impl Strategy<Value = Over> {
    prop_oneof![4 => Just(Over::Replace), 1 => Just(Over::Refuse), 2 => Just(Over::Exchange)]
}

fn names() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (path(), mode()).prop_map(|(path, mode)| Op::Create(path, mode)),
        3 => (path(), mode()).prop_map(|(path, mode)| Op::Mkdir(path, mode)),
        1 => (path(), "[xyz]{1,9}").prop_map(|(path, to)| Op::Symlink(path, to)),
        3 => (path(), path()).prop_map(|(path, new)| Op::Link(path, new)),
        5 => path().prop_map(Op::Remove),
        8 => (path(), path(), over()).prop_map(|(from, to, over)| Op::Rename(from, to, over)),
        4 => (0..3u8, path()).prop_map(|(slot, path)| Op::Open(slot, path)),
        1 => (0..3u8).prop_map(Op::Close),
    ]
}

fn contents(small: u64) -> impl Strategy<Value = Op> {
    let at = move || 0..small;
    let copy = (at(), at(), 1..2 * small);
    // As cp(1) copies: everything, to the same place.
    let whole = (Just(0), Just(0), Just(1 << 20));
    prop_oneof![
        6 => (target(), at(), bytes(20)).prop_map(|(to, at, data)| Op::Write(to, at, data)),
        2 => (target(), bytes(20)).prop_map(|(to, data)| Op::Append(to, data)),
        3 => (target(), at()).prop_map(|(to, size)| Op::Truncate(to, size)),
        1 => (target(), at(), 1..20u64).prop_map(|(to, at, count)| Op::Zero(to, at..at + count)),
        1 => (target(), at()).prop_map(|(to, end)| Op::Extend(to, end + 1)),
        4 => (path(), target(), prop_oneof![whole, copy])
            .prop_map(|(from, to, range)| Op::Copy(from, to, range)),
    ]
}

fn attributes() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (target(), mode()).prop_map(|(to, mode)| Op::Chmod(to, mode)),
        2 => (target(), time()).prop_map(|(to, time)| Op::SetTime(to, time)),
        2 => (target(), xattr(), bytes(9)).prop_map(|(to, name, v)| Op::SetXattr(to, name, v)),
        1 => (target(), xattr()).prop_map(|(to, name)| Op::RemoveXattr(to, name)),
        2 => target().prop_map(Op::Sync),
    ]
}

/// What is done to, and with, the large file.
fn large(size: u64, block: u64) -> impl Strategy<Value = Op> {
    let edge = move || (0..=size / block, -9..9i64);
    let at = move || edge().prop_map(move |(b, by)| (b * block).saturating_add_signed(by));
    let to = || prop::sample::select(vec!["large", "a/c", "b/b"]);
    let target = move || to().prop_map(|path| Target::Path(path.to_owned()));
    let long = (block as usize..2 * block as usize).prop_map(|len| vec![b'L'; len]);
    let data = prop_oneof![5 => bytes(20), 1 => long];
    prop_oneof![
        4 => (target(), at(), data).prop_map(|(to, at, data)| Op::Write(to, at, data)),
        2 => (target(), at()).prop_map(|(to, size)| Op::Truncate(to, size)),
        1 => (target(), at(), 1..2 * block).prop_map(|(to, at, n)| Op::Zero(to, at..at + n)),
        1 => (target(), at()).prop_map(|(to, end)| Op::Extend(to, end)),
        3 => (target(), at()).prop_map(|(to, end)| {
            Op::Copy("large".to_owned(), to, (0, 0, end))
        }),
        3 => (target(), at(), at()).prop_map(|(to, at, count)| {
            Op::Copy("large".to_owned(), to, (at, at, count))
        }),
        1 => to().prop_map(|to| Op::Rename("large".into(), to.into(), Over::Exchange)),
    ]
}

/// Any operation.
pub fn op(sizes: Sizes) -> BoxedStrategy<Op> {
    let Sizes { small, large: one } = sizes;
    let usual = prop_oneof![6 => names(), 5 => contents(small), 3 => attributes()];
    match one {
        None => usual.boxed(),
        Some((size, block)) => prop_oneof![1 => usual, 1 => large(size, block)].boxed(),
    }
}
