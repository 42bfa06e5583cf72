//! One client: from the first byte of its ClientHello to the plain copy.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use leaseway_sdk::{
    Choice, ChooseUpstream, LeaseError, OnData, OnLeaseFailed, SessionInfo, Side, Steps, Target,
    debug,
};

use crate::config::Affinity;
use crate::name::{HostName, NoHostName};
use crate::routes::Found;
use crate::tls::record::Assembler;
use crate::tls::{Alert, ClientHello, Refusal};
use crate::{SESSION, Shared};

/// How many bytes of what a client has sent are told to the operator at most: a host name is shorter.
const EXCERPT: usize = 256;

/// One client.
pub struct Session {
    shared: Rc<Shared>,
    /// A hash of the client's address, if connections are spread by it.
    client: Option<u64>,
    state: State,
}

enum State {
    /// The ClientHello is not whole yet.
    Hello(Assembler),
    /// It has been taken, and the server has not said a word. The client's version.
    Routed(u16),
    /// What passes is between client and server.
    Passing,
}

impl Session {
    pub(crate) fn new(shared: Rc<Shared>, info: &SessionInfo) -> Self {
        let by_client = shared.config.affinity == Affinity::Client;
        Self {
            client: by_client.then(|| hash(host(&info.client_address).as_bytes())),
            shared,
            state: State::Hello(Assembler::default()),
        }
    }

    /// Where the client is to go; none if more must come.
    fn route(&mut self, sent: &[u8]) -> Result<Option<Target>, Refusal> {
        let State::Hello(assembler) = &mut self.state else {
            // A session has one lease, and ends with it.
            let why = "the client is shown again after its ClientHello";
            return Err(Refusal::new(Alert::InternalError, why));
        };
        let max = usize::try_from(self.shared.config.max_hello.get()).unwrap_or(usize::MAX);
        let Some(whole) = assembler.take(sent, max)? else {
            return Ok(None);
        };
        let hello = ClientHello::parse(&whole)?;
        self.state = State::Routed(hello.version);
        self.shared.way(&hello, self.client).map(Some)
    }

    fn version(&self) -> Option<u16> {
        match self.state {
            State::Routed(version) => Some(version),
            State::Hello(_) | State::Passing => None,
        }
    }
}

impl Shared {
    /// Where this ClientHello leads.
    fn way(&self, hello: &ClientHello<'_>, client: Option<u64>) -> Result<Target, Refusal> {
        let name = match hello.server_name {
            Some(sent) => self.name(sent)?,
            None => None,
        };
        let mut target = Target::new(SESSION);
        if let Some(group) = self.group(hello, name.as_ref())? {
            let name = name.as_ref().map_or("no server name", HostName::as_str);
            debug!("{name} to group {group}");
            target = target.group(group);
        }
        let by_name = || name.as_ref().map(|name| hash(name.as_str().as_bytes()));
        target.affinity = client.or_else(by_name);
        Ok(target)
    }

    /// The name in a form that can be looked for. Some clients send an address, although RFC 6066 does
    /// not let them: that is as good as no name, if who has none is served.
    fn name(&self, sent: &[u8]) -> Result<Option<HostName>, Refusal> {
        match HostName::parse(sent) {
            Ok(name) => Ok(Some(name)),
            Err(NoHostName::Address) if self.serves_nameless() => Ok(None),
            Err(why) => {
                let why = format!("the server name \"{}\" {why}", excerpt(sent));
                Err(Refusal::new(Alert::IllegalParameter, why))
            }
        }
    }

    fn serves_nameless(&self) -> bool {
        self.routes.is_empty() || self.config.default.is_some()
    }

    /// The group; none for the listener's first.
    fn group(
        &self,
        hello: &ClientHello<'_>,
        name: Option<&HostName>,
    ) -> Result<Option<&str>, Refusal> {
        let default = self.config.default.as_deref();
        if self.routes.is_empty() {
            return Ok(default);
        }
        let Some(name) = name else {
            return default.map(Some).ok_or_else(|| {
                let why = "the client names no server, and there is no `default`";
                Refusal::new(Alert::MissingExtension, why)
            });
        };
        let protocols: Vec<&[u8]> = hello.protocols().collect();
        match (self.routes.find(name, &protocols), default) {
            (Found::Group(group), _) | (_, Some(group)) => Ok(Some(group)),
            (Found::OtherProtocols, None) => {
                let offered = excerpt(&protocols.join(&b", "[..]));
                let name = name.as_str();
                let why = format!("no route for {name} with any of the protocols [{offered}]");
                Err(Refusal::new(Alert::NoApplicationProtocol, why))
            }
            (Found::Nothing, None) => {
                let why = format!("no route for {}", name.as_str());
                Err(Refusal::new(Alert::UnrecognizedName, why))
            }
        }
    }
}

impl ChooseUpstream for Session {
    fn choose_upstream(&mut self, sent: &[u8]) -> Choice {
        let timeout = self.shared.config.hello_timeout;
        if sent.is_empty() && timeout > 0 {
            let timeout = Duration::from_secs(timeout.into());
            return Choice::answer(Steps::new().deadline(timeout, []));
        }
        match self.route(sent) {
            Ok(None) => Choice::NeedMore,
            // Its connection is a fresh one, so nothing is ever sent twice.
            Ok(Some(target)) => {
                Choice::answer(Steps::new().no_deadline().lease(target).forward_rest())
            }
            Err(refusal) => Choice::refuse(refusal.alert.record(self.version()), refusal.why),
        }
    }
}

impl OnData for Session {
    fn on_data(&mut self, origin: Side, _: &[u8]) -> Steps {
        if origin == Side::Upstream {
            self.state = State::Passing;
        }
        Steps::new().forward_rest()
    }
}

impl OnLeaseFailed for Session {
    fn on_lease_failed(&mut self, why: &LeaseError) -> Steps {
        if matches!(self.state, State::Passing) {
            // An alert in the clear would stand in the middle of what is encrypted.
            return Steps::new();
        }
        let alert = Alert::InternalError.record(self.version());
        Steps::new()
            .send(Side::Client, alert)
            .close(format!("no upstream: {why}"))
    }
}

/// What a client has sent, as an operator can read it: of what is long, the beginning.
fn excerpt(sent: &[u8]) -> String {
    match sent.get(..EXCERPT) {
        Some(begin) if begin.len() < sent.len() => format!("{}...", begin.escape_ascii()),
        _ => sent.escape_ascii().to_string(),
    }
}

/// The address without the port, which is another one each time, and in the form that does not depend
/// on whether the listener is of IPv6 too.
fn host(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().to_string(),
        Err(_) => address.to_owned(),
    }
}

/// FNV-1a, 64 bits: the same in every process, so that all relays send a client to one server.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_the_same_on_listeners_of_both_kinds() {
        assert_eq!(host("192.0.2.1:40000"), "192.0.2.1");
        assert_eq!(host("[::ffff:192.0.2.1]:50000"), "192.0.2.1");
        assert_eq!(host("[2001:db8::1]:50000"), "2001:db8::1");
    }
}
