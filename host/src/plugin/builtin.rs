//! The plugins that are part of the binary, by name. The build script finds them.

use table::BUILTINS;

/// What the build script wrote: `pub static BUILTINS: &[(&str, &[u8])]`.
#[allow(unreachable_pub, missing_docs)]
mod table {
    include!(concat!(env!("OUT_DIR"), "/builtins.rs"));
}

/// The code of a plugin that is part of this binary.
pub(super) fn find(name: &str) -> Option<&'static [u8]> {
    let (_, code) = BUILTINS.iter().find(|(known, _)| *known == name)?;
    Some(code)
}

/// The names that [`find`] knows, for an error message.
pub(super) fn names() -> String {
    if BUILTINS.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<&str> = BUILTINS.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}
