//! What a process that serves many volumes asks of the system.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files as far as this user may.
pub fn raise_descriptors() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Fewer do for most nodes.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

/// Has buffers of as many bytes, or more, come from the system and go back to
/// it, however often they do.
///
/// The allocator would keep the buffer of a session that has ended, and clear it
/// for the next one: all of it would be touched that is never used.
#[cfg(target_env = "gnu")]
pub fn map_buffers_of(bytes: i32) {
    // SAFETY: mallopt only sets a parameter of the allocator, which locks it.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, bytes) };
}

/// Other allocators do so anyway.
#[cfg(not(target_env = "gnu"))]
pub fn map_buffers_of(_bytes: i32) {}
