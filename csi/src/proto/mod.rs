//! Messages and services, generated from the files under `csi/proto`;
//! `tests/generated.rs` of the crate keeps them fresh.
#![allow(missing_docs, reason = "the proto files document these types")]
#![allow(clippy::too_many_lines, clippy::large_enum_variant, reason = "generated code")]
#![allow(clippy::enum_variant_names, reason = "names are those of the protocol")]

/// `csi.v1`.
#[rustfmt::skip]
#[path = "csi.v1.rs"]
pub mod csi;

/// `pluginregistration`, version 1.
#[rustfmt::skip]
#[path = "pluginregistration.rs"]
pub mod registration;
