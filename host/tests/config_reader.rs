//! What a config file says arrives as plain values, and no text whatever makes the reader panic.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leaseway::config::{
    self, AdminConfig, Balance, EndpointConfig, ListenerConfig, ModuleSource, PluginConfig,
    PluginLimits, PoolConfig, ProbeConfig, ProcessConfig, SlowReader, UpstreamConfig,
};
use proptest::prelude::*;
use serde_json::json;

/// The config that users see first.
const FIRST: &str = r#"
[plugins.redis]
module = "builtin:redis"            # or a path to a .wasm
config = { pooling = "command" }    # reaches the plugin as JSON
limits = { memory = "16MiB", hook = "10ms", conversation = "2s", sessions-per-instance = 256 }

[upstreams.cache]
endpoints = ["127.0.0.1:6379"]      # or { address = "...", weight = 2 }
balance = "least-leased"
connect-timeout = "1s"
pool  = { max-connections = 20, max-idle = 20, min-idle = 0, idle-timeout = "10m", max-lifetime = "1h", wait-timeout = "5s" }
probe = { interval = "5s", timeout = "1s" }

[listeners.cache]
bind = "127.0.0.1:6380"
plugin = "redis"                    # leave out: plain copy, one connection a session
upstreams = ["cache"]

[admin]
bind = "127.0.0.1:9900"             # /metrics (Prometheus), /ready, /status (JSON)
"#;

/// The least that can be run.
const LEAST: &str = r#"
[listeners.plain]
bind = "127.0.0.1:0"
upstreams = ["server"]
[upstreams.server]
endpoints = ["127.0.0.1:1"]
"#;

/// Every key, none with its default.
const EVERYTHING: &str = r#"
[process]
workers = 3
drain-timeout = "0s"
cache-dir = "cache"

[plugins.z]
module = "plugins/z.wasm"
[plugins.z.config]
number = 0x10
ratio = 0.5
on = true
day = 2026-01-02
list = [1, "two", { three = 3 }]
[plugins.z.limits]
memory = "1MiB"
hook = "1ms"
conversation = "1m"
sessions-per-instance = 1
max-shown = "48KiB"
store-entries = 7
store-bytes = "3MiB"

[plugins.a]
module = "/opt/a.wasm"

[upstreams.far]
endpoints = ["cache.example:6379", { address = "[::1]:7", weight = 1000 }]
balance = "hash"
connect-timeout = "250ms"
resolve-interval = "1s"
[upstreams.far.pool]
max-connections = 7
max-unpooled = 3
max-idle = 6
min-idle = 5
idle-timeout = "1d"
max-lifetime = "2d"
wait-timeout = "1ms"
max-waiting = 0
max-in-flight = 300
[upstreams.far.probe]
interval = "1m"
timeout = "1m"
fall = 1
rise = 9
end-leases = false

[listeners.all]
bind = "[::]:6380"
plugin = "z"
upstreams = ["far"]
max-sessions = 1
first-byte-timeout = "6s"
preread-timeout = "1s"
idle-timeout = "2s"
session-timeout = "3s"
half-close-timeout = "4s"
stall-timeout = "5s"
slow-reader-timeout = "3s"
slow-reader = "move"
replay-limit = "0B"
[listeners.other]
bind = "127.0.0.1:6380"
plugin = "a"
upstreams = ["far"]
"#;

fn read(text: &str) -> Result<(config::Config, Vec<config::Warning>), config::Errors> {
    config::parse(text, "c.toml", Path::new("/etc/leaseway"))
}

/// The config in `text`, which has no mistakes and no warnings.
fn read_fine(text: &str) -> config::Config {
    let (config, warnings) = read(text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, []);
    config
}

