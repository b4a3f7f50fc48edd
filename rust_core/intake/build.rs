//! Generates the messages of `proto/cuptime/v1` that the core reads and writes.
use std::path::Path;

const FILES: [&str; 3] =
    ["cuptime/v1/types.proto", "cuptime/v1/group_service.proto", "cuptime/v1/dispatch_service.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("../../proto");
    for file in FILES {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(FILES, [root])?;
    prost_build::Config::new()
        // Ordered maps: the same message always has the same bytes.
        .btree_map(["."])
        .disable_comments(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
