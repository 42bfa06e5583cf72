//! Exchanges with a connection that no session holds: logging in on a fresh one, making a used one
//! as good as new, and finding out whether an idle one is alive.

use leaseway_sdk::Connection;

use crate::auth::scram::By;
use crate::auth::{Secret, scram};
use crate::backend::{Backend, CancelKey};
use crate::config::Role;
use crate::identity::Identity;
use crate::settings::{self, MAX_VALUE, Tracked, Values};
use crate::wire::{self, write};

/// How large a message may be that comes in such an exchange.
const MAX_MESSAGE: usize = 32 << 10;

/// How many bytes of parameters a server may announce.
const MAX_PARAMETERS: usize = 16 << 10;

/// A message: its type and its body.
type Message = (u8, Vec<u8>);

/// Logs in. Returns the connection's tag.
///
/// # Errors
/// The server's own error as `SQLSTATE message`, or what went wrong in words that begin with a small
/// letter.
pub(crate) fn log_in(
    c: &mut Connection<'_>,
    identity: &Identity,
    tracked: &Tracked,
) -> Result<Vec<u8>, String> {
    c.write(&write::start(&identity.parameters))?;
    authenticate(c, identity)?;
    let mut parameters = Vec::new();
    let mut settings = vec![None; tracked.count()];
    let mut key = CancelKey::default();
    loop {
        match next(c)? {
            (b'S', body) => {
                parameters.extend(write::message(b'S', &body));
                if parameters.len() > MAX_PARAMETERS {
                    return Err("the server announces over 16 KiB of parameters".to_owned());
                }
                if let Some((name, rest)) = wire::text(&body)
                    && let Some((value, _)) = wire::text(rest)
                    && let Some(at) = tracked.find(name)
                {
                    settings[at] = Some(value.to_vec());
                }
            }
            (b'K', body) => {
                if let Ok(known) = CancelKey::try_from(&body[..]) {
                    key = known;
                }
            }
            (b'N', _) => {}
            (b'Z', body) if body == b"I" => break,
            (kind, body) => return Err(unexpected("the login", kind, &body)),
        }
    }
    let unknown: Vec<usize> = (0..settings.len())
        .filter(|at| settings[*at].is_none())
        .collect();
    if !unknown.is_empty() {
        let query = tracked.ask(&unknown);
        let row = ask_for_row(c, &query)?;
        for (at, value) in unknown.into_iter().zip(row) {
            settings[at] = Some(value);
        }
    }
    for (name, value) in tracked.names().zip(&settings) {
        match value {
            Some(value) if settings::can_follow(value) => {}
            Some(_) => {
                return Err(format!(
                    "the server's {name} cannot be followed: it is not plain ASCII of at most {MAX_VALUE} bytes"
                ));
            }
            None => return Err(format!("the server does not know the setting {name}")),
        }
    }
    let settings: Values = settings.into_iter().flatten().collect();
    let backend = Backend::fresh(key, &parameters, &settings);
    Ok(backend.tag().to_vec())
}

/// Answers what the server wants to know of us.
fn authenticate(c: &mut Connection<'_>, identity: &Identity) -> Result<(), String> {
    let user = identity.user();
    let secret = identity.secret();
    let needs = |what: &str| {
        format!("the server asks user {user} for {what}, which the config does not have")
    };
    loop {
        let (kind, body) = next(c)?;
        let Some((code, data)) = body.split_first_chunk::<4>().filter(|_| kind == b'R') else {
            if kind == b'N' {
                continue;
            }
            return Err(unexpected("the login", kind, &body));
        };
        match u32::from_be_bytes(*code) {
            0 => return Ok(()),
            3 => {
                let Some(Secret::Plain(password)) = &secret else {
                    return Err(needs("the password itself"));
                };
                c.write(&write::password(password.as_bytes()))?;
            }
            5 => {
                let salt = data
                    .try_into()
                    .map_err(|_| "the server sent a malformed MD5 salt")?;
                let answer = secret
                    .as_ref()
                    .and_then(|secret| secret.md5_answer(user, salt));
                let answer = answer.ok_or_else(|| needs("a password or its MD5 hash"))?;
                c.write(&write::password(answer.as_bytes()))?;
            }
            10 => {
                let known = data.split(|byte| *byte == 0);
                if !known
                    .into_iter()
                    .any(|name| name == scram::MECHANISM.as_bytes())
                {
                    return Err("the server offers no SCRAM-SHA-256".to_owned());
                }
                let by = match (&secret, &identity.keys) {
                    (Some(Secret::Plain(password)), _) => By::Password(password.as_bytes()),
                    (_, Some(keys)) => By::Keys(keys),
                    _ => return Err(needs("the password itself, by SCRAM")),
                };
                prove(c, by)?;
            }
            code => {
                return Err(format!(
                    "the server asks for an authentication of kind {code}, which is not supported"
                ));
            }
        }
    }
}

