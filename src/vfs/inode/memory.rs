//! Memory that outlives the process that writes it.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

/// How large the memory is made, in bytes, in the order in which it is tried.
/// Only what is touched is taken from the machine.
const SIZES: [usize; 3] = [8 << 30, 1 << 30, 64 << 20];

/// A memory file mapped into this process, as words that start as 0.
///
/// What one process stores is there for every other that has the file mapped,
/// and for those to come, also when it is killed right after.
#[derive(Debug)]
pub struct Memory {
    file: OwnedFd,
    base: NonNull<c_void>,
    words: usize,
    /// How many more stores are done: what is left of one that is killed.
    #[cfg(test)]
    pub(super) stores: std::sync::atomic::AtomicU64,
}

// SAFETY: the mapping belongs to no thread, and is accessed by atomic
// operations alone.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// New memory, all 0.
    pub fn new() -> io::Result<Self> {
        let mut failed = io::Error::from_raw_os_error(libc::ENOMEM);
        for size in SIZES {
            let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
            let file = memfd_create("pfs inodes", flags)?;
            ftruncate(&file, size as i64)?;
            // A mapping past the end of its file kills whoever touches it.
            let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
            fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
            match Self::of(file) {
                Ok(memory) => return Ok(memory),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The memory that another process has made.
    pub fn of(file: OwnedFd) -> io::Result<Self> {
        let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let seals = SealFlag::from_bits_truncate(fcntl(&file, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SealFlag::F_SEAL_SHRINK) {
            return Err(invalid("memory that may shrink"));
        }
        let size = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        let length = NonZeroUsize::new(size).ok_or_else(|| invalid("memory of no size"))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches
        // none that exists.
        let base = unsafe { mmap(None, length, access, flags, &file, 0)? };
        Ok(Self {
            file,
            base,
            words: size / size_of::<AtomicU32>(),
            #[cfg(test)]
            stores: u64::MAX.into(),
        })
    }

    /// How many words there are.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.words).unwrap_or(u32::MAX)
    }

    /// The word at `at`.
    pub(super) fn word(&self, at: u32) -> &AtomicU32 {
        let at = (at as usize).min(self.words - 1);
        // SAFETY: `at` is below the number of words of the mapping, which lives
        // as long as `self` and never shrinks; it is page aligned, and any bits
        // are a word.
        unsafe { self.base.cast::<AtomicU32>().add(at).as_ref() }
    }

    pub(super) fn load(&self, at: u32) -> u32 {
        self.word(at).load(Ordering::Acquire)
    }

    /// Stores in the order of the program: a process that is killed has done
    /// all stores up to some point, and none after it.
    pub(super) fn store(&self, at: u32, value: u32) {
        #[cfg(test)]
        if self
            .stores
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1))
            .is_err()
        {
            return;
        }
        self.word(at).store(value, Ordering::Release);
    }

    pub(super) fn load64(&self, at: u32) -> u64 {
        u64::from(self.load(at)) | u64::from(self.load(at + 1)) << 32
    }

    /// Stores two words; a process may be killed between them.
    pub(super) fn store64(&self, at: u32, value: u64) {
        self.store(at, value as u32);
        self.store(at + 1, (value >> 32) as u32);
    }

    pub(super) fn store_bytes(&self, at: u32, bytes: &[u8]) {
        for (at, four) in (at..).zip(bytes.chunks(4)) {
            let mut word = [0; 4];
            word[..four.len()].copy_from_slice(four);
            self.store(at, u32::from_le_bytes(word));
        }
    }

    pub(super) fn load_bytes(&self, at: u32, count: usize) -> Vec<u8> {
        let words = u32::try_from(count.div_ceil(4)).unwrap_or(0);
        let mut bytes = Vec::with_capacity(words as usize * 4);
        (at..at + words).for_each(|at| bytes.extend(self.load(at).to_le_bytes()));
        bytes.truncate(count);
        bytes
    }
}

impl AsFd for Memory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `of` with this length, and nothing
        // borrowed from it outlives `self`.
        let unmapped = unsafe { munmap(self.base, self.words * size_of::<AtomicU32>()) };
        if let Err(error) = unmapped {
            tracing::debug!(%error, "memory stays mapped");
        }
    }
}
