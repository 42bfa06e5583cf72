//! What a fresh connection is like, and making a used one like that again.
//!
//! A fresh one is looked at in full, and what is found is remembered. To make a used one as good as new takes one
//! round trip then: all that has to be said goes out at once, and the last answer shows whether it is as a fresh
//! one was.

use leaseway_sdk::Connection;

use super::{Trouble, command, done, is_modern, query, rows};
use crate::charset;
use crate::identity::Identity;
use crate::settings::{self, Tracked, Values};
use crate::wire::{Reader, write};

/// ER_UNKNOWN_COLLATION
const UNKNOWN_COLLATION: u16 = 1273;

/// Where the default database stands among what is found.
const DATABASE: usize = 0;

/// Behind it, what says which server it is.
const SERVER: std::ops::Range<usize> = 1..1 + settings::SERVER.len();

/// The last of these is its version.
const VERSION: usize = SERVER.end - 1;

/// Which of its own things a server of a kind leaves in a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The role, and what has been profiled, which is the text of statements.
    MariaDb = 1,
    /// Before MySQL 8 there are no roles.
    MySqlWithoutRoles = 2,
    /// The role.
    MySql = 3,
}

/// How a connection to a server is made what it should be, and looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    kind: Kind,
    /// What stands behind `SET NAMES`; empty if the server does not know the client's collation.
    names: String,
    /// Those of the variables that follow clients which the server has.
    variables: Vec<u8>,
}

/// What has been found on a connection: its database, the server, and what is the client's to change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found(Vec<Vec<u8>>);

impl Look {
    /// As it is remembered.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind as u8];
        write::counted(&mut bytes, self.names.as_bytes());
        bytes.extend(&self.variables);
        bytes
    }

    /// What was remembered. None if it was not this plugin that did.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let kind = match rest.u8()? {
            1 => Kind::MariaDb,
            2 => Kind::MySqlWithoutRoles,
            3 => Kind::MySql,
            _ => return None,
        };
        let names = String::from_utf8(rest.counted()?.to_vec()).ok()?;
        let variables = rest.0.to_vec();
        Some(Self {
            kind,
            names,
            variables,
        })
    }

    /// Has the server take texts as the client sends them, and tell how the session's state changes. It knows the
    /// character set from the login, but MySQL forgets it in a reset.
    fn sets(&self, tracked: &Tracked) -> String {
        let track = tracked.track(&self.variables);
        match self.names.is_empty() {
            true => format!("SET {track}"),
            false => format!("SET NAMES {},{track}", self.names),
        }
    }

    /// Asks for what is to be as it was on a fresh connection.
    fn asks(&self, tracked: &Tracked) -> String {
        let role = match self.kind {
            Kind::MySqlWithoutRoles => "NULL",
            Kind::MariaDb | Kind::MySql => "CURRENT_ROLE()",
        };
        let server = settings::SERVER.join(",@@");
        let mut sql = format!("SELECT DATABASE(),@@{server},CURRENT_USER(),{role}");
        for name in tracked.names(&self.variables) {
            sql.push_str(",@@");
            sql.push_str(name);
        }
        sql
    }
}

impl Found {
    /// Which server it was found on.
    pub(crate) fn server(&self) -> Vec<u8> {
        encode(self.0.get(SERVER).unwrap_or_default())
    }

    /// Of what kind that is.
    fn kind(&self) -> Kind {
        Kind::of(self.0.get(VERSION).map_or(b"", Vec::as_slice))
    }

    /// As it is remembered.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(&self.0)
    }

    /// Whether its database may have another name: `?` stands for all that the client's character set does not have.
    fn hides_database(&self) -> bool {
        self.0.get(DATABASE).is_some_and(|is| is.contains(&b'?'))
    }

    /// Another database has been chosen. Whether it may have been another one.
    fn moves_to(&mut self, database: &[u8]) -> bool {
        let is_hidden = self.hides_database();
        match self.0.get_mut(DATABASE) {
            Some(is) if is_hidden || is != database => {
                *is = database.to_vec();
                true
            }
            _ => false,
        }
    }
}

fn encode(values: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        write::counted(&mut bytes, value);
    }
    bytes
}

