//! What the machine that runs the tests can do.

use std::fs;
use std::process::{Command, Stdio};

/// Whether file systems can be mounted through FUSE; notes it when not.
pub fn has_fuse(test: &str) -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    noted(test, "no access to /dev/fuse", device.is_ok())
}

/// Whether the tests run as root; notes it when not.
pub fn is_root(test: &str) -> bool {
    noted(test, "needs root", nix::unistd::geteuid().is_root())
}

/// Whether a command is installed; notes it when not.
pub fn has_command(test: &str, command: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {command}")])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    noted(test, &format!("{command} is not installed"), found)
}

/// A Python that can import what `examples/requirements.txt` names.
pub fn python(test: &str) -> Option<String> {
    let python = std::env::var("PFS_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let imports = Command::new(&python)
        .args(["-c", "import h5py, numpy"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    noted(test, "no Python with h5py and numpy (set PFS_PYTHON)", imports).then_some(python)
}

/// Leaves a note for `make test` to print at its end when `able` is false.
pub fn noted(test: &str, why: &str, able: bool) -> bool {
    if !able {
        eprintln!("not run: {test}: {why}");
        if let Ok(dir) = std::env::var("PFS_NOT_RUN") {
            fs::write(format!("{dir}/{test}"), why).unwrap();
        }
    }
    able
}

/// A word that only programs of this test have in their arguments.
pub fn marker(test: &str) -> String {
    format!("pfs-test-{test}-{}", std::process::id())
}

/// The arguments of every process that has the marker among them.
pub fn processes(marker: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let arguments = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let texts = arguments.map(|text| String::from_utf8_lossy(&text).replace('\0', " "));
    texts.filter(|text| text.contains(marker)).collect()
}
