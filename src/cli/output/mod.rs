//! How results look: tables of both eras, ages, sizes, states, JSON, YAML.
//!
//! Pure formatting: nothing here talks to the server or reads the clock.

mod age;
mod field;
mod json;
mod progress;
mod sink;
mod size;
mod state;
mod table;

pub use age::{ago, span};
pub use field::Fields;
pub use json::{Encoding, Format, flat, rfc3339};
pub use progress::bytes_bar;
pub use sink::{Named, STDOUT, Sink};
pub use size::{parse_memory, parse_size, size};
pub use state::mood;
pub use table::{Cell, Table, spelled};

#[cfg(test)]
mod tests;
