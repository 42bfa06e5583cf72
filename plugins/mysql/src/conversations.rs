//! Exchanges with a connection that no session holds: logging in on a fresh one, making a used one
//! as good as new, and finding out whether an idle one is alive.

use leaseway_sdk::Connection;

use crate::auth::Method;
use crate::backend::Backend;
use crate::charset;
use crate::identity::Identity;
use crate::reply::{End, Kind, Part, Reply};
use crate::server_key::ServerKeys;
use crate::settings::{self, Tracked, Values};
use crate::wire::capability::{CONNECT_WITH_DB, DEPRECATE_EOF, NEEDED};
use crate::wire::greeting::Greeting;
use crate::wire::login::Login;
use crate::wire::ok::Failure;
use crate::wire::{self, Reader, write};

/// How large a packet may be that comes in such an exchange.
const MAX_PACKET: usize = 32 << 10;

/// utf8mb4_general_ci: for clients whose collation has a number that does not fit in the login.
const UTF8MB4: u16 = 45;

/// What MariaDB leaves as it is in a reset: the role, which should be the user's default one, and what has been
/// profiled, which is the text of statements.
const LEFT: &[u8] = b"SELECT CURRENT_ROLE() <=> (SELECT MAX(ROLE_NAME) \
    FROM information_schema.APPLICABLE_ROLES WHERE IS_DEFAULT='YES'), \
    (SELECT COUNT(*) FROM information_schema.PROFILING)";

/// Asks for the public key, in the slow part of `caching_sha2_password`.
const REQUEST_PUBLIC_KEY: u8 = 2;

/// Commands by their codes.
pub(crate) mod command {
    pub(crate) const QUIT: u8 = 0x01;
    pub(crate) const INIT_DB: u8 = 0x02;
    pub(crate) const QUERY: u8 = 0x03;
    pub(crate) const PING: u8 = 0x0e;
    pub(crate) const RESET_CONNECTION: u8 = 0x1f;
}

/// What a server says of itself and of a connection.
#[derive(Default)]
struct Found {
    /// The values of the variables that follow clients.
    values: Values,
    /// Which server it is: another one may have others.
    server: Vec<u8>,
    is_mariadb: bool,
}

/// Logs in. Returns what is known of the connection then, which server has it, and the server's version.
///
/// # Errors
/// The server's own error as `CODE SQLSTATE message`, or what went wrong in other words.
pub(crate) fn log_in(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
    keys: &ServerKeys,
) -> Result<(Backend, Vec<u8>, Vec<u8>), String> {
    let (_, payload) = next(c)?;
    let greeting = Greeting::read(&payload)?;
    let wanted = NEEDED | identity.dialect;
    let missing = wanted & !greeting.capabilities & !wire::capability::LONG_PASSWORD;
    if missing != 0 {
        return Err(format!(
            "the server lacks capabilities {missing:#x}: it takes MySQL 5.7.5 or MariaDB 10.2, or later"
        ));
    }
    // What the server wants most may be what nobody here can do; then it may settle for another.
    let method = Method::named(&greeting.plugin).unwrap_or_default();
    let password = identity.password.as_bytes();
    let login = Login {
        capabilities: wanted | CONNECT_WITH_DB,
        collation: collation(identity),
        user: identity.user.clone().into_bytes(),
        proof: method.prove(password, &greeting.challenge),
        database: identity.database.clone(),
        plugin: method.name().as_bytes().to_vec(),
    };
    c.write(&login.packet())?;
    authenticate(c, identity, method, greeting.challenge.to_vec(), keys)?;
    let is_modern = identity.dialect & DEPRECATE_EOF != 0;
    set_names(c, identity, is_modern)?;
    let found = ask(c, tracked, is_modern)?;
    track(c, tracked, &found.values, is_modern)?;
    let backend = Backend {
        original: found.values,
        changed: Values::default(),
        database: identity.database.clone(),
    };
    Ok((backend, found.server, greeting.version))
}

