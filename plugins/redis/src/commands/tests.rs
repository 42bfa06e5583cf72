#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::resp::request::{Front, front};

fn class(line: &str) -> Class {
    let line = format!("{line}\r\n");
    match front(line.as_bytes()) {
        Parsed::Complete {
            value: Front::Command(command),
            ..
        } => match classify(&command) {
            Parsed::Complete { value, .. } => value,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn lists_are_in_order_and_nothing_stands_twice() {
    let lists = [
        names::READ,
        names::WRITE,
        names::BLOCK,
        names::READ_OF_MODULES,
        names::WRITE_OF_MODULES,
    ];
    for list in lists {
        assert!(list.is_sorted());
    }
    let special = names::SPECIAL.iter().map(|(name, _)| *name);
    let mut all: Vec<&str> = lists.concat().into_iter().chain(special).collect();
    all.extend(["client", "cluster", "script"]);
    assert!(all.iter().all(|name| name.len() <= LONGEST));
    assert!(all.iter().all(|name| *name == name.to_lowercase()));
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!(all.len(), count);
}

#[test]
fn commands_are_found_in_any_case() {
    assert_eq!(class("GET k"), Class::Read);
    assert_eq!(class("gEt k"), Class::Read);
    assert_eq!(class("Set k v"), Class::Write);
    assert_eq!(class("blpop k 0"), Class::Block);
    assert_eq!(class("XREAD STREAMS s 0"), Class::Block);
    assert_eq!(class("ARGET k 0"), Class::Write);
    assert_eq!(class("JSON.GET k"), Class::Read);
    assert_eq!(class("multi"), Class::Multi);
}

#[test]
fn subcommands_decide_where_they_matter() {
    assert_eq!(class("CLIENT SetInfo lib-name x"), Class::SetInfo);
    assert_eq!(class("CLIENT SETNAME x"), Class::Pin);
    assert_eq!(class("CLIENT ID"), Class::Id);
    assert_eq!(class("CLIENT TRACKING ON"), Class::Taint);
    assert_eq!(class("client maint_notifications ON"), Class::Maintenance);
    assert_eq!(class("CLUSTER NODES"), Class::Write);
    assert_eq!(class("CLUSTER SYNCSLOTS x"), Class::Stream);
    assert_eq!(class("CLIENT REPLY OFF"), Class::Stream);
    assert_eq!(class("CLIENT NO-EVICT on"), Class::Taint);
    assert_eq!(class("CLIENT WHATEVER"), Class::Unknown);
    assert_eq!(class("SCRIPT WHATEVER"), Class::Unknown);
    assert_eq!(class("CLIENT"), Class::Write);
    assert_eq!(class("SCRIPT LOAD x"), Class::Write);
    assert_eq!(class("SCRIPT DEBUG yes"), Class::Stream);
    let half = b"*2\r\n$6\r\nCLIENT\r\n$7\r\nSET";
    let Parsed::Complete {
        value: Front::Command(half),
        ..
    } = front(half)
    else {
        panic!("the name is there");
    };
    assert!(matches!(classify(&half), Parsed::Incomplete { .. }));
}

#[test]
fn what_is_not_known_is_not_guessed() {
    assert_eq!(class("GETT k"), Class::Unknown);
    assert_eq!(class("my.command"), Class::Unknown);
    assert_eq!(class(&"x".repeat(33)), Class::Unknown);
    assert_eq!(class(&"x".repeat(1000)), Class::Unknown);
}
