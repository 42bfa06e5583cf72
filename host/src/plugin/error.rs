//! Why a plugin cannot be used. Written for whoever runs the host: what, where, how to mend.

use std::path::PathBuf;

use super::hooks::Fault;
use crate::file::ReadError;

/// A plugin that cannot be loaded. Each message names the plugin as the config does, and the
/// module that it was read from.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The WebAssembly engine itself does not start on this machine.
    #[error("cannot start the WebAssembly engine: {0}")]
    Engine(String),
    /// `builtin:NAME` with a name that this binary does not have.
    #[error("plugin {plugin}: there is no builtin:{name} in this binary (it has: {known}); {mend}")]
    Builtin {
        /// The plugin's name in the config.
        plugin: String,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: String,
        /// What to do.
        mend: &'static str,
    },
    /// The file cannot be read.
    #[error("plugin {plugin}: cannot read {}: {why}; give the path of a .wasm file", path.display())]
    Read {
        /// The plugin's name in the config.
        plugin: String,
        /// The file.
        path: PathBuf,
        /// What is in the way. Part of the message, so no source of the error.
        why: ReadError,
    },
    /// The file is something else.
    #[error(
        "plugin {plugin}: {module} is not a WebAssembly module or component ({found}); build it with `cargo build --release --target wasm32-wasip1`"
    )]
    NotWasm {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// What it looks like.
        found: String,
    },
    /// The file begins as WebAssembly and goes on as something else.
    #[error("plugin {plugin}: {module} cannot be used: {message}")]
    Invalid {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// What the compiler says.
        message: String,
    },
    /// Nothing of the contract is in it.
    #[error(
        "plugin {plugin}: {module} is not a Leaseway plugin: it exports {exports}, but no leaseway:plugin interface; a plugin uses leaseway_sdk's export macro, and is a cdylib"
    )]
    NotAPlugin {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// What it exports.
        exports: String,
    },
    /// Built for another version of the contract.
    #[error(
        "plugin {plugin}: {module} was built for contract leaseway:plugin@{found}, this host speaks {}: rebuild it with leaseway-sdk {}",
        super::component::CONTRACT_RANGE,
        super::component::CONTRACT_RANGE
    )]
    Version {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// The version it was built for.
        found: String,
    },
    /// It wants something that no plugin gets.
    #[error(
        "plugin {plugin}: {module} imports {import}, which plugins do not get: they have the log, a store, clocks and random numbers, but no files, network or environment"
    )]
    Import {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// The import.
        import: String,
    },
    /// It does not fit the contract that it claims.
    #[error("plugin {plugin}: {module} does not fit the contract: {message}")]
    Contract {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// What does not fit.
        message: String,
    },
    /// It faulted while it was instantiated, or in `describe` or `configure`.
    #[error("plugin {plugin}: {module} does not start: {fault}")]
    Fault {
        /// The plugin's name in the config.
        plugin: String,
        /// Where the code came from.
        module: String,
        /// What it did.
        fault: Fault,
    },
    /// A key of its config should name a text file, and does not.
    #[error("plugin {plugin}: config: {key:?}: {message}")]
    ConfigFile {
        /// The plugin's name in the config.
        plugin: String,
        /// The key in the plugin's config.
        key: String,
        /// What is wrong, with the path, and what to do.
        message: String,
    },
    /// It refuses its config.
    #[error("plugin {plugin}: config refused: {message}")]
    Config {
        /// The plugin's name in the config.
        plugin: String,
        /// What the plugin says.
        message: String,
    },
}
