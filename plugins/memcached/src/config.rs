//! What an operator can set.

use std::num::NonZeroU32;

use leaseway_sdk::serde::Deserialize;

use crate::ketama::{self, Ring};
use crate::places::Places;

/// Into how many slots keys fall. Each is a connection of its own at times, and some of them are an
/// endpoint's share.
const SLOTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(63);

/// How many there may be.
const MOST_SLOTS: u32 = 1024;

/// How many servers a ring may have.
const MAX_SERVERS: usize = 256;

/// The largest weight of one.
const MAX_WEIGHT: u32 = 1000;

/// The `config` table of the plugin's section.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Config {
    /// Which server a key is on.
    pub distribution: Distribution,
    /// Into how many slots keys fall, with [`Distribution::Hash`].
    pub slots: NonZeroU32,
    /// The servers on the ring, with [`Distribution::Ketama`].
    pub servers: Vec<Server>,
    /// Whether the servers know the meta commands as memcached has them from 1.6.10 on.
    pub meta: bool,
}

/// Which server a key is on.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Distribution {
    /// There is one, or it does not matter.
    #[default]
    Single,
    /// By the affinity of the key's slot: the group's `balance = "hash"` says which.
    Hash,
    /// As libmemcached and its kin find it.
    Ketama,
}

/// A server on the ring.
#[derive(Clone, Debug, Deserialize)]
#[serde(crate = "leaseway_sdk::serde", untagged)]
pub enum Server {
    /// Its address.
    Address(String),
    /// Its address, and more.
    Table(ServerTable),
}

/// A server on the ring.
#[derive(Clone, Debug, Deserialize)]
#[serde(crate = "leaseway_sdk::serde", deny_unknown_fields)]
pub struct ServerTable {
    /// Where it is: as among the group's endpoints.
    pub address: String,
    /// Its share of the keys.
    #[serde(default = "one")]
    pub weight: NonZeroU32,
    /// What its points on the ring are made of, to the letter; without it, the address as
    /// [`ketama::name`] has it.
    pub name: Option<String>,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

impl Default for Config {
    fn default() -> Self {
        Self {
            distribution: Distribution::default(),
            slots: SLOTS,
            servers: Vec::new(),
            meta: true,
        }
    }
}

impl Config {
    /// How keys find their server.
    ///
    /// # Errors
    ///
    /// What is wrong with the config, and what it may be.
    pub fn places(self) -> Result<Places, String> {
        let ketama = self.distribution == Distribution::Ketama;
        if !ketama && !self.servers.is_empty() {
            return Err("`servers`: only with `distribution = \"ketama\"`".to_owned());
        }
        if self.slots.get() > MOST_SLOTS {
            let is = self.slots;
            return Err(format!("`slots`: must be 1 to {MOST_SLOTS}, not {is}"));
        }
        match self.distribution {
            Distribution::Single => Ok(Places::Single),
            Distribution::Hash => Ok(Places::Slots(self.slots)),
            Distribution::Ketama => {
                let servers = servers(self.servers)?;
                let named = servers.iter().map(|server| {
                    let name = server.name.clone();
                    let name = name.unwrap_or_else(|| ketama::name(&server.address));
                    (name, server.weight.get())
                });
                let named: Vec<(String, u32)> = named.collect();
                let ring = Ring::new(named.iter().map(|(name, weight)| (name.as_str(), *weight)));
                let addresses = servers.into_iter().map(|server| server.address).collect();
                Ok(Places::Ring(ring, addresses))
            }
        }
    }
}

/// The servers, checked.
fn servers(listed: Vec<Server>) -> Result<Vec<ServerTable>, String> {
    if !(1..=MAX_SERVERS).contains(&listed.len()) {
        let count = listed.len();
        return Err(format!(
            "`servers`: must list the group's endpoints, 1 to {MAX_SERVERS}, and lists {count}"
        ));
    }
    let mut servers: Vec<ServerTable> = Vec::new();
    for (at, server) in listed.into_iter().enumerate() {
        let server = match server {
            Server::Table(table) => table,
            Server::Address(address) => ServerTable {
                address,
                weight: NonZeroU32::MIN,
                name: None,
            },
        };
        let place = format!("`servers[{at}]`");
        let address = &server.address;
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(_))) {
            return Err(format!(
                "{place}: \"{address}\" must be an address with a port, as among the group's endpoints"
            ));
        }
        if server.weight.get() > MAX_WEIGHT {
            let is = server.weight;
            return Err(format!(
                "{place}: `weight` must be 1 to {MAX_WEIGHT}, not {is}"
            ));
        }
        if servers.iter().any(|other| other.address == *address) {
            return Err(format!(
                "{place}: \"{address}\" is listed twice; remove one"
            ));
        }
        servers.push(server);
    }
    Ok(servers)
}
