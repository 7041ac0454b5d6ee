//! A spec may be any text; what is understood is written and read back equal.
#![no_main]

use pfs::model::ProjectName;
use pfs::pipeline::spec::{KeyStyle, PipelineSpec, parse};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(parsed) = parse("fuzz", text, &ProjectName::default_project()) else { return };
    for one in parsed {
        for style in [KeyStyle::Snake, KeyStyle::Camel] {
            let written = one.spec.to_json(style).to_string();
            assert_eq!(PipelineSpec::from_json(&written).as_ref(), Ok(&one.spec));
        }
    }
});
