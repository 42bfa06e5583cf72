//! Any text of a statement: no panic.
#![no_main]

use leaseway_plugin_mysql::settings::Tracked;
use leaseway_plugin_mysql::sql;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], bool, Option<bool>, Option<bool>)| {
    let (text, is_whole, escapes, are_names) = input;
    let quotes = sql::Quotes { escapes, are_names };
    let tracked = Tracked::new(&[]).expect("those that always follow can be tracked");
    let _ = sql::read(text, is_whole, quotes, &tracked);
});