/// Looks at a fresh connection: how it is to be looked at, what its variables are, and what is to be found again.
///
/// # Errors
/// The server refuses something, or says what cannot be.
pub(super) fn look(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
) -> Result<(Look, Values, Found), Trouble> {
    let is_modern = is_modern(identity);
    let (look, values) = learn(c, identity, tracked)?;
    c.write(&[query(&look.sets(tracked)), query(&look.asks(tracked))].concat())?;
    done(c, is_modern)?;
    Ok((look, values, found(c, is_modern)?))
}

/// Makes a used connection as good as new. `look`: how others like it are looked at, if that is known. `fresh`: what
/// was found on a fresh one to the same server, if that is known.
///
/// # Errors
/// The server says anything but that it has done so; or something is not as on a fresh connection, or nobody knows how
/// it was there.
pub(crate) fn reset(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
    look: Option<Look>,
    fresh: impl Fn(&Found) -> Option<Vec<u8>>,
) -> Result<(), Trouble> {
    let known = look.map(|look| (renew(c, identity, tracked, &look), look.kind));
    let mut found = match known {
        Some((Ok(found), kind)) if found.kind() == kind => found,
        Some((Err(trouble @ Trouble::Broken(_)), _)) => return Err(trouble),
        // Nothing is known, or this server is of another kind, whether it refuses what is said to that or not.
        Some(_) | None => {
            let (look, _) = learn(c, identity, tracked)?;
            renew(c, identity, tracked, &look)?
        }
    };
    let Some(fresh) = fresh(&found) else {
        return Err("it is not known what a new connection to its server is like".into());
    };
    if found.encode() == fresh && !found.hides_database() {
        return Ok(());
    }
    // None cannot be chosen again.
    if !identity.database.is_empty() && found.moves_to(&identity.database) {
        c.write(&write::command(command::INIT_DB, &identity.database))?;
        done(c, is_modern(identity))?;
        if found.encode() == fresh {
            return Ok(());
        }
    }
    Err(
        "its user, role, database or variables are not those of a new connection (init_connect?)"
            .into(),
    )
}

/// Resets a connection, and says what it is like then.
fn renew(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
    look: &Look,
) -> Result<Found, Trouble> {
    let is_modern = is_modern(identity);
    // Refused if a transaction of XA is left, which a reset of MariaDB leaves half there.
    let mut commands = query("ROLLBACK");
    commands.extend(write::command(command::RESET_CONNECTION, b""));
    commands.extend(query(&look.sets(tracked)));
    if look.kind == Kind::MySql {
        commands.extend(query("SET ROLE DEFAULT"));
    }
    commands.extend(query(&look.asks(tracked)));
    if look.kind == Kind::MariaDb {
        commands.extend(query("SHOW PROFILES"));
    }
    c.write(&commands)?;
    // All answers are read, also behind a refusal: none may be left for whoever reads next.
    let (mut refusal, mut kept) = (None, None);
    keep(done(c, is_modern), &mut kept)?;
    keep(done(c, is_modern), &mut refusal)?;
    keep(done(c, is_modern), &mut refusal)?;
    if look.kind == Kind::MySql {
        keep(done(c, is_modern), &mut refusal)?;
    }
    let found = keep(found(c, is_modern), &mut refusal)?;
    if look.kind == Kind::MariaDb {
        keep(has_no_profiles(c, is_modern), &mut refusal)?;
    }
    if let Some(why) = kept {
        return Err(format!("a transaction is left that cannot be rolled back: {why}").into());
    }
    match (found, refusal) {
        (Some(found), None) => Ok(found),
        (_, Some(refusal)) => Err(refusal),
        (None, None) => Err("the server does not say what the connection is like".into()),
    }
}

/// Puts a refusal aside, if it is the first.
fn keep<T>(
    outcome: Result<T, Trouble>,
    refusal: &mut Option<Trouble>,
) -> Result<Option<T>, Trouble> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(why @ Trouble::Refused(..)) => {
            refusal.get_or_insert(why);
            Ok(None)
        }
        Err(why) => Err(why),
    }
}

fn has_no_profiles(c: &mut Connection<'_>, is_modern: bool) -> Result<(), Trouble> {
    match rows(c, is_modern) {
        Ok(rows) if rows.is_empty() => Ok(()),
        Ok(_) => Err("profiled statements are left, which no reset removes".into()),
        // ER_FEATURE_DISABLED: this server profiles nothing.
        Err(Trouble::Refused(1289, _)) => Ok(()),
        Err(why) => Err(why),
    }
}

