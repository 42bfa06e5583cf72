//! What each peer is told to do, in its own language.

use std::net::SocketAddr;
use std::path::Path;

/// The module of nginx that relays TCP, where Debian puts it.
pub(super) const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// What leaseway does, where it differs from one peer to another.
pub(super) struct Leaseway {
    /// None: as many as there are cores.
    pub(super) workers: Option<usize>,
    /// None: without a plugin.
    pub(super) module: Option<&'static str>,
    /// The plugin's own, as lines of its section.
    pub(super) settings: &'static str,
    pub(super) max_connections: usize,
}

/// With placeholders, as `Relay::start_binary` fills them in.
pub(super) fn leaseway(own: &Leaseway) -> String {
    let settings = own.settings;
    let workers = own.workers.map_or_else(String::new, |workers| {
        format!("[process]\nworkers = {workers}\n")
    });
    let plugin = own.module.map_or_else(String::new, |module| {
        format!("[plugins.p]\nmodule = \"{module}\"\n{settings}")
    });
    let governed = own.module.map_or("", |_| "plugin = \"p\"\n");
    let most = own.max_connections;
    format!(
        "{workers}{plugin}\
         [upstreams.server]\n\
         endpoints = [\"{{upstream}}\"]\n\
         pool = {{ max-connections = {most}, max-idle = {most} }}\n\
         [listeners.clients]\n\
         bind = \"{{listen}}\"\n\
         {governed}\
         upstreams = [\"server\"]\n\
         [admin]\n\
         bind = \"{{admin}}\"\n"
    )
}

pub(super) fn haproxy(
    listen: SocketAddr,
    upstream: SocketAddr,
    sessions: usize,
    splice: &[&str],
) -> String {
    let splice = splice.join("\n  option ");
    format!(
        "global\n  maxconn {sessions}\n  maxpipes 100\n\
         defaults\n  mode tcp\n  option {splice}\n  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n\
         listen clients\n  bind {listen} backlog 4096\n  server one {upstream}\n"
    )
}

/// In HTTP mode: any client's request over any connection that is free, of which there are `pool`. With
/// `more` lines of the section `global`.
pub(super) fn haproxy_http(
    listen: SocketAddr,
    upstream: SocketAddr,
    sessions: usize,
    pool: usize,
    more: &str,
) -> String {
    format!(
        "global\n  maxconn {sessions}\n{more}\
         defaults\n  mode http\n  http-reuse always\n  option forwardfor\n  \
         timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n\
         listen clients\n  bind {listen} backlog 4096\n  \
         server one {upstream} maxconn {pool} pool-max-conn {pool}\n"
    )
}

pub(super) fn nginx(
    listen: SocketAddr,
    upstream: SocketAddr,
    dir: &Path,
    sessions: usize,
) -> String {
    let dir = dir.display();
    let connections = sessions * 2 + 100;
    format!(
        "load_module {STREAM_MODULE};\n\
         daemon off;\nworker_processes auto;\n\
         pid {dir}/pid;\nerror_log stderr error;\n\
         events {{ worker_connections {connections}; }}\n\
         stream {{\n  access_log off;\n\
         server {{ listen {listen} backlog=4096 reuseport; proxy_pass {upstream}; tcp_nodelay on; }}\n}}\n"
    )
}

pub(super) fn twemproxy(listen: SocketAddr, upstream: SocketAddr, pool: usize) -> String {
    format!(
        "clients:\n  listen: {listen}\n  redis: true\n  backlog: 4096\n  preconnect: true\n  \
         server_connections: {pool}\n  distribution: ketama\n  hash: fnv1a_64\n  \
         servers:\n   - {upstream}:1\n"
    )
}

/// What `pgbouncer` reads beside the users: no more than it needs to do the same work. Neither it
/// nor leaseway logs its clients.
pub(super) fn pgbouncer(
    listen: SocketAddr,
    upstream: SocketAddr,
    users: &Path,
    (sessions, pool): (usize, usize),
    follows_statements: bool,
) -> String {
    // Before 1.21 it does not know the name, and refuses the file.
    let statements = if follows_statements {
        "max_prepared_statements = 200\n"
    } else {
        ""
    };
    format!(
        "[databases]\n* = host={} port={}\n\
         [pgbouncer]\nlisten_addr = {}\nlisten_port = {}\nlisten_backlog = 4096\nunix_socket_dir =\n\
         auth_type = trust\nauth_file = {}\n\
         pool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = {sessions}\n\
         log_connections = 0\nlog_disconnections = 0\n{statements}",
        upstream.ip(),
        upstream.port(),
        listen.ip(),
        listen.port(),
        users.display(),
    )
}
