//! What an operator can set, and what is wrong with it.

use leaseway_sdk::serde::Deserialize;

use crate::wire::request::Request;
use crate::wire::{Limits, Read, authority, is_token};

/// The `config` table of the plugin's section.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Config {
    /// Which requests go where.
    pub routes: Vec<Route>,
    /// The upstream group of requests that no route is for. None: 404 if there are routes, and else
    /// the listener's first group.
    pub default_upstream: Option<String>,
    /// How servers are told whom a request is from.
    pub forwarded: Forwarded,
    /// The name under which the relay adds itself to `Via`; empty: it does not.
    pub via: String,
    /// How many bytes a head may have, or a trailer section.
    pub max_head: usize,
    /// How many field lines it may have.
    pub max_fields: usize,
    /// How long a request's target may be.
    pub max_target: usize,
    /// How long a request's body may be. None: as long as it likes.
    pub max_body: Option<u64>,
    /// How many seconds a head may take from its first byte to its last.
    pub head_timeout: u32,
    /// How many seconds a client may leave its server waiting for more of a body; 0: for ever.
    pub body_timeout: u32,
    /// How many seconds a server may take from a request's end to its response; 0: for ever.
    pub response_timeout: u32,
    /// How servers are asked whether they are alive.
    pub probe: Probe,
}

/// One route.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    rename_all = "kebab-case"
)]
pub struct Route {
    /// A host, or `*.` and a domain for all hosts below it. None: any.
    pub host: Option<String>,
    /// The path, and all below it.
    #[serde(default = "root")]
    pub path: String,
    /// The upstream group.
    pub upstream: String,
}

fn root() -> String {
    "/".to_owned()
}

/// The field by which servers are told whom a request is from.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(crate = "leaseway_sdk::serde", rename_all = "kebab-case")]
pub enum Forwarded {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// None.
    None,
}

/// A probe.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    crate = "leaseway_sdk::serde",
    deny_unknown_fields,
    default,
    rename_all = "kebab-case"
)]
pub struct Probe {
    /// Method and target.
    pub request: String,
    /// The `Host` field.
    pub host: String,
    /// The status of the answer. None: any below 500.
    pub expect: Option<u16>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            request: "HEAD /".to_owned(),
            host: "localhost".to_owned(),
            expect: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            default_upstream: None,
            forwarded: Forwarded::default(),
            via: "leaseway".to_owned(),
            max_head: 16 << 10,
            max_fields: 100,
            max_target: 8000,
            max_body: None,
            head_timeout: 8,
            body_timeout: 60,
            response_timeout: 60,
            probe: Probe::default(),
        }
    }
}

/// The least that a host shows a plugin of one side, whatever its config.
const LEAST_SHOWN: usize = 32 << 10;

/// A week, in seconds.
const LONGEST: u32 = 7 * 24 * 3600;

impl Config {
    /// The limits of a head.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            head: self.max_head,
            fields: self.max_fields,
            target: self.max_target,
        }
    }

    /// Looks for mistakes; routes have their own.
    ///
    /// # Errors
    ///
    /// The first, for the operator.
    pub fn check(&self) -> Result<(), String> {
        within("max-head", self.max_head, 1024, LEAST_SHOWN)?;
        within("max-fields", self.max_fields, 1, 1000)?;
        within("max-target", self.max_target, 1, self.max_head - 512)?;
        within("head-timeout", self.head_timeout, 1, LONGEST)?;
        within("body-timeout", self.body_timeout, 0, LONGEST)?;
        within("response-timeout", self.response_timeout, 0, LONGEST)?;
        let is_name =
            |text: &str| is_token(text.as_bytes()) || authority::host(text.as_bytes()).is_some();
        if !self.via.is_empty() && !is_name(&self.via) {
            return Err(format!(
                "`via`: must be a name without blanks, or \"\" for none, not {:?}",
                self.via
            ));
        }
        self.probe.check(self.limits())
    }
}

fn within<N: Copy + PartialOrd + std::fmt::Display>(
    key: &str,
    number: N,
    least: N,
    most: N,
) -> Result<(), String> {
    if number < least || number > most {
        return Err(format!("`{key}`: must be {least} to {most}, not {number}"));
    }
    Ok(())
}

impl Probe {
    /// The request, as it is sent.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { request, host, .. } = self;
        format!("{request} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: leaseway\r\n\r\n").into_bytes()
    }

    fn check(&self, limits: Limits) -> Result<(), String> {
        if self.host.is_empty() || authority::host(self.host.as_bytes()).is_none() {
            let host = &self.host;
            return Err(format!(
                "`probe.host`: must be a host, or host:port, not {host:?}"
            ));
        }
        if let Some(status) = self.expect
            && !(200..600).contains(&status)
        {
            return Err(format!(
                "`probe.expect`: must be a status from 200 to 599, not {status}"
            ));
        }
        match Request::read(&self.bytes(), limits) {
            Read::Complete(request) if request.method != b"CONNECT" => Ok(()),
            Read::Complete(_) => Err("`probe.request`: CONNECT cannot be a probe".to_owned()),
            Read::Incomplete | Read::Invalid(_) => Err(format!(
                "`probe.request`: must be a method and a path, such as \"GET /health\", not {:?}",
                self.request
            )),
        }
    }
}
