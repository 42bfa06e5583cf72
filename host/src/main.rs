//! The `leaseway` binary.

fn main() {}
