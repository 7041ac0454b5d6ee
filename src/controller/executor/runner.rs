//! The processes between the server and a datum's program.
//!
//! The runner builds the program's view of the machine in a mount namespace
//! of its own and starts an init in a process namespace of its own, which
//! starts the program. The kernel ends each when the one above it ends, and
//! with the init all that is left in its namespace: nothing of a program is on
//! the host once its runner has ended, however that came about.

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{Mode, umask};

use super::account::Account;
use super::init;
use super::order::{InputFiles, InputMount, RunOrder, SecretDirectory};
use super::overlay::mount_overlay;

/// The first argument that makes this process a runner.
pub const ARGUMENT: &str = "__run-datum";

/// The exit code of a runner that could not start its program.
pub const COULD_NOT_START: u8 = 125;

/// Why a program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {cause}")]
pub(super) struct StartError {
    step: String,
    cause: std::io::Error,
}

pub(super) trait Step<T> {
    fn step(self, what: impl FnOnce() -> String) -> Result<T, StartError>;
}

impl<T, E: Into<std::io::Error>> Step<T> for Result<T, E> {
    fn step(self, what: impl FnOnce() -> String) -> Result<T, StartError> {
        self.map_err(|cause| StartError { step: what(), cause: cause.into() })
    }
}

/// Whether the arguments of this process make it a runner.
///
/// Ask before anything else is initialised: a runner must start at once.
#[must_use]
pub fn is_called(arguments: &[std::ffi::OsString]) -> bool {
    arguments.get(1).is_some_and(|first| first == ARGUMENT)
}

/// Reads a [`RunOrder`] from standard input, runs its program and ends as the
/// program ended.
///
/// Returns only when that fails; the reason is then in the order's failure
/// file. The result is the exit code.
#[must_use]
pub fn main() -> u8 {
    // From here on the server's end is this process's end; it may have ended
    // before.
    let server = std::env::args().nth(2).and_then(|id| id.parse().ok());
    let parent = Some(nix::unistd::getppid().as_raw());
    if end_with_parent().is_err() || server != parent {
        return COULD_NOT_START;
    }
    let mut text = Vec::new();
    if std::io::stdin().lock().read_to_end(&mut text).is_err() {
        return COULD_NOT_START;
    }
    let Ok(order) = serde_json::from_slice::<RunOrder>(&text) else { return COULD_NOT_START };
    // The file must be opened while the host's paths are still seen.
    let failure = fs::File::create(&order.failure);
    let error = match start(&order) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    if let Ok(mut file) = failure {
        // There is nobody left to tell when this fails; the exit code stands.
        let _ = write!(file, "{error}");
    }
    COULD_NOT_START
}

fn start(order: &RunOrder) -> Result<std::convert::Infallible, StartError> {
    // SIGPIPE is a setting of the Rust runtime that programs do not expect;
    // without SIGCHLD nobody would hear of their end.
    for kind in [Signal::SIGPIPE, Signal::SIGCHLD] {
        // SAFETY: the default action is not a handler, so nothing runs in it.
        unsafe { signal(kind, SigHandler::SigDfl) }.step(|| format!("cannot reset {kind}"))?;
    }
    let user = Identity::of(&order.user)?;
    enter_namespaces()?;
    // Changing credentials may have undone it.
    end_with_parent().step(|| "cannot follow the server's end".to_owned())?;
    build_view(order, user.as_ref())?;
    init::start_program(|| become_program(order, user.as_ref()))
}

/// What is left to do in the program's own process.
fn become_program(
    order: &RunOrder,
    user: Option<&Identity>,
) -> Result<std::convert::Infallible, StartError> {
    user.map_or(Ok(()), Identity::assume)?;
    let dir = if order.working_dir.is_empty() { "/" } else { &order.working_dir };
    std::env::set_current_dir(dir).step(|| format!("cannot enter working_dir {dir}"))?;
    connect_stdin(order.stdin.as_deref())?;
    execute(order)
}

pub(super) fn end_with_parent() -> nix::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
}

/// The user a program runs as.
struct Identity(Account);

impl Identity {
    /// `None` when the spec names no user.
    fn of(text: &str) -> Result<Option<Self>, StartError> {
        match text.is_empty() {
            true => Ok(None),
            false => Account::named(text).step(|| format!("user {text:?}")).map(Self).map(Some),
        }
    }

