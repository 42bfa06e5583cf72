//! What must hold between sections.

use std::net::SocketAddr;

use super::{Listener, Name};
use crate::config::model::{AdminConfig, UpstreamConfig};
use crate::config::names::suggestion;
use crate::config::notes::{Notes, Span};

/// What a listener names must exist.
pub(super) fn names(
    notes: &Notes<'_>,
    listeners: &[Listener],
    plugins: &[Name],
    upstreams: &[Name],
) {
    for listener in listeners {
        let config = &listener.config;
        if let Some(plugin) = &config.plugin {
            exists(
                notes,
                &config.name,
                "plugin",
                plugin,
                &listener.plugin_at,
                plugins,
            );
        }
        for (upstream, at) in config.upstreams.iter().zip(&listener.upstreams_at) {
            exists(notes, &config.name, "upstream", upstream, at, upstreams);
        }
    }
}

fn exists(notes: &Notes<'_>, listener: &str, kind: &str, name: &str, at: &Span, all: &[Name]) {
    if all.iter().any(|known| known.name == name) {
        return;
    }
    let valid: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
    let mend = if valid.is_empty() {
        format!("; add [{kind}s.{name}]")
    } else {
        suggestion(name, &format!("{kind}s"), &valid)
    };
    notes.wrong(
        at,
        format!(
            "[listeners.{listener}] names the {kind} {name:?}, which is not in this file{mend}"
        ),
    );
}

/// No address may be bound twice.
pub(super) fn addresses(
    notes: &Notes<'_>,
    listeners: &[Listener],
    admin: Option<&(AdminConfig, Span)>,
) {
    let mut bound: Vec<(String, SocketAddr)> = Vec::new();
    let listeners = listeners.iter().map(|listener| {
        (
            format!("[listeners.{}]", listener.config.name),
            listener.config.bind,
            &listener.bind_at,
        )
    });
    let admin = admin.map(|(config, at)| ("[admin]".to_owned(), config.bind, at));
    for (who, address, at) in listeners.chain(admin) {
        match bound.iter().find(|(_, other)| overlap(*other, address)) {
            Some((other, taken)) => notes.wrong(
                at,
                format!("{who} binds {address}, but {other} binds {taken}; choose another port"),
            ),
            None => bound.push((who, address)),
        }
    }
}

/// Whether the kernel would refuse the second of two addresses.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || (any && one.is_ipv4() == other.is_ipv4()))
}

/// Sections that no listener names, and upstreams that one never leads to.
pub(super) fn unused(
    notes: &Notes<'_>,
    listeners: &[Listener],
    plugins: &[Name],
    upstreams: &[Name],
) {
    for plugin in plugins {
        let used = |listener: &Listener| listener.config.plugin.as_ref() == Some(&plugin.name);
        if !listeners.iter().any(used) {
            let name = &plugin.name;
            notes.warn(&plugin.at, format!("[plugins.{name}] is loaded, but no listener uses it; name it as plugin = {name:?}, or remove it"));
        }
    }
    for upstream in upstreams {
        let used = |listener: &Listener| listener.config.upstreams.contains(&upstream.name);
        if !listeners.iter().any(used) {
            let name = &upstream.name;
            notes.warn(&upstream.at, format!("[upstreams.{name}] is used by no listener; name it in `upstreams` of one, or remove it"));
        }
    }
    for listener in listeners {
        let config = &listener.config;
        if let (None, [_, second, ..], [_, at, ..]) = (
            &config.plugin,
            config.upstreams.as_slice(),
            listener.upstreams_at.as_slice(),
        ) {
            notes.warn(at, format!("[listeners.{}] has no plugin to choose an upstream, so {second:?} is never chosen; name a plugin, or list one upstream", config.name));
        }
    }
}

/// Probes are a plugin's work: without one they never happen.
pub(super) fn probes(
    notes: &Notes<'_>,
    listeners: &[Listener],
    upstreams: &[UpstreamConfig],
    names: &[Name],
) {
    for upstream in upstreams.iter().filter(|upstream| upstream.probe.is_some()) {
        let name = &upstream.name;
        let mut users = listeners
            .iter()
            .filter(|listener| listener.config.upstreams.contains(name))
            .peekable();
        let unprobed = users.peek().is_some() && users.all(|user| user.config.plugin.is_none());
        if let (true, Some(section)) = (unprobed, names.iter().find(|known| known.name == *name)) {
            notes.warn(&section.at, format!("[upstreams.{name}] has a probe, but no listener that uses it has a plugin to probe with; name a plugin, or remove the probe"));
        }
    }
}
