//! Files in commits.

pub mod copy;
pub mod delete;
pub mod diff;
pub mod get;
pub mod glob;
pub mod inspect;
pub mod list;
mod packs;
pub mod put;
pub use sources::fetch as fetch_text;
pub use target::is_url;

mod numbered;
mod sources;
mod split;
mod stored;
mod target;
mod unpack;
mod upload;

#[cfg(test)]
mod tests;
