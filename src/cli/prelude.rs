//! What every command uses.

pub(super) use super::context::{Context, Era, Printer, is_id, may_be_id, unsigned};
pub(super) use super::failure::{Failure, Outcome};
pub(super) use super::output::{Cell, Fields, Format, Table, size};
pub(super) use super::show;
pub(super) use crate::api;
pub(super) use crate::api::client::{Code, Streaming};
pub(super) use crate::api::proto::{pfs_v1 as v1, pfs_v2 as pfs, pps_v2 as pps};