    fn assume(&self) -> Result<(), StartError> {
        let Account { name, uid, gid, .. } = &self.0;
        let become_it = || -> nix::Result<()> {
            match name {
                Some(name) => nix::unistd::initgroups(name, *gid)?,
                None => nix::unistd::setgroups(&[*gid])?,
            }
            nix::unistd::setgid(*gid)?;
            nix::unistd::setuid(*uid)
        };
        match *uid == nix::unistd::geteuid() && *gid == nix::unistd::getegid() {
            true => Ok(()),
            false => become_it().step(|| format!("cannot become user {uid}")),
        }
    }

    /// Makes a directory the user's own, with all that is in it when `deep`.
    fn own(&self, dir: &Path, deep: bool) -> std::io::Result<()> {
        let (uid, gid) = (self.0.uid.as_raw(), self.0.gid.as_raw());
        std::os::unix::fs::lchown(dir, Some(uid), Some(gid))?;
        let mut dirs = if deep { vec![dir.to_owned()] } else { Vec::new() };
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                std::os::unix::fs::lchown(entry.path(), Some(uid), Some(gid))?;
                if entry.file_type()?.is_dir() {
                    dirs.push(entry.path());
                }
            }
        }
        Ok(())
    }
}

/// Enters a mount namespace, and a process namespace for what is started from
/// now on; without root rights in a user namespace first.
fn enter_namespaces() -> Result<(), StartError> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let what = || "cannot make namespaces (are user namespaces allowed?)".to_owned();
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    if uid.is_root() {
        unshare(own).step(what)?;
    } else {
        unshare(own | CloneFlags::CLONE_NEWUSER).step(what)?;
        fs::write("/proc/self/setgroups", "deny").step(what)?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")).step(what)?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")).step(what)?;
    }
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .step(|| "cannot make mounts private".to_owned())
}

/// Makes `/pfs`: over the host's where there is one, else in a new root that
/// has everything of the host's and `/pfs` besides.
fn build_view(order: &RunOrder, user: Option<&Identity>) -> Result<(), StartError> {
    // What is made here, and by the program, others can read, whatever the
    // server keeps to itself.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    if let Some(user) = user.filter(|_| nix::unistd::geteuid().is_root()) {
        give(order, user)?;
    }
    mount_tmpfs(&order.stage)?;
    let host_has_pfs = fs::symlink_metadata("/pfs").is_ok_and(|found| found.is_dir());
    let pfs = match host_has_pfs {
        true => order.stage.clone(),
        false => {
            copy_root(&order.stage)?;
            order.stage.join("pfs")
        }
    };
    make_dir(&pfs)?;
    for input in &order.inputs {
        mount_input(input, &pfs.join(&input.name))?;
    }
    let out = pfs.join("out");
    make_dir(&out)?;
    bind(&order.out, &out)?;
    match host_has_pfs {
        true => mount(Some(&order.stage), "/pfs", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .step(|| "cannot put /pfs in its place".to_owned())?,
        false => change_root(&order.stage)?,
    }
    order.secrets.iter().try_for_each(show_secret)
}

/// Gives a program's directories to the user it runs as.
fn give(order: &RunOrder, user: &Identity) -> Result<(), StartError> {
    user.own(&order.out, false).step(|| "cannot give /pfs/out to the user".to_owned())?;
    for input in &order.inputs {
        let given = match &input.files {
            InputFiles::Private(dir) => user.own(dir, true),
            InputFiles::Shared { upper, .. } => user.own(upper, false),
        };
        given.step(|| format!("cannot give input {} to the user", input.name))?;
    }
    Ok(())
}

fn mount_tmpfs(at: &Path) -> Result<(), StartError> {
    mount(Some("pfs"), at, Some("tmpfs"), MsFlags::MS_NODEV, Some("mode=0755"))
        .step(|| format!("cannot mount a tmpfs at {}", at.display()))?;
    // Copies of the host's directories must not take it along.
    mount(None::<&str>, at, None::<&str>, MsFlags::MS_UNBINDABLE, None::<&str>)
        .step(|| "cannot set the stage apart".to_owned())
}

fn make_dir(at: &Path) -> Result<(), StartError> {
    fs::create_dir_all(at).step(|| format!("cannot make directory {}", at.display()))
}

fn bind(from: &Path, to: &Path) -> Result<(), StartError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .step(|| format!("cannot bind {} to {}", from.display(), to.display()))
}

