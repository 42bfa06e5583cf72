//! Statements of clients and of connections.

use super::*;

fn key(of: u8) -> Key {
    [of; DIGEST + 8]
}

#[test]
fn what_is_there_is_not_parsed_again() {
    let mut prepared = Prepared::default();
    assert_eq!(prepared.use_in(0, &key(1), 10), Need::Parse(None));
    assert_eq!(prepared.use_in(0, &key(1), 10), Need::Nothing);
    // Nobody knows yet whether it will be.
    assert_eq!(prepared.use_in(1, &key(1), 10), Need::Parse(None));
    prepared.failed(&key(1), 0);
    assert_eq!(prepared.use_in(1, &key(1), 10), Need::Nothing);
    prepared.parsed(&key(1));
    assert_eq!(prepared.use_in(2, &key(1), 10), Need::Nothing);
    let mut bytes = Vec::new();
    prepared.encode(&mut bytes);
    let mut again = Prepared::decode(&bytes);
    assert!(!again.is_changed());
    assert_eq!(again.use_in(0, &key(1), 10), Need::Nothing);
    assert!(!again.is_changed());
}

#[test]
fn the_least_used_one_goes() {
    let mut prepared = Prepared::default();
    for of in [1, 2, 3] {
        prepared.use_in(0, &key(of), 3);
        prepared.parsed(&key(of));
    }
    prepared.use_in(0, &key(1), 3);
    assert_eq!(prepared.use_in(0, &key(4), 3), Need::Parse(Some(key(2))));
    prepared.put_back(&key(2));
    assert_eq!(prepared.use_in(0, &key(5), 3), Need::Parse(Some(key(2))));
}

#[test]
fn what_is_sent_behind_a_discard_stays() {
    let mut prepared = Prepared::default();
    prepared.use_in(0, &key(1), 3);
    prepared.parsed(&key(1));
    prepared.use_in(1, &key(2), 3);
    prepared.all_closed();
    prepared.parsed(&key(2));
    let mut bytes = Vec::new();
    prepared.encode(&mut bytes);
    assert_eq!(bytes, key(2));
}

#[test]
fn clients_with_the_same_text_share_it_for_as_long_as_they_have_it() {
    let catalog = Catalog::default();
    let one = catalog.get(b"SELECT 1\0\0\0");
    assert!(Rc::ptr_eq(&one, &catalog.get(b"SELECT 1\0\0\0")));
    assert!(!Rc::ptr_eq(&one, &catalog.get(b"SELECT 2\0\0\0")));
    for number in 0..1000 {
        catalog.get(format!("SELECT {number}").as_bytes());
    }
    assert!(catalog.known.borrow().statements.len() < 200);
    assert!(Rc::ptr_eq(&one, &catalog.get(b"SELECT 1\0\0\0")));
}

#[test]
fn a_client_has_so_much_room() {
    let catalog = Catalog::default();
    let mut names = Names::new(&catalog);
    let body = vec![b'x'; 100_000];
    let mut count = 0;
    while names.has_room(&catalog, &[count], &body) {
        names.insert(&[count], catalog.get(&body));
        count += 1;
    }
    assert_eq!(count, 10);
    names.remove(&[3]);
    assert!(names.has_room(&catalog, &[3], &body));
    names.clear();
    assert_eq!(names.bytes, 0);
}

#[test]
fn so_have_all_clients_of_an_instance() {
    let catalog = Catalog::default();
    let mut clients = Vec::new();
    let body = |client: usize, count: u8| {
        let mut body = vec![count; 100_000];
        body[..8].copy_from_slice(&(client as u64).to_be_bytes());
        body
    };
    // Until a client finds no room for its first.
    loop {
        let mut names = Names::new(&catalog);
        let mut count = 0;
        while names.has_room(&catalog, &[count], &body(clients.len(), count)) {
            names.insert(&[count], catalog.get(&body(clients.len(), count)));
            count += 1;
        }
        if count == 0 {
            break;
        }
        clients.push(names);
    }
    assert_eq!(clients.len(), 9);
    // Who goes makes room, and leaves nothing in the account.
    clients.pop();
    let names = Names::new(&catalog);
    assert!(names.has_room(&catalog, b"a", &body(100, 0)));
    drop(clients);
    catalog.known.borrow_mut().sweep();
    assert_eq!(catalog.budget.0.get(), 0);
}