/// Answers what the server wants to know of us.
fn authenticate(
    c: &mut Connection<'_>,
    identity: &Identity,
    mut method: Method,
    mut challenge: Vec<u8>,
    keys: &ServerKeys,
) -> Result<(), String> {
    let user = &identity.user;
    let password = identity.password.as_bytes();
    loop {
        let (number, payload) = next(c)?;
        match payload.split_first() {
            Some((0, _)) => return Ok(()),
            // Another way, with another challenge.
            Some((0xfe, rest)) => {
                let mut rest = Reader(rest);
                let Some(plugin) = rest.text() else {
                    return Err("the server asks for passwords of before MySQL 4.1".to_owned());
                };
                method = Method::named(plugin).ok_or_else(|| {
                    format!(
                        "the server wants user {user} to log in by {}, which is not supported: \
                         give that user mysql_native_password or caching_sha2_password",
                        String::from_utf8_lossy(plugin)
                    )
                })?;
                challenge = rest.0.strip_suffix(b"\0").unwrap_or(rest.0).to_vec();
                let proof = method.prove(password, &challenge);
                c.write(&write::packet(number.wrapping_add(1), &proof))?;
            }
            // Of caching_sha2_password: the server has the hash at hand, and OK follows.
            Some((1, [3])) if method == Method::Sha2 => {}
            // It has not, and wants the password itself.
            Some((1, [4])) if method == Method::Sha2 => {
                if matches!(keys, ServerKeys::None) {
                    return Err(format!(
                        "the server does not have the hash of user {user}'s password at hand, and wants the password \
                         itself, hidden by its public key: name a file of its key in `server-public-key-path`, or set \
                         `get-server-public-key` if nobody can pose as the server"
                    ));
                }
                c.write(&write::packet(
                    number.wrapping_add(1),
                    &[REQUEST_PUBLIC_KEY],
                ))?;
                let (number, said) = next(c)?;
                let Some((1, said)) = said.split_first() else {
                    return Err(unexpected(
                        "the login, where the server's public key should be",
                        &said,
                    ));
                };
                let hidden = keys.check(said)?.hide(password, &challenge)?;
                c.write(&write::packet(number.wrapping_add(1), &hidden))?;
            }
            _ => return Err(unexpected("the login", &payload)),
        }
    }
}

/// Makes a used connection as good as new: everything of the session goes but its default database. `original`: what
/// the variables of a new one to this server are, if that is known.
///
/// # Errors
/// The server says anything but that it has done so; or they are others now, which the tag would not tell: a new one
/// has them from `init_connect`, or an operator has changed them since then.
pub(crate) fn reset(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
    original: impl Fn(&[u8]) -> Option<Values>,
) -> Result<(), String> {
    let is_modern = identity.dialect & DEPRECATE_EOF != 0;
    c.write(&write::command(command::RESET_CONNECTION, b""))?;
    done(c, is_modern)?;
    set_names(c, identity, is_modern)?;
    let found = ask(c, tracked, is_modern)?;
    if original(&found.server).is_some_and(|original| original != found.values) {
        return Err("its variables are not those of a new connection (init_connect?)".to_owned());
    }
    has_role(c, found.is_mariadb, is_modern)?;
    track(c, tracked, &found.values, is_modern)?;
    if !identity.database.is_empty() {
        c.write(&write::command(command::INIT_DB, &identity.database))?;
        return done(c, is_modern);
    }
    // None cannot be chosen again.
    c.write(&write::command(
        command::QUERY,
        b"SELECT DATABASE() IS NULL",
    ))?;
    match &rows(c, is_modern)?[..] {
        [row] if row[..] == [b"1".to_vec()] => Ok(()),
        _ => Err("the connection has a default database, and had none".to_owned()),
    }
}

/// Sees to it that the role is that of a new connection, which a reset does not do.
fn has_role(c: &mut Connection<'_>, is_mariadb: bool, is_modern: bool) -> Result<(), String> {
    if is_mariadb {
        c.write(&write::command(command::QUERY, LEFT))?;
        return match &rows(c, is_modern)?[..] {
            [row] if row[..] == [b"1".to_vec(), b"0".to_vec()] => Ok(()),
            _ => Err("a role or profiled statements are left, which no reset removes".to_owned()),
        };
    }
    c.write(&write::command(command::QUERY, b"SET ROLE DEFAULT"))?;
    match done(c, is_modern) {
        // Before MySQL 8 there are none.
        Err(why) if why.starts_with("1064 ") => Ok(()),
        outcome => outcome,
    }
}

/// Finds out whether the server answers.
///
/// # Errors
/// It does not, or as it should not.
pub(crate) fn probe(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    c.write(&write::command(command::PING, b""))?;
    done(c, identity.dialect & DEPRECATE_EOF != 0)
}

/// The number of the collation that a connection of this identity has.
fn collation(identity: &Identity) -> u16 {
    match identity.collation {
        number @ 1..=0xff => number,
        _ => UTF8MB4,
    }
}

/// Has the server use the client's character set. It knows it from the login, but MySQL forgets it in a
/// reset.
fn set_names(c: &mut Connection<'_>, identity: &Identity, is_modern: bool) -> Result<(), String> {
    let number = collation(identity);
    let known = charset::named(number);
    let known = known.map(|(charset, collation)| (charset.to_owned(), collation.to_owned()));
    let Some((charset, collation)) =
        known.map_or_else(|| names(c, number, is_modern), |known| Ok(Some(known)))?
    else {
        return Ok(());
    };
    let sql = format!("SET NAMES {charset} COLLATE {collation}");
    c.write(&write::command(command::QUERY, sql.as_bytes()))?;
    match done(c, is_modern) {
        // MariaDB and MySQL do not have all collations of each other.
        Err(why) if why.starts_with("1273 ") => {
            let sql = format!("SET NAMES {charset}");
            c.write(&write::command(command::QUERY, sql.as_bytes()))?;
            done(c, is_modern)
        }
        outcome => outcome,
    }
}

