//! The names of what a kernel asks.

/// Declares the operations with the names that statistics show them under.
macro_rules! operations {
    ($($variant:ident $name:literal)+) => {
        /// A FUSE request by what it asks for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the name says it; fuse(4) says what it means")]
        pub enum Operation { $($variant,)+ }

        impl Operation {
            /// Every operation, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in statistics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

operations! {
    Lookup "lookup"
    Forget "forget"
    GetAttr "getattr"
    SetAttr "setattr"
    ReadLink "readlink"
    Symlink "symlink"
    MakeNode "mknod"
    MakeDir "mkdir"
    Unlink "unlink"
    RemoveDir "rmdir"
    Rename "rename"
    Link "link"
    Open "open"
    Create "create"
    Read "read"
    Write "write"
    Flush "flush"
    Release "release"
    Sync "fsync"
    OpenDir "opendir"
    ReadDir "readdir"
    ReadDirPlus "readdirplus"
    ReleaseDir "releasedir"
    SyncDir "fsyncdir"
    StatFs "statfs"
    SetXattr "setxattr"
    GetXattr "getxattr"
    ListXattr "listxattr"
    RemoveXattr "removexattr"
    Access "access"
    GetLock "getlk"
    SetLock "setlk"
    Allocate "fallocate"
    Seek "lseek"
    CopyRange "copy_file_range"
    Control "ioctl"
}
