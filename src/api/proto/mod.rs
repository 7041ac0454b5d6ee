//! Generated from the files under `proto/`; `tests/generated.rs` keeps it
//! fresh. Modules are named after the packages on the wire.
#![allow(missing_docs, reason = "the proto files document these types")]
#![allow(clippy::too_many_lines, clippy::large_enum_variant, reason = "generated code")]

#[rustfmt::skip]
pub mod admin_v2;
#[rustfmt::skip]
pub mod auth_v2;
#[rustfmt::skip]
pub mod metadata;
#[rustfmt::skip]
pub mod pfs_v2;
#[rustfmt::skip]
pub mod pps_v2;
#[rustfmt::skip]
pub mod storage;
#[rustfmt::skip]
pub mod taskapi;
#[rustfmt::skip]
pub mod transaction_v2;
#[rustfmt::skip]
pub mod versionpb_v2;

/// The service of our own, `pfs.v1`.
#[rustfmt::skip]
#[path = "pfs.v1.rs"]
pub mod pfs_v1;

/// The descriptors of all of the above, encoded.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");