/// What the server calls the character set and the collation of this number. None: it has none.
fn names(
    c: &mut Connection<'_>,
    number: u16,
    is_modern: bool,
) -> Result<Option<(String, String)>, String> {
    let sql = format!(
        "SELECT CHARACTER_SET_NAME,COLLATION_NAME FROM information_schema.COLLATIONS WHERE ID={number}"
    );
    c.write(&write::command(command::QUERY, sql.as_bytes()))?;
    let rows = rows(c, is_modern)?;
    let [row] = &rows[..] else {
        return Ok(None);
    };
    let is_name = |name: &[u8]| {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        !name.is_empty() && name.iter().all(is_plain)
    };
    match &row[..] {
        [charset, collation] if is_name(charset) && is_name(collation) => Ok(Some((
            String::from_utf8_lossy(charset).into_owned(),
            String::from_utf8_lossy(collation).into_owned(),
        ))),
        _ => Err(format!(
            "the server does not say what collation {number} is"
        )),
    }
}

/// Has the server tell of itself and of the connection.
fn ask(c: &mut Connection<'_>, tracked: &Tracked, is_modern: bool) -> Result<Found, String> {
    c.write(&write::command(command::QUERY, tracked.ask().as_bytes()))?;
    let mut found = Found::default();
    for row in rows(c, is_modern)? {
        let [name, value] = &row[..] else {
            return Err("the server's variables have no values".to_owned());
        };
        if settings::SERVER
            .iter()
            .any(|known| known.as_bytes() == name)
        {
            found.is_mariadb |= value.windows(7).any(|part| part == b"MariaDB");
            write::counted(&mut found.server, value);
        } else if let Some(at) = tracked.find(name) {
            found.values.insert(at, value);
        }
    }
    Ok(found)
}

/// Has the server tell how the session's state changes.
fn track(
    c: &mut Connection<'_>,
    tracked: &Tracked,
    known: &Values,
    is_modern: bool,
) -> Result<(), String> {
    let sql = tracked.track(known);
    c.write(&write::command(command::QUERY, sql.as_bytes()))?;
    done(c, is_modern)
}

/// Reads an answer that is nothing but OK.
fn done(c: &mut Connection<'_>, is_modern: bool) -> Result<(), String> {
    let (end, rows) = answer(c, Reply::new(Kind::One, is_modern))?;
    match end {
        true if rows.is_empty() => Ok(()),
        _ => Err("the server sends a result that nobody has asked for".to_owned()),
    }
}

/// Reads the rows of one result.
fn rows(c: &mut Connection<'_>, is_modern: bool) -> Result<Vec<Vec<Vec<u8>>>, String> {
    let (_, payloads) = answer(c, Reply::new(Kind::Results, is_modern))?;
    // The first is the number of columns, whose definitions come next, and then EOF if it is used.
    let mut payloads = payloads.into_iter();
    let count = payloads.next().and_then(|first| Reader(&first).number());
    let skip = usize::try_from(count.unwrap_or_default()).unwrap_or_default();
    let rows = payloads.skip(skip + usize::from(!is_modern));
    rows.map(|payload| values(&payload).ok_or_else(|| unexpected("a result", &payload)))
        .collect()
}

/// The values of a row; NULL is empty.
pub(crate) fn values(row: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut rest = Reader(row);
    let mut values = Vec::new();
    while !rest.0.is_empty() {
        values.push(match rest.0 {
            [0xfb, more @ ..] => {
                rest.0 = more;
                Vec::new()
            }
            _ => rest.counted()?.to_vec(),
        });
    }
    Some(values)
}

/// Reads an answer: the packets in front of the last one, and whether that was read to its end.
fn answer(c: &mut Connection<'_>, mut reply: Reply) -> Result<(bool, Vec<Vec<u8>>), String> {
    let mut payloads = Vec::new();
    let mut total = 0;
    loop {
        let (number, payload) = next(c)?;
        let head = wire::Head {
            length: (payload.len() + wire::HEAD) as u64,
            number,
            goes_on: false,
            first: payload.first().copied(),
        };
        match reply.see(head, &payload) {
            Part::Middle => {}
            Part::Last(End::Done { .. } | End::Eof(..)) => return Ok((true, payloads)),
            _ => return Err(unexpected("an answer", &payload)),
        }
        total += payload.len();
        if total > MAX_PACKET {
            return Err("the server answers over 32 KiB".to_owned());
        }
        payloads.push(payload);
    }
}

/// Reads a packet. That the server refuses is an error in its own words.
fn next(c: &mut Connection<'_>) -> Result<(u8, Vec<u8>), String> {
    let (number, payload) = c.read_frame(|data| {
        wire::packet(data, MAX_PACKET).map(|(number, payload)| (number, payload.to_vec()))
    })?;
    match Failure::read(&payload) {
        Some(failure) => Err(format!(
            "{} {} {}",
            failure.code, failure.sqlstate, failure.text
        )),
        None => Ok((number, payload)),
    }
}

fn unexpected(what: &str, payload: &[u8]) -> String {
    let shown = &payload[..payload.len().min(40)];
    format!("unexpected packet in {what}: \"{}\"", shown.escape_ascii())
}
