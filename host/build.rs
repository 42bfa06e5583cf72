//! Embeds the first-party plugins that have been built to `target/plugins`.

use std::path::Path;
use std::{env, fs};

fn main() -> std::io::Result<()> {
    let out = env::var("OUT_DIR").map_err(std::io::Error::other)?;
    let root = env::var("CARGO_MANIFEST_DIR").map_err(std::io::Error::other)?;
    let redis = Path::new(&root).join("../target/plugins/redis.wasm");
    // A path that does not exist would run this at every build.
    println!("cargo::rerun-if-changed=build.rs");
    if redis.is_file() {
        println!("cargo::rerun-if-changed={}", redis.display());
    }
    let entry = if redis.is_file() {
        format!("(\"redis\", include_bytes!({redis:?}).as_slice())")
    } else {
        String::new()
    };
    fs::write(
        Path::new(&out).join("builtins.rs"),
        format!("pub static BUILTINS: &[(&str, &[u8])] = &[{entry}];\n"),
    )
}
