//! The code under `src/api/proto` is what the files under `proto` say.
//!
//! `PFS_WRITE_GENERATED=1` writes it instead of comparing.

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_types::FileDescriptorSet;

const PROTOS: [&str; 9] = [
    "pachyderm/admin.proto",
    "pachyderm/metadata.proto",
    "pachyderm/pfs.proto",
    "pachyderm/pps.proto",
    "pachyderm/storage.proto",
    "pachyderm/taskapi.proto",
    "pachyderm/transaction.proto",
    "pachyderm/version.proto",
    "pfs/v1/pfs.proto",
];

/// Messages whose `bytes` are file content, kept without copying.
const CONTENT: [&str; 4] =
    [".pfs.v1.ObjectData", ".pfs.v1.PutObjectRequest", ".pfs.v1.PutFile", ".pfs.v1.Content"];

/// Messages with a secret in them: what shows them leaves it out.
const SECRET: [&str; 1] = [".pfs.v1.AuthorizeVolumeRequest"];

/// Bytes values stay slices of the received message; the default would copy.
const WELL_KNOWN: [(&str, &str); 4] = [
    (".google.protobuf", "::prost_types"),
    (".google.protobuf.BytesValue", "::prost::bytes::Bytes"),
    (".google.protobuf.Empty", "()"),
    (".google.protobuf.Int64Value", "i64"),
];

fn generate(out: &Path) {
    let includes = [Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")];
    let set = protox::compile(PROTOS, includes).expect("the protos compile");
    fs::write(out.join("descriptors.bin"), descriptors(set.clone())).expect("out is writable");
    let mut prost = tonic_prost_build::Config::new();
    prost.enable_type_names().bytes(CONTENT).skip_debug(SECRET);
    for (message, rust) in WELL_KNOWN {
        prost.extern_path(message, rust);
    }
    tonic_prost_build::configure()
        .out_dir(out)
        .compile_well_known_types(true)
        .generate_default_stubs(true)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(set, prost)
        .expect("the code is generated");
}

/// The descriptors without comments and positions, for JSON at run time.
fn descriptors(mut set: FileDescriptorSet) -> Vec<u8> {
    for file in &mut set.file {
        file.source_code_info = None;
    }
    set.encode_to_vec()
}

/// File name and bytes of everything generated in `dir`, sorted.
fn generated(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let is_generated = |path: &PathBuf| path.file_name().is_some_and(|name| name != "mod.rs");
    let entries = fs::read_dir(dir).expect("the directory is readable");
    let paths = entries.map(|entry| entry.unwrap().path()).filter(is_generated);
    let mut files: Vec<_> = paths
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn generated_code_is_fresh() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/proto");
    if std::env::var_os("PFS_WRITE_GENERATED").is_some() {
        return generate(&committed);
    }
    let scratch = tempfile::tempdir().unwrap();
    generate(scratch.path());
    let (want, have) = (generated(scratch.path()), generated(&committed));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&want), names(&have));
    for (want, have) in want.iter().zip(&have) {
        assert!(want == have, "{} is stale: run with PFS_WRITE_GENERATED=1", want.0);
    }
}
