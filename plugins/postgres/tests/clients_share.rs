//! Clients of chance on few connections: each is answered as if it had a connection of its own, whatever the others
//! prepare, set, leave open and get wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::server::Server;
use common::*;
use leaseway_plugin_postgres::Postgres;
use leaseway_plugin_postgres::wire::write;
use leaseway_sdk::Disposition;
use leaseway_sdk::testing::{LeaseEnd, ScriptedSession};
use proptest::collection::vec;
use proptest::prelude::*;

/// A connection of the pool.
struct Pooled {
    server: Server,
    tag: Vec<u8>,
}

impl Pooled {
    fn fresh() -> Self {
        Self {
            server: Server::default(),
            tag: fresh().tag().to_vec(),
        }
    }
}

/// A client, and the server that it would have had to itself.
struct Client {
    session: Option<ScriptedSession<Postgres>>,
    own: Server,
    /// What it has been lent, and for which of its leases.
    lent: Option<(Pooled, usize)>,
    told: Vec<u8>,
    expected: Vec<u8>,
}

impl Client {
    fn new(pieces: usize) -> Self {
        let mut session = greeted("transaction").in_pieces_of(pieces);
        session.hold_leases();
        Self {
            session: Some(session),
            own: Server::default(),
            lent: None,
            told: Vec::new(),
            expected: Vec::new(),
        }
    }

    fn session(&mut self) -> &mut ScriptedSession<Postgres> {
        self.session.as_mut().unwrap()
    }

    fn sends(&mut self, bytes: &[u8], pool: &mut Vec<Pooled>) {
        self.expected.extend(self.own.take(bytes));
        self.session().client(bytes);
        self.settle(pool);
    }

    /// Lends, answers and takes back until nothing moves any more.
    fn settle(&mut self, pool: &mut Vec<Pooled>) {
        loop {
            if self.session().is_waiting() {
                let lent = pool.pop().unwrap_or_else(Pooled::fresh);
                let session = self.session.take().unwrap().with_tag(&lent.tag);
                self.session = Some(session);
                let lease = self.session().leases().len() - 1;
                self.lent = Some((lent, lease));
                self.session().grant();
            }
            let asked = self.session().take_upstream();
            let told = self.session().take_client();
            self.told.extend(told);
            let answers = match &mut self.lent {
                Some((lent, _)) => lent.server.take(&asked),
                None => Vec::new(),
            };
            if !answers.is_empty() {
                self.session().upstream(&answers);
            }
            if let Some((mut lent, which)) = self.lent.take() {
                let lease = self.session().leases()[which].clone();
                let LeaseEnd::Returned(disposition) = lease.end else {
                    assert_eq!(lease.end, LeaseEnd::Held);
                    self.lent = Some((lent, which));
                    if answers.is_empty() && asked.is_empty() {
                        return;
                    }
                    continue;
                };
                if let Some(tag) = &lease.retagged {
                    lent.tag.clone_from(tag);
                }
                match disposition {
                    Disposition::Keep => {
                        assert!(lent.server.is_at_rest());
                        pool.push(lent);
                    }
                    Disposition::Reset => pool.push(Pooled::fresh()),
                    Disposition::Close => {}
                }
            }
            if answers.is_empty() && asked.is_empty() && !self.session().is_waiting() {
                return;
            }
        }
    }
}

/// Messages that a client sends together, and whether it waits for all answers first.
fn messages_of_chance() -> impl Strategy<Value = Vec<u8>> {
    let name = || prop::sample::select(vec!["a", "b", "c"]);
    let sql = || {
        prop::sample::select(vec![
            "SELECT 1", "SELECT 2", "SELECT 3", "SELECT 4", "bad", "fail",
        ])
    };
    let simple = prop::sample::select(vec![
        "SELECT 9",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SET TimeZone = 'CET'",
        "SET TimeZone = 'UTC'",
        "SET TimeZone = 'EST'",
        "fail",
    ]);
    let alone = prop::sample::select(vec![
        "DEALLOCATE a",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "LISTEN news",
    ]);
    let at_once = prop::sample::select(vec![
        "BEGIN",
        "COMMIT",
        "SET TimeZone = 'CET'",
        "DEALLOCATE ALL",
    ]);
    let one = prop_oneof![
        4 => (name(), sql()).prop_map(|(name, sql)| parse(name, sql)),
        6 => name().prop_map(|name| [bind(name), execute("")].concat()),
        2 => (name(), 0_usize..4000).prop_map(|(name, length)| {
            [bind_long(name, length), execute("")].concat()
        }),
        1 => name().prop_map(describe),
        2 => name().prop_map(close),
        1 => sql().prop_map(|sql| [parse("", sql), bind(""), execute("")].concat()),
        1 => sql().prop_map(|sql| {
            [sync(), parse("", sql), sync(), bind(""), execute("")].concat()
        }),
        1 => at_once.prop_map(|sql| [parse("", sql), bind(""), execute("")].concat()),
        1 => Just(write::flush()),
        4 => Just(sync()),
        2 => simple.prop_map(|sql| [sync(), query(sql)].concat()),
    ];
    prop_oneof![
        12 => vec(one, 1..7).prop_map(|all| [all.concat(), sync()].concat()),
        1 => alone.prop_map(query),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_client_is_answered_as_if_it_were_alone(
        batches in vec((0_usize..3, messages_of_chance(), any::<prop::sample::Index>()), 1..40),
        pieces in prop::sample::select(vec![1_usize, 7, 64, 10_000]),
    ) {
        let mut pool = vec![Pooled::fresh(), Pooled::fresh()];
        let mut clients = [(); 3].map(|()| Client::new(pieces));
        for (who, messages, cut) in batches {
            let (first, second) = messages.split_at(cut.index(messages.len()));
            clients[who].sends(first, &mut pool);
            clients[who].sends(second, &mut pool);
            let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
            prop_assert_eq!(
                shown(&clients[who].told),
                shown(&clients[who].expected),
                "client {} after {}", who, shown(&messages)
            );
        }
    }
}

/// Of all clients together a text is parsed once on each connection.
#[test]
fn one_parse_serves_all_clients_of_a_connection() {
    let mut pool = vec![Pooled::fresh()];
    let mut clients: Vec<Client> = (0..20).map(|_| Client::new(10_000)).collect();
    for client in &mut clients {
        client.sends(&[parse("s", "SELECT 1"), sync()].concat(), &mut pool);
    }
    for _ in 0..5 {
        for client in &mut clients {
            client.sends(&[bind("s"), execute(""), sync()].concat(), &mut pool);
            assert_eq!(client.told, client.expected);
        }
    }
    assert_eq!(pool.len(), 1);
    assert_eq!(pool[0].server.parses, 1);
}

/// A client that has gone leaves nothing open behind.
#[test]
fn who_leaves_in_the_middle_takes_the_connection_along() {
    for sent in [
        query("BEGIN"),
        [parse("s", "SELECT 1"), bind("s")].concat(),
        query("LISTEN news"),
    ] {
        let mut pool = vec![Pooled::fresh()];
        let mut client = Client::new(10_000);
        client.sends(&sent, &mut pool);
        assert!(pool.is_empty());
        client.session().client(&write::message(b'X', b""));
        client.settle(&mut pool);
        assert!(client.lent.is_none());
        assert!(pool.iter().all(|one| one.server.is_at_rest()));
    }
}
