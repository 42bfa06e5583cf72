//! The plugins that are part of the binary, by name. The build script finds them.

use table::BUILTINS;

use super::error::LoadError;

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

/// All of them.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    BUILTINS.iter().copied()
}

/// That there is no such plugin, and what to do.
pub(super) fn missing(plugin: &str, name: &str) -> LoadError {
    let known: Vec<&str> = BUILTINS.iter().map(|(name, _)| *name).collect();
    missing_among(&known, plugin, name)
}

fn missing_among(known: &[&str], plugin: &str, name: &str) -> LoadError {
    let (known, mend) = if known.is_empty() {
        let mend = "it was built without the first-party plugins: run `cargo xtask plugins` and build it again, or give the path of a .wasm file";
        ("none".to_owned(), mend)
    } else {
        let mend = "give the path of a .wasm file instead";
        (known.join(", "), mend)
    };
    LoadError::Builtin {
        plugin: plugin.to_owned(),
        name: name.to_owned(),
        known,
        mend,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_without_plugins_says_how_they_get_in() {
        let text = missing_among(&[], "cache", "redis").to_string();
        assert!(text.contains("(it has: none)"), "{text}");
        assert!(text.contains("run `cargo xtask plugins`"), "{text}");
        let text = missing_among(&["redis"], "cache", "rediss").to_string();
        assert!(
            text.ends_with("(it has: redis); give the path of a .wasm file instead"),
            "{text}"
        );
    }
}
