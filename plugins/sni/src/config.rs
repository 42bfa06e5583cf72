//! What an operator can set.

use std::num::NonZeroU32;

use leaseway_sdk::serde::Deserialize;

use crate::name::Pattern;
use crate::routes::{MAX_ROUTES, Routes};

/// How long a ClientHello may be. Those of browsers with post-quantum key shares have about 2 KiB.
const MAX_HELLO: NonZeroU32 = NonZeroU32::MIN.saturating_add(16 * 1024 - 1);

/// What an operator may set that to: with the headers of 1,024 records, still below the 64 KiB that
/// the host shows a plugin by default.
const MOST_HELLO: u32 = 48 * 1024;

/// How long a ClientHello may take: as a listener's `preread-timeout`.
const HELLO_TIMEOUT: u32 = 10;

/// A week, in seconds.
const LONGEST: u32 = 7 * 24 * 3600;

/// The longest name of a protocol (RFC 7301, section 3.1).
const MAX_PROTOCOL: usize = 255;

/// The `config` table of the plugin's section.
#[derive(Debug, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Config {
    /// Where server names lead.
    pub routes: Vec<Route>,
    /// The group of clients for whom there is no route. Without it they are refused; but with no
    /// routes either, everybody goes to the listener's first group.
    pub default: Option<String>,
    /// How many bytes a ClientHello may have.
    pub max_hello: NonZeroU32,
    /// How many seconds after it has connected a client's ClientHello must be whole; 0: whenever.
    pub hello_timeout: u32,
    /// What `balance = "hash"` goes by.
    pub affinity: Affinity,
    /// How an endpoint is asked whether it is alive.
    pub probe: Probe,
}

/// One route.
#[derive(Debug, Deserialize)]
#[serde(crate = "leaseway_sdk::serde", deny_unknown_fields)]
pub struct Route {
    /// A host name, `*.` and a host name, or `*`.
    pub name: String,
    /// Only for clients that offer this protocol.
    pub alpn: Option<String>,
    /// The upstream group.
    pub upstream: String,
}

/// What `balance = "hash"` goes by.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Affinity {
    /// The client's address: it comes back to a server that knows its TLS session.
    #[default]
    Client,
    /// The server name.
    Name,
}

/// How an endpoint is asked whether it is alive.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Probe {
    /// By a ClientHello that it has to refuse.
    #[default]
    Tls,
    /// By connecting to it.
    Tcp,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            default: None,
            max_hello: MAX_HELLO,
            hello_timeout: HELLO_TIMEOUT,
            affinity: Affinity::default(),
            probe: Probe::default(),
        }
    }
}

impl Config {
    /// Checks what serde cannot, and returns the routes in the form in which they are searched.
    ///
    /// # Errors
    ///
    /// What is wrong, with its place, and what it may be.
    pub fn routes(&self) -> Result<Routes, String> {
        if self.max_hello.get() > MOST_HELLO {
            let is = self.max_hello;
            return Err(format!("`max-hello`: must be 1 to {MOST_HELLO}, not {is}"));
        }
        if self.hello_timeout > LONGEST {
            let is = self.hello_timeout;
            return Err(format!("`hello-timeout`: must be 0 to {LONGEST}, not {is}"));
        }
        if self.routes.len() > MAX_ROUTES {
            let count = self.routes.len();
            return Err(format!("`routes`: there are {count}, at most {MAX_ROUTES}"));
        }
        if self.default.as_deref() == Some("") {
            return Err("`default`: must be the name of an upstream group".to_owned());
        }
        let mut routes = Routes::default();
        for (at, route) in self.routes.iter().enumerate() {
            let place = |key: &str| format!("`routes[{at}].{key}`");
            let pattern = Pattern::parse(&route.name)
                .map_err(|why| format!("{}: {:?} {why}", place("name"), route.name))?;
            if let Some(protocol) = &route.alpn
                && !(1..=MAX_PROTOCOL).contains(&protocol.len())
            {
                let place = place("alpn");
                return Err(format!(
                    "{place}: must be the name of a protocol, such as \"h2\", of 1 to \
                     {MAX_PROTOCOL} bytes"
                ));
            }
            if route.upstream.is_empty() {
                let place = place("upstream");
                return Err(format!("{place}: must be the name of an upstream group"));
            }
            if routes
                .add(pattern, route.alpn.as_deref(), &route.upstream)
                .is_none()
            {
                let place = place("name");
                return Err(format!(
                    "{place}: there is an earlier route for {:?} with the same `alpn`; remove one",
                    route.name
                ));
            }
        }
        Ok(routes)
    }
}