/// Gives the new root every entry of the old but what is called `pfs`, such as
/// the program of that name in an image of nothing else.
fn copy_root(stage: &Path) -> Result<(), StartError> {
    let entries = fs::read_dir("/").step(|| "cannot list /".to_owned())?;
    for entry in entries {
        let entry = entry.step(|| "cannot list /".to_owned())?;
        if entry.file_name() == "pfs" {
            continue;
        }
        let (from, to) = (entry.path(), stage.join(entry.file_name()));
        let kind = entry.file_type().step(|| format!("cannot inspect {}", from.display()))?;
        if kind.is_symlink() {
            let target = fs::read_link(&from).step(|| format!("cannot read {}", from.display()))?;
            std::os::unix::fs::symlink(target, &to)
                .step(|| format!("cannot link {}", to.display()))?;
        } else if kind.is_dir() {
            make_dir(&to)?;
            bind(&from, &to)?;
        } else {
            fs::File::create(&to).step(|| format!("cannot make {}", to.display()))?;
            bind(&from, &to)?;
        }
    }
    Ok(())
}

fn change_root(stage: &Path) -> Result<(), StartError> {
    let change = || -> nix::Result<()> {
        nix::unistd::chdir(stage)?;
        // Old root and new stand on one spot; the old is then taken away.
        nix::unistd::pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        nix::unistd::chdir("/")
    };
    change().step(|| "cannot change the root".to_owned())
}

fn mount_input(input: &InputMount, at: &Path) -> Result<(), StartError> {
    make_dir(at)?;
    match &input.files {
        InputFiles::Private(dir) => bind(dir, at),
        InputFiles::Shared { lowers, upper, work } => mount_overlay(lowers, upper, work, at)
            .step(|| format!("cannot show input {}", input.name)),
    }
}

fn show_secret(secret: &SecretDirectory) -> Result<(), StartError> {
    let at = &secret.path;
    let what = || format!("cannot show a secret at {}", at.display());
    make_dir(at)?;
    mount_tmpfs(at)?;
    for (name, content) in &secret.files {
        if matches!(name.as_str(), "" | "." | "..") || name.contains('/') {
            let cause = std::io::Error::other(format!("{name:?} is no name for a file"));
            return Err(StartError { step: what(), cause });
        }
        let file = at.join(name);
        fs::write(&file, content).step(what)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).step(what)?;
    }
    Ok(())
}

/// Makes `text` the standard input, or nothing at all.
fn connect_stdin(text: Option<&str>) -> Result<(), StartError> {
    let what = || "cannot provide standard input".to_owned();
    let source = match text {
        None => fs::File::open("/dev/null").step(what)?,
        Some(text) => {
            let flags = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
            let mut file: fs::File =
                nix::sys::memfd::memfd_create(c"stdin", flags).step(what)?.into();
            file.write_all(text.as_bytes()).step(what)?;
            file.rewind().step(what)?;
            file
        }
    };
    nix::unistd::dup2_stdin(source.as_fd()).step(what)
}

fn execute(order: &RunOrder) -> Result<std::convert::Infallible, StartError> {
    let nul = |text: &str| StartError {
        step: format!("{text:?}"),
        cause: std::io::Error::other("it holds a NUL character"),
    };
    let c_string = |text: &str| CString::new(text).map_err(|_| nul(text));
    let arguments: Vec<CString> =
        order.cmd.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?;
    let mut env: Vec<(&str, &str)> = Vec::new();
    for (name, value) in &order.env {
        env.retain(|(known, _)| known != name);
        env.push((name, value));
    }
    let search: Vec<PathBuf> = env
        .iter()
        .find(|(name, _)| *name == "PATH")
        .map(|(_, path)| std::env::split_paths(OsStr::new(path)).collect())
        .unwrap_or_default();
    let env: Vec<CString> = env
        .iter()
        .map(|(name, value)| c_string(&format!("{name}={value}")))
        .collect::<Result<_, _>>()?;
    let program = order.cmd.first().map_or("", String::as_str);
    let missing = || format!("cannot run {program:?}");
    let path = find_program(program, &search).step(missing)?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| nul(program))?;
    match nix::unistd::execve(&path, &arguments, &env) {
        // A script without a first line that names its interpreter.
        Err(nix::errno::Errno::ENOEXEC) => {
            let mut with_shell = vec![c"/bin/sh".to_owned(), path];
            with_shell.extend(arguments.into_iter().skip(1));
            nix::unistd::execve(c"/bin/sh", &with_shell, &env).step(missing)
        }
        other => other.step(missing),
    }
}

/// The file of a program: as named when that has a slash, else in `search`.
fn find_program(program: &str, search: &[PathBuf]) -> std::io::Result<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let runs = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode_allows_running())
    };
    let found = search.iter().map(|dir| dir.join(program)).find(runs);
    found.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotFound))
}

trait Runnable {
    fn mode_allows_running(&self) -> bool;
}

impl Runnable for fs::Metadata {
    fn mode_allows_running(&self) -> bool {
        self.permissions().mode() & 0o111 != 0
    }
}
