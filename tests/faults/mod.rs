//! The server dies, the disk is full: what was acknowledged is there, what was
//! not is there in whole or not at all.

mod full;
mod kill;
mod ledger;
mod outlive;
mod overlaid;
