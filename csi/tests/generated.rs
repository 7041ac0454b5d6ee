//! The code under `src/proto` is what the files under `proto` say.
//!
//! `PFS_WRITE_GENERATED=1` writes it instead of comparing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;

const PROTOS: [&str; 2] = ["csi/v1/csi.proto", "pluginregistration/v1/registration.proto"];

/// What is generated of them, one file per package.
const GENERATED: [&str; 2] = ["csi.v1.rs", "pluginregistration.rs"];

fn generate(out: &Path) {
    let includes = [Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")];
    let set = protox::compile(PROTOS, includes).expect("the protos compile");
    let mut prost = tonic_prost_build::Config::new();
    // What a request holds may be secret: no message is ever shown whole.
    prost.skip_debug(["."]);
    prost.btree_map(["."]);
    prost.extern_path(".google.protobuf.BoolValue", "bool");
    prost.extern_path(".google.protobuf.Int64Value", "i64");
    prost.extern_path(".google.protobuf", "::prost_types");
    tonic_prost_build::configure()
        .out_dir(out)
        .compile_well_known_types(true)
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(set, prost)
        .expect("the code is generated");
}

#[test]
fn generated_code_is_fresh() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/proto");
    if std::env::var_os("PFS_WRITE_GENERATED").is_some() {
        return generate(&committed);
    }
    let scratch = tempfile::tempdir().unwrap();
    generate(scratch.path());
    for name in GENERATED {
        let [want, have] =
            [scratch.path(), &committed].map(|dir| fs::read(dir.join(name)).unwrap());
        assert!(want == have, "{name} is stale: run with PFS_WRITE_GENERATED=1");
    }
}