fn found(c: &mut Connection<'_>, is_modern: bool) -> Result<Found, Trouble> {
    match <[_; 1]>::try_from(rows(c, is_modern)?) {
        Ok([row]) => Ok(Found(row)),
        Err(_) => Err("the server does not say what the connection is like".into()),
    }
}

/// Learns how connections like this one are looked at, and what its variables are. It has the client's character set
/// then.
fn learn(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
) -> Result<(Look, Values), Trouble> {
    let is_modern = is_modern(identity);
    let number = collation(identity);
    let named = match charset::named(number) {
        Some((charset, collation)) => Some((charset.to_owned(), collation.to_owned())),
        None => names(c, number, is_modern)?,
    };
    let mut names = String::new();
    if let Some((charset, collation)) = named {
        names = format!("{charset} COLLATE {collation}");
        c.write(&query(&format!("SET NAMES {names}")))?;
        match done(c, is_modern) {
            // MariaDB and MySQL do not have all collations of each other.
            Err(Trouble::Refused(UNKNOWN_COLLATION, _)) => {
                c.write(&query(&format!("SET NAMES {charset}")))?;
                done(c, is_modern)?;
                names = charset;
            }
            outcome => outcome?,
        }
    }
    c.write(&query(&tracked.ask()))?;
    let mut values = Values::default();
    let mut version = None;
    for row in rows(c, is_modern)? {
        let [name, value] = &row[..] else {
            return Err("the server's variables have no values".into());
        };
        if name == b"version" {
            version = Some(value.clone());
        } else if let Some(at) = tracked.find(name) {
            values.insert(at, value);
        }
    }
    let version = version.ok_or("the server does not say its version")?;
    let look = Look {
        kind: Kind::of(&version),
        names,
        variables: values.places().collect(),
    };
    Ok((look, values))
}

impl Kind {
    fn of(version: &[u8]) -> Self {
        let major = version.split(|byte| !byte.is_ascii_digit()).next();
        if version.windows(7).any(|part| part == b"MariaDB") {
            Self::MariaDb
        } else if major.is_some_and(|major| major.len() == 1 && major < b"8") {
            Self::MySqlWithoutRoles
        } else {
            Self::MySql
        }
    }
}

/// What the server calls the character set and the collation of this number. None: it has none.
fn names(
    c: &mut Connection<'_>,
    number: u16,
    is_modern: bool,
) -> Result<Option<(String, String)>, Trouble> {
    c.write(&query(&format!(
        "SELECT CHARACTER_SET_NAME,COLLATION_NAME FROM information_schema.COLLATIONS WHERE ID={number}"
    )))?;
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
        _ => Err(format!("the server does not say what collation {number} is").into()),
    }
}

/// The number of the collation that a connection of this identity has: some have one that does not fit in a login.
pub(super) fn collation(identity: &Identity) -> u16 {
    match identity.collation {
        number @ 1..=0xff => number,
        _ => charset::UTF8MB4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_as_it_was() {
        let looks = [Kind::MariaDb, Kind::MySqlWithoutRoles, Kind::MySql].map(|kind| Look {
            kind,
            names: "utf8mb4 COLLATE utf8mb4_bin".to_owned(),
            variables: vec![0, 3, 7],
        });
        for look in looks {
            assert_eq!(Look::decode(&look.encode()), Some(look));
        }
        for unknown in [&b""[..], b"\x04\0", b"\x01\x05x"] {
            assert_eq!(Look::decode(unknown), None);
        }
    }

    #[test]
    fn versions_tell_what_a_reset_leaves() {
        for (version, kind) in [
            ("10.11.14-MariaDB-0+deb12u2", Kind::MariaDb),
            ("5.5.5-10.6.1-MariaDB", Kind::MariaDb),
            ("5.7.44-log", Kind::MySqlWithoutRoles),
            ("8.0.36", Kind::MySql),
            ("9.7.4-2", Kind::MySql),
            ("10.0.1", Kind::MySql),
            ("", Kind::MySql),
        ] {
            assert_eq!(Kind::of(version.as_bytes()), kind, "{version}");
        }
    }
}