/// SCRAM-SHA-256, up to the server's proof that it knows the password too.
fn prove(c: &mut Connection<'_>, by: By<'_>) -> Result<(), String> {
    let nonce = scram::nonce(&crate::random::<18>()?);
    let (client, first) = scram::Client::begin(&nonce);
    c.write(&write::sasl_initial(scram::MECHANISM, &first))?;
    let challenge = sasl(c, 11)?;
    let (last, expected) = client.prove(by, &challenge)?;
    c.write(&write::message(b'p', last.as_bytes()))?;
    if !expected.is(&sasl(c, 12)?) {
        return Err("the server does not prove that it knows the password".to_owned());
    }
    Ok(())
}

/// The data of an `AuthenticationSASLContinue` or `AuthenticationSASLFinal`.
fn sasl(c: &mut Connection<'_>, wanted: u32) -> Result<Vec<u8>, String> {
    match next(c)? {
        (b'R', body) if body.starts_with(&wanted.to_be_bytes()) => Ok(body[4..].to_vec()),
        (kind, body) => Err(unexpected("SCRAM", kind, &body)),
    }
}

/// Makes a used connection as good as new.
///
/// # Errors
/// The server says anything but that it has done so.
pub(crate) fn reset(c: &mut Connection<'_>, query: &str) -> Result<(), String> {
    ask(c, query, b'C', "reset-query")
}

/// Finds out whether the server answers: an empty query has no plan, no snapshot and no effect. If it has
/// to have a role, it is asked for that instead.
///
/// # Errors
/// It does not, or as it should not, or it has another role.
pub(crate) fn probe(c: &mut Connection<'_>, role: Option<Role>) -> Result<(), String> {
    let Some(role) = role else {
        return ask(c, "", b'I', "an empty query");
    };
    match find_role(c)? {
        is if is == role => Ok(()),
        is => Err(wrong(is)),
    }
}

/// Leaves a server that has been logged in to and has another role than it has to have. Where the server has closed
/// the connection the host tries another one, as it does where none can be reached.
///
/// # Errors
/// It has.
pub(crate) fn leave_unless(c: &mut Connection<'_>, role: Role) -> Result<(), String> {
    let is = find_role(c)?;
    if is == role {
        return Ok(());
    }
    c.write(&write::terminate())?;
    while c.read(MAX_MESSAGE as u32).is_ok() {}
    Err(wrong(is))
}

fn find_role(c: &mut Connection<'_>) -> Result<Role, String> {
    let row = ask_for_row(c, "SELECT pg_catalog.pg_is_in_recovery()")?;
    match row.first().map(Vec::as_slice) {
        Some(b"t") => Ok(Role::Replica),
        Some(b"f") => Ok(Role::Primary),
        _ => Err("the server does not say whether it is a replica".to_owned()),
    }
}

/// What is wrong with a server that is this.
fn wrong(is: Role) -> String {
    match is {
        Role::Replica => "the server is a replica, and no primary".to_owned(),
        Role::Primary => "the server is no replica".to_owned(),
    }
}

/// Sends a query that is answered by one row of values, none of them NULL.
fn ask_for_row(c: &mut Connection<'_>, sql: &str) -> Result<Vec<Vec<u8>>, String> {
    c.write(&write::query(sql))?;
    let mut row = None;
    loop {
        match next(c)? {
            (b'D', body) if row.is_none() => {
                let values = wire::row(&body).and_then(|values| {
                    let values = values.into_iter();
                    values.map(|value| value.map(<[u8]>::to_vec)).collect()
                });
                row = Some(values.ok_or_else(|| unexpected("a query", b'D', &body))?);
            }
            (b'T' | b'C' | b'N' | b'S' | b'A', _) => {}
            (b'Z', body) if body == b"I" => {
                return row.ok_or_else(|| format!("the server answers nothing to {sql}"));
            }
            (kind, body) => return Err(unexpected("a query", kind, &body)),
        }
    }
}

/// Sends a query that is answered by messages of this type alone, of which there is at least one.
fn ask(c: &mut Connection<'_>, sql: &str, answer: u8, name: &str) -> Result<(), String> {
    c.write(&write::query(sql))?;
    let mut is_answered = false;
    loop {
        match next(c)? {
            (kind, _) if kind == answer => is_answered = true,
            (b'N' | b'S' | b'A', _) => {}
            (b'Z', body) if body == b"I" && is_answered => return Ok(()),
            (kind, body) => return Err(unexpected(name, kind, &body)),
        }
    }
}

/// Reads a message. That the server refuses is an error in its own words.
fn next(c: &mut Connection<'_>) -> Result<Message, String> {
    let (kind, body) = c.read_frame(|data| {
        wire::message(data, MAX_MESSAGE).map(|(kind, body)| (kind, body.to_vec()))
    })?;
    if kind == b'E' {
        let (code, message) = wire::error(&body);
        return Err(format!("{code} {message}"));
    }
    Ok((kind, body))
}

fn unexpected(what: &str, kind: u8, body: &[u8]) -> String {
    let shown = &body[..body.len().min(40)];
    format!(
        "unexpected message in {what}: {} {}",
        char::from(kind).escape_default(),
        shown.escape_ascii()
    )
}
