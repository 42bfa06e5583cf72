//! What the hot path is made of: calls into plugins, and borrowing from a pool.
//!
//! `cargo bench`, after `cargo xtask plugins`. What the whole relay does beside others is measured by
//! `cargo xtask bench`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../tests/built/mod.rs"]
mod built;
mod plugin_calls;
mod pool;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    plugin_calls::bench(&mut criterion);
    pool::bench(&mut criterion);
    criterion.final_summary();
}