fn warnings(text: &str) -> Vec<String> {
    let (_, warnings) = read(text).unwrap_or_else(|errors| panic!("{errors}"));
    warnings.iter().map(ToString::to_string).collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn endpoint(host: &str, port: u16, weight: u32) -> EndpointConfig {
    EndpointConfig {
        host: host.to_owned(),
        port,
        weight,
    }
}

#[test]
fn the_first_config_means_what_it_says() {
    let config = read_fine(FIRST);
    assert_eq!(
        config.plugins,
        [PluginConfig {
            name: "redis".to_owned(),
            module: ModuleSource::Builtin("redis".to_owned()),
            config: json!({ "pooling": "command" }),
            folder: PathBuf::from("/etc/leaseway"),
            limits: PluginLimits::default(),
        }]
    );
    assert_eq!(
        config.upstreams,
        [UpstreamConfig {
            name: "cache".to_owned(),
            endpoints: vec![endpoint("127.0.0.1", 6379, 1)],
            balance: Balance::LeastLeased,
            connect_timeout: Duration::from_secs(1),
            resolve_interval: Duration::from_secs(30),
            pool: PoolConfig {
                max_connections: 20,
                max_idle: 20,
                ..PoolConfig::default()
            },
            probe: Some(ProbeConfig::default()),
        }]
    );
    assert_eq!(
        config.listeners,
        [ListenerConfig {
            name: "cache".to_owned(),
            bind: address("127.0.0.1:6380"),
            plugin: Some("redis".to_owned()),
            upstreams: vec!["cache".to_owned()],
            ..ListenerConfig::default()
        }]
    );
    assert_eq!(
        config.admin,
        Some(AdminConfig {
            bind: address("127.0.0.1:9900")
        })
    );
}

#[test]
fn what_is_left_out_has_its_documented_default() {
    let config = read_fine(LEAST);
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(config.process.workers, cores);
    assert_eq!(config.process.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.process.cache_dir, ProcessConfig::default().cache_dir);
    assert_eq!((config.plugins.len(), config.admin), (0, None));
    let [upstream] = config.upstreams.as_slice() else {
        panic!("one upstream")
    };
    assert_eq!(upstream.balance, Balance::RoundRobin);
    assert_eq!(upstream.connect_timeout, Duration::from_secs(1));
    assert_eq!(upstream.resolve_interval, Duration::from_secs(30));
    assert_eq!(upstream.probe, None);
    assert_eq!(
        upstream.pool,
        PoolConfig {
            max_connections: 100,
            max_unpooled: 16,
            max_idle: 100,
            min_idle: 0,
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            wait_timeout: Duration::from_secs(5),
            max_waiting: 100_000,
            max_in_flight: 1024,
        }
    );
    let [listener] = config.listeners.as_slice() else {
        panic!("one listener")
    };
    assert_eq!(
        *listener,
        ListenerConfig {
            name: "plain".to_owned(),
            bind: address("127.0.0.1:0"),
            plugin: None,
            upstreams: vec!["server".to_owned()],
            max_sessions: 20_000,
            first_byte_timeout: None,
            preread_timeout: Duration::from_secs(10),
            idle_timeout: None,
            session_timeout: None,
            half_close_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            slow_reader_timeout: Duration::from_secs(1),
            slow_reader: SlowReader::Close,
            replay_limit: 65_536,
        }
    );
}

#[test]
fn max_idle_follows_max_connections_unless_it_is_given() {
    let text = FIRST.replace("max-idle = 20, ", "");
    assert_eq!(read_fine(&text).upstreams[0].pool.max_idle, 20);
    let text = FIRST.replace("max-idle = 20, ", "max-idle = 3, ");
    assert_eq!(read_fine(&text).upstreams[0].pool.max_idle, 3);
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let config = read_fine(EVERYTHING);
    assert_eq!(
        config.process,
        ProcessConfig {
            workers: 3,
            drain_timeout: Duration::ZERO,
            cache_dir: Some(PathBuf::from("/etc/leaseway/cache")),
        }
    );
    let names: Vec<&str> = config
        .plugins
        .iter()
        .map(|plugin| plugin.name.as_str())
        .collect();
    assert_eq!(names, ["z", "a"], "in the order of the file");
    assert_eq!(
        config.plugins[0],
        PluginConfig {
            name: "z".to_owned(),
            module: ModuleSource::File(PathBuf::from("/etc/leaseway/plugins/z.wasm")),
            config: json!({
                "number": 16, "ratio": 0.5, "on": true, "day": "2026-01-02",
                "list": [1, "two", { "three": 3 }],
            }),
            folder: PathBuf::from("/etc/leaseway"),
            limits: PluginLimits {
                memory: 1 << 20,
                hook: Duration::from_millis(1),
                conversation: Duration::from_secs(60),
                sessions_per_instance: 1,
                max_shown: 48 << 10,
                store_entries: 7,
                store_bytes: 3 << 20,
            },
        }
    );
    assert_eq!(
        config.plugins[1].module,
        ModuleSource::File(PathBuf::from("/opt/a.wasm"))
    );
    assert_eq!(
        config.upstreams,
        [UpstreamConfig {
            name: "far".to_owned(),
            endpoints: vec![endpoint("cache.example", 6379, 1), endpoint("::1", 7, 1000)],
            balance: Balance::Hash,
            connect_timeout: Duration::from_millis(250),
            resolve_interval: Duration::from_secs(1),
            pool: PoolConfig {
                max_connections: 7,
                max_unpooled: 3,
                max_idle: 6,
                min_idle: 5,
                idle_timeout: Duration::from_secs(86_400),
                max_lifetime: Duration::from_secs(2 * 86_400),
                wait_timeout: Duration::from_millis(1),
                max_waiting: 0,
                max_in_flight: 300,
            },
            probe: Some(ProbeConfig {
                interval: Duration::from_secs(60),
                timeout: Duration::from_secs(60),
                fall: 1,
                rise: 9,
                end_leases: false,
            }),
        }]
    );
    assert_eq!(
        config.listeners[0],
        ListenerConfig {
            name: "all".to_owned(),
            bind: address("[::]:6380"),
            plugin: Some("z".to_owned()),
            upstreams: vec!["far".to_owned()],
            max_sessions: 1,
            first_byte_timeout: Some(Duration::from_secs(6)),
            preread_timeout: Duration::from_secs(1),
            idle_timeout: Some(Duration::from_secs(2)),
            session_timeout: Some(Duration::from_secs(3)),
            half_close_timeout: Duration::from_secs(4),
            stall_timeout: Duration::from_secs(5),
            slow_reader_timeout: Duration::from_secs(3),
            slow_reader: SlowReader::Move,
            replay_limit: 0,
        }
    );
}

#[test]
fn the_cache_can_be_turned_off() {
    for off in ["false", "\"none\""] {
        let config = read_fine(&format!("{LEAST}[process]\ncache-dir = {off}"));
        assert_eq!(config.process.cache_dir, None);
    }
}

#[test]
fn all_mistakes_are_said_at_once_in_the_order_of_the_file() {
    let text = "[admin]\nbind = \"x\"\n[upstreams.b]\nendpoints = [\"b\", 1]\nbalence = \"hash\"\n\
                [listeners.a]\nplugin = \"p\"\nupstreams = [\"b\", \"c\"]";
    let errors = read(text).unwrap_err().to_string();
    assert_eq!(
        errors,
        "c.toml:2:8: \"bind\" in [admin]: \"x\" has no port; write \"x:PORT\"\n\
         c.toml:4:14: \"endpoints\" in [upstreams.b]: \"b\" has no port; write \"b:PORT\"\n\
         c.toml:4:19: \"endpoints\" in [upstreams.b] must be a string, as in \"127.0.0.1:6379\", not an integer\n\
         c.toml:5:1: unknown key \"balence\" in [upstreams.b]; did you mean \"balance\"?\n\
         c.toml:6:12: [listeners.a]: \"bind\" is missing; write bind = \"127.0.0.1:6380\"\n\
         c.toml:7:10: [listeners.a] names the plugin \"p\", which is not in this file; add [plugins.p]\n\
         c.toml:8:19: [listeners.a] names the upstream \"c\", which is not in this file; did you mean \"b\"?"
    );
}

#[test]
fn columns_count_characters() {
    let errors = read("[plugins.p]\nconfig = { \"größe\" = nan }")
        .unwrap_err()
        .to_string();
    assert!(
        errors.contains("c.toml:2:22: \"config\" in [plugins.p]: nan"),
        "{errors}"
    );
}

#[test]
fn what_works_but_hardly_as_meant_is_a_warning() {
    assert_eq!(
        warnings(&format!(
            "{LEAST}[plugins.redis]\nmodule = \"builtin:redis\""
        )),
        [
            "c.toml:7:10: [plugins.redis] is loaded, but no listener uses it; name it as plugin = \"redis\", or remove it"
        ]
    );
    assert_eq!(
        warnings(&format!(
            "{LEAST}[upstreams.spare]\nendpoints = [\"127.0.0.1:2\"]"
        )),
        [
            "c.toml:7:12: [upstreams.spare] is used by no listener; name it in `upstreams` of one, or remove it"
        ]
    );
    assert_eq!(
        warnings(&format!("{LEAST}probe = {{}}")),
        [
            "c.toml:5:12: [upstreams.server] has a probe, but no listener that uses it has a plugin to probe with; name a plugin, or remove the probe"
        ]
    );
    let two = LEAST.replace("[\"server\"]", "[\"server\", \"other\"]");
    assert_eq!(
        warnings(&format!(
            "{two}[upstreams.other]\nendpoints = [\"127.0.0.1:2\"]"
        )),
        [
            "c.toml:4:24: [listeners.plain] has no plugin to choose an upstream, so \"other\" is never chosen; name a plugin, or list one upstream"
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let missing = config::read(Path::new("no/such/file.toml"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("no/such/file.toml: cannot be read: "),
        "{missing}"
    );
    assert!(
        missing.ends_with("; give --config the path of a readable TOML file"),
        "{missing}"
    );
    let endless = config::read(Path::new("/dev/zero"))
        .unwrap_err()
        .to_string();
    assert!(
        endless.contains("it is a device, not a regular file"),
        "{endless}"
    );
}

#[test]
fn the_example_is_a_config() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/leaseway.toml");
    let (config, warnings) = config::read(&path).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(warnings, []);
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(config.plugins.len(), 1);
}

/// The keys under each section heading of the reference are the keys that the reader knows.
#[test]
fn the_reference_lists_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
    let reference = std::fs::read_to_string(path).unwrap();
    for line in EVERYTHING.lines() {
        let Some((key, _)) = line.split_once(" = ") else {
            continue;
        };
        let of_a_plugin = ["number", "ratio", "on", "day", "list"].contains(&key);
        let row = format!("| `{key}` |");
        assert!(
            of_a_plugin || reference.contains(&row),
            "no row for {key} in docs/config.md"
        );
    }
}

mod relay {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn with_a_plugin_connections_are_pooled_and_probed() {
        let listen = address("127.0.0.1:6380");
        let admin = Some(address("127.0.0.1:9900"));
        let upstreams = strings(&["a:1", "[::1]:2"]);
        let config =
            config::for_relay(listen, &upstreams, Some("builtin:redis"), Some(20), admin).unwrap();
        assert_eq!(config.plugins[0].name, "redis");
        assert_eq!(
            config.plugins[0].module,
            ModuleSource::Builtin("redis".to_owned())
        );
        let [upstream] = config.upstreams.as_slice() else {
            panic!("one group")
        };
        assert_eq!(
            upstream.endpoints,
            [endpoint("a", 1, 1), endpoint("::1", 2, 1)]
        );
        assert_eq!(
            (upstream.pool.max_connections, upstream.pool.max_idle),
            (20, 20)
        );
        assert_eq!(upstream.probe, Some(ProbeConfig::default()));
        let [listener] = config.listeners.as_slice() else {
            panic!("one listener")
        };
        assert_eq!(listener.bind, listen);
        assert_eq!(listener.plugin.as_deref(), Some("redis"));
        assert_eq!(listener.upstreams, [upstream.name.as_str()]);
        assert_eq!(config.admin.map(|admin| admin.bind), admin);
    }

    #[test]
    fn without_a_plugin_bytes_are_copied() {
        let config =
            config::for_relay(address("127.0.0.1:0"), &strings(&["a:1"]), None, None, None)
                .unwrap();
        assert_eq!(config.plugins, []);
        assert_eq!(config.upstreams[0].probe, None);
        assert_eq!(config.upstreams[0].pool, PoolConfig::default());
        assert_eq!(config.listeners[0].plugin, None);
        assert_eq!(config.admin, None);
    }

    #[test]
    fn a_plugin_on_disk_is_named_after_its_file() {
        let upstreams = strings(&["a:1"]);
        let plugin = Some("target/line.wasm");
        let config =
            config::for_relay(address("127.0.0.1:0"), &upstreams, plugin, None, None).unwrap();
        assert_eq!(config.plugins[0].name, "line");
        assert_eq!(
            config.plugins[0].module,
            ModuleSource::File("target/line.wasm".into())
        );
    }

    #[test]
    fn mistakes_name_the_argument() {
        let same = address("127.0.0.1:1");
        let upstreams = strings(&["a", "b:1", "b:1"]);
        let errors = config::for_relay(same, &upstreams, Some("redis"), Some(0), Some(same))
            .unwrap_err()
            .to_string();
        assert_eq!(
            errors,
            "--admin: 127.0.0.1:1 is the address of --listen too; choose another port\n\
             --max-connections: 0 is out of range; write 1 to 1000000\n\
             --plugin: \"redis\" is not the path of a .wasm file; did you mean \"builtin:redis\"?\n\
             --upstream: \"a\" has no port; write \"a:PORT\"\n\
             --upstream: \"b:1\" is there twice; leave one out"
        );
    }
}

/// A config with a part of it gone, doubled, or replaced by something else.
fn mutated() -> impl Strategy<Value = String> {
    let base = prop_oneof![Just(FIRST), Just(LEAST), Just(EVERYTHING)];
    let patch = prop_oneof![
        any::<String>(),
        "[\\[\\]{}=\".,#\n 0-9a-z-]{0,12}",
        prop::sample::select(vec![
            "\"\"",
            "-1",
            "nan",
            "[]",
            "{}",
            "true",
            "1979-05-27",
            "99999999999999999999",
            "\"99999999999999999999d\"",
            "\"99999999999999999999GiB\"",
            "[[plugins]]",
            "'''",
            "a.b.c = 1",
        ])
        .prop_map(str::to_owned),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..40_usize, patch), 1..5);
    (base, edits).prop_map(|(base, edits)| {
        let mut text: Vec<char> = base.chars().collect();
        for (at, length, patch) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, patch.chars());
        }
        text.into_iter().collect()
    })
}

