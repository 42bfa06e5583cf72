//! Embeds the first-party plugins that `cargo xtask plugins` has built.
//!
//! They lie in `plugins` of the target directory, or where `LEASEWAY_PLUGINS_DIR` says. One that is not
//! there is left out with a warning, and the binary says so when it is asked for it: checks and
//! documentation must build without a wasm toolchain.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The plugins that are embedded, by the name behind `builtin:`. The config's reader knows them from here, too.
const FIRST_PARTY: [&str; 6] = ["http1", "memcached", "mysql", "postgres", "redis", "sni"];

fn main() -> io::Result<()> {
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let plugins = plugins_dir(&out)?;
    // Watched as a directory, so that a plugin which is built later is noticed.
    fs::create_dir_all(&plugins)?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LEASEWAY_PLUGINS_DIR");
    println!("cargo::rerun-if-changed={}", plugins.display());
    let mut table = String::new();
    for name in FIRST_PARTY {
        let module = plugins.join(format!("{name}.wasm"));
        if module.is_file() {
            let _ = write!(table, "({name:?}, include_bytes!({module:?}).as_slice()), ");
        } else {
            println!(
                "cargo::warning=builtin:{name} is left out of leaseway, since {} is not there; run `cargo xtask plugins` and build again",
                module.display()
            );
        }
    }
    fs::write(out.join("first_party.rs"), format!("&{FIRST_PARTY:?}"))?;
    fs::write(
        out.join("builtins.rs"),
        format!("pub static BUILTINS: &[(&str, &[u8])] = &[{table}];\n"),
    )
}

fn plugins_dir(out: &Path) -> io::Result<PathBuf> {
    if let Some(dir) = env::var_os("LEASEWAY_PLUGINS_DIR") {
        return Ok(PathBuf::from(dir));
    }
    // <target>/<profile>/build/leaseway-<hash>/out
    let target = out.ancestors().nth(4);
    let target = target.ok_or_else(|| io::Error::other("OUT_DIR is not in a target directory"))?;
    Ok(target.join("plugins"))
}
