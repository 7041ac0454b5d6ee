fn main() {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if pfs::controller::executor::runner::is_called(&arguments) {
        std::process::exit(pfs::controller::executor::runner::main());
    }
}