/// What every reading must keep to: a config that can run, or mistakes that have a place.
fn check_reading(text: &str) {
    match read(text) {
        Ok((config, _)) => {
            assert!(!config.listeners.is_empty());
            for listener in &config.listeners {
                assert!(!listener.upstreams.is_empty());
                for name in &listener.upstreams {
                    assert!(
                        config
                            .upstreams
                            .iter()
                            .any(|upstream| upstream.name == *name)
                    );
                }
                if let Some(name) = &listener.plugin {
                    assert!(config.plugins.iter().any(|plugin| plugin.name == *name));
                }
            }
            for upstream in &config.upstreams {
                assert!(!upstream.endpoints.is_empty());
                assert!(upstream.pool.min_idle <= upstream.pool.max_idle);
                assert!(upstream.pool.max_idle <= upstream.pool.max_connections);
            }
        }
        Err(errors) => {
            assert!(!errors.mistakes().is_empty());
            for mistake in errors.mistakes() {
                assert!(mistake.to_string().starts_with("c.toml:"), "{mistake}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        check_reading(&text);
    }

    #[test]
    fn text_that_looks_like_a_config_never_panics(text in "([\\[\\]{}=\".',#\n 0-9a-f_-]|\\[|pool|plugins|listeners|upstreams|bind|endpoints){0,60}") {
        check_reading(&text);
    }

    #[test]
    fn mutated_configs_never_panic(text in mutated()) {
        check_reading(&text);
    }
}
