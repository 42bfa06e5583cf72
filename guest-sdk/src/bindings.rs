//! What `wit-bindgen` makes of the contract in `guest-sdk/wit`.
//!
//! The parts that authors meet are re-exported at the crate's root, under the names of the
//! contract. Nothing here has behaviour, and nothing outside this crate names this module but
//! the code that [`crate::export!`] writes.

wit_bindgen::generate!({
    path: "wit",
    world: "plugin",
    with: {
        "leaseway:plugin/types@0.1.0/target": crate::target::Target,
        "leaseway:plugin/connection@0.1.0/io-error": crate::connection::IoError,
    },
    additional_derives: [PartialEq, Eq],
    generate_unused_types: true,
    pub_export_macro: true,
    export_macro_name: "export_component",
    default_bindings_module: "leaseway_sdk::bindings",
});
