//! The process that waits to be the next server.

use std::time::Instant;

use serde_json::Value;

use super::process::Server;

/// A process that gets ready, and the note that it gets ready for.
pub(super) struct Spare {
    server: Server,
    note: Value,
}

impl Spare {
    pub(super) fn new(server: Server, note: &Value) -> Self {
        Self { server, note: note.clone() }
    }

    /// Whether it can serve what `note` tells of.
    pub(super) fn is_for(&self, note: &Value) -> bool {
        self.note == *note
    }

    pub(super) fn discard(&mut self) {
        self.server.discard();
    }

    /// The next server, unless it has ended meanwhile.
    pub(super) fn into_server(mut self) -> Option<Server> {
        self.server.started = Instant::now();
        self.server.is_alive().then_some(self.server)
    }
}
