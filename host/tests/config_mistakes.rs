//! Every mistake in a config gets the message that it should, where it was made.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use Edit::{Add, Swap, Whole};
use leaseway::config;

/// A config without mistakes. What a case adds begins on line 11, in [upstreams.cache].
const GOOD: &str = r#"[plugins.redis]
module = "builtin:redis"

[listeners.cache]
bind = "127.0.0.1:6380"
plugin = "redis"
upstreams = ["cache"]

[upstreams.cache]
endpoints = ["127.0.0.1:6379"]
"#;

/// How the mistake comes into the file.
#[derive(Debug, Clone, Copy)]
enum Edit {
    /// At the end of the good config.
    Add(&'static str),
    /// In place of a part of the good config.
    Swap(&'static str, &'static str),
    /// This is all of the file.
    Whole(&'static str),
}

impl Edit {
    fn text(self) -> String {
        match self {
            Add(text) => format!("{GOOD}{text}\n"),
            Swap(from, to) => {
                assert!(GOOD.contains(from), "{from:?} is not in the good config");
                GOOD.replace(from, to)
            }
            Whole(text) => text.to_owned(),
        }
    }
}

#[rustfmt::skip]
const MISTAKES: &[(Edit, &str)] = &[
    // TOML itself
    (Swap(r#"module = "builtin:redis""#, r#"module = "builtin:redis"#), r#"c.toml:2:24: this is not TOML: invalid basic string, expected `"`; a line is key = value, with text in "quotes""#),
    (Add("pool = { max-connections = }"), r#"c.toml:11:28: this is not TOML: invalid literal string, expected `'`; a line is key = value, with text in "quotes""#),
    (Add(r#"endpoints = ["127.0.0.1:6378"]"#), "c.toml:11:1: this key or section is there twice; leave one out"),
    (Add("[plugins.redis]"), "c.toml:11:10: this key or section is there twice; leave one out"),
    (Swap(r#""127.0.0.1:6380""#, "127.0.0.1:6380"), r#"c.toml:5:13: this is not TOML: invalid float, expected nothing; a line is key = value, with text in "quotes""#),
    (Swap(r#""redis"
"#, "redis\n"), r#"c.toml:6:10: this is not TOML: string values must be quoted, expected literal string; a line is key = value, with text in "quotes""#),
    (Add("}"), r#"c.toml:11:1: this is not TOML: invalid key-value pair, expected key; a line is key = value, with text in "quotes""#),
    (Swap("bind = ", "bind : "), r#"c.toml:5:6: this is not TOML: key with no value, expected `=`; a line is key = value, with text in "quotes""#),
    // Unknown keys and names
    (Add("pool = { max-conections = 5 }"), r#"c.toml:11:10: unknown key "max-conections" in [upstreams.cache.pool]; did you mean "max-connections"?"#),
    (Add("pool = { max_connections = 5 }"), r#"c.toml:11:10: unknown key "max_connections" in [upstreams.cache.pool]; did you mean "max-connections"?"#),
    (Add(r#"pool = { colour = "red" }"#), r#"c.toml:11:10: unknown key "colour" in [upstreams.cache.pool]; valid keys are "max-connections", "max-unpooled", "max-idle", "min-idle", "idle-timeout", "max-lifetime", "wait-timeout", "max-waiting", "max-in-flight""#),
    (Add(r#"balence = "hash""#), r#"c.toml:11:1: unknown key "balence" in [upstreams.cache]; did you mean "balance"?"#),
    (Add("[listener.other]"), r#"c.toml:11:2: unknown section "listener"; did you mean "listeners"?"#),
    (Add(r#"[metrics]
bind = "127.0.0.1:9900""#), r#"c.toml:11:2: unknown section "metrics"; valid sections are "process", "plugins", "upstreams", "listeners", "admin""#),
    (Add("[process]\nworker = 2"), r#"c.toml:12:1: unknown key "worker" in [process]; did you mean "workers"?"#),
    (Add(r#"balance = "least-leased-first""#), r#"c.toml:11:11: "balance" in [upstreams.cache]: unknown balance "least-leased-first"; did you mean "least-leased"?"#),
    (Add(r#"balance = "fastest""#), r#"c.toml:11:11: "balance" in [upstreams.cache]: unknown balance "fastest"; valid names are "round-robin", "least-leased", "random-two", "hash""#),
    (Swap(r#"plugin = "redis""#, r#"plugin = "rediss""#), r#"c.toml:6:10: [listeners.cache] names the plugin "rediss", which is not in this file; did you mean "redis"?"#),
    (Swap(r#"plugin = "redis""#, r#"plugin = "memcached""#), r#"c.toml:6:10: [listeners.cache] names the plugin "memcached", which is not in this file; valid plugins are "redis""#),
    (Swap(r#"upstreams = ["cache"]"#, r#"upstreams = ["cahce"]"#), r#"c.toml:7:14: [listeners.cache] names the upstream "cahce", which is not in this file; did you mean "cache"?"#),
    (Swap("builtin:redis", "builtin:reddis"), r#"c.toml:2:10: "module" in [plugins.redis]: no plugin "reddis" is built in; did you mean "redis"?"#),
    (Swap("builtin:redis", "builtin:oracle"), r#"c.toml:2:10: "module" in [plugins.redis]: no plugin "oracle" is built in; valid names are "http1", "memcached", "mysql", "postgres", "redis", "sni""#),
    (Swap("builtin:redis", "buildin:redis"), r#"c.toml:2:10: "module" in [plugins.redis]: unknown prefix "buildin" in "buildin:redis"; did you mean "builtin:redis"?"#),
    (Swap("builtin:redis", "redis"), r#"c.toml:2:10: "module" in [plugins.redis]: "redis" is not the path of a .wasm file; did you mean "builtin:redis"?"#),
    (Swap("builtin:redis", ""), r#"c.toml:2:10: "module" in [plugins.redis] is empty; write builtin:NAME or the path of a .wasm file"#),
    (Add("endpoints.weight = 2"), r#"c.toml:11:1: this is not TOML: cannot extend value of type array with a dotted key; a line is key = value, with text in "quotes""#),
    // Units
    (Add("connect-timeout = 1"), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: 1 has no unit; a duration is a string with s, m or another unit, as in "5s""#),
    (Add(r#"connect-timeout = "1""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: "1" has no unit; write "1s" or another unit of ms, s, m, h, d"#),
    (Add(r#"connect-timeout = "1sec""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: unknown unit "sec" in "1sec"; did you mean "1s"? (units: ms, s, m, h, d)"#),
    (Add(r#"connect-timeout = "1 s""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: unknown unit "s" in "1 s"; did you mean "1s"? (units: ms, s, m, h, d)"#),
    (Add(r#"connect-timeout = "1w""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: unknown unit "w" in "1w"; valid units are ms, s, m, h, d"#),
    (Add(r#"connect-timeout = "1.5s""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: "1.5s" is not a whole number; write it in a smaller unit (units: ms, s, m, h, d)"#),
    (Add(r#"connect-timeout = "soon""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: "soon" is not a duration; write a whole number and a unit, as in "5s" (units: ms, s, m, h, d)"#),
    (Add(r#"connect-timeout = "400d""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: "400d" is too long; the longest duration is "365d""#),
    (Add(r#"connect-timeout = "0s""#), r#"c.toml:11:19: "connect-timeout" in [upstreams.cache]: "0s" is too short; write at least "1ms""#),
    (Add(r#"resolve-interval = "100ms""#), r#"c.toml:11:20: "resolve-interval" in [upstreams.cache]: "100ms" is too short; write at least "1s""#),
    (Add(r#"[plugins.redis.limits]
memory = "16MB""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: unknown unit "MB" in "16MB"; did you mean "16MiB"? (units: B, KiB, MiB, GiB)"#),
    (Add(r#"[plugins.redis.limits]
memory = "16mib""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: unknown unit "mib" in "16mib"; did you mean "16MiB"? (units: B, KiB, MiB, GiB)"#),
    (Add("[plugins.redis.limits]\nmemory = 16777216"), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: 16777216 has no unit; a size is a string with KiB, MiB or another unit, as in "16MiB""#),
    (Add(r#"[plugins.redis.limits]
memory = "16""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: "16" has no unit; write "16MiB" or another unit of B, KiB, MiB, GiB"#),
    (Add(r#"[plugins.redis.limits]
memory = "16TiB""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: unknown unit "TiB" in "16TiB"; valid units are B, KiB, MiB, GiB"#),
    (Add(r#"[plugins.redis.limits]
memory = "99999999999GiB""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: "99999999999GiB" is too large; write a smaller size"#),
    // Ranges
    (Add(r#"[plugins.redis.limits]
memory = "512KiB""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: "512KiB" is out of range; write "1MiB" to "4GiB""#),
    (Add(r#"[plugins.redis.limits]
memory = "5GiB""#), r#"c.toml:12:10: "memory" in [plugins.redis.limits]: "5GiB" is out of range; write "1MiB" to "4GiB""#),
    (Add(r#"[plugins.redis.limits]
hook = "0ms""#), r#"c.toml:12:8: "hook" in [plugins.redis.limits]: "0ms" is too short; write at least "1ms""#),
    (Add(r#"[plugins.redis.limits]
hook = "1m""#), r#"c.toml:12:8: [plugins.redis.limits]: "hook" is over "10s"; all sessions of a worker wait for one hook call: write milliseconds"#),
    (Add("[plugins.redis.limits]\nsessions-per-instance = 0"), r#"c.toml:12:25: "sessions-per-instance" in [plugins.redis.limits]: 0 is out of range; write 1 to 1000000"#),
    (Add(r#"[plugins.redis.limits]
memory = "1MiB"
max-shown = "2MiB""#), r#"c.toml:13:13: [plugins.redis.limits]: "max-shown" is more than "memory", so a plugin could not take what it is shown; lower one or raise the other"#),
    (Add("pool = { max-connections = 0 }"), r#"c.toml:11:28: "max-connections" in [upstreams.cache.pool]: 0 is out of range; write 1 to 1000000"#),
    (Add("pool = { max-unpooled = 0 }"), r#"c.toml:11:25: "max-unpooled" in [upstreams.cache.pool]: 0 is out of range; write 1 to 1000000"#),
    (Add("pool = { max-connections = -1 }"), r#"c.toml:11:28: "max-connections" in [upstreams.cache.pool]: -1 is out of range; write 1 to 1000000"#),
    (Add("pool = { max-connections = 5000000000 }"), r#"c.toml:11:28: "max-connections" in [upstreams.cache.pool]: 5000000000 is out of range; write 1 to 1000000"#),
    (Add("probe = { fall = 0 }"), r#"c.toml:11:18: "fall" in [upstreams.cache.probe]: 0 is out of range; write 1 to 1000"#),
    (Add("[process]\nworkers = 0"), r#"c.toml:12:11: "workers" in [process]: 0 is out of range; write 1 to 1024"#),
    (Swap(r#"upstreams = ["cache"]"#, r#"upstreams = ["cache"]
max-sessions = 0"#), r#"c.toml:8:16: "max-sessions" in [listeners.cache]: 0 is out of range; write 1 to 10000000"#),
    (Swap(r#"["127.0.0.1:6379"]"#, r#"[{ address = "127.0.0.1:6379", weight = 0 }]"#), r#"c.toml:10:53: "weight" in [upstreams.cache.endpoints]: 0 is out of range; write 1 to 1000"#),
    (Swap(r#"["127.0.0.1:6379"]"#, r#"[{ address = "127.0.0.1:6379", weight = 1001 }]"#), r#"c.toml:10:53: "weight" in [upstreams.cache.endpoints]: 1001 is out of range; write 1 to 1000"#),
    // Types
    (Add("pool = 20"), r#"c.toml:11:8: "pool" in [upstreams.cache] must be a table, as in [upstreams.cache.pool], not an integer"#),
    (Add(r#"pool = { max-connections = "20" }"#), r#"c.toml:11:28: "max-connections" in [upstreams.cache.pool] must be a whole number from 1 to 1000000, not a string"#),
    (Add("probe = { end-leases = 1 }"), r#"c.toml:11:24: "end-leases" in [upstreams.cache.probe] must be true or false, not an integer"#),
    (Add("balance = true"), r#"c.toml:11:11: "balance" in [upstreams.cache] must be a string, as in "round-robin", not a boolean"#),
    (Swap(r#"["127.0.0.1:6379"]"#, r#""127.0.0.1:6379""#), r#"c.toml:10:13: "endpoints" in [upstreams.cache] must be a list, as in ["127.0.0.1:6379"], not a string"#),
    (Swap(r#"["127.0.0.1:6379"]"#, "[6379]"), r#"c.toml:10:14: "endpoints" in [upstreams.cache] must be a string, as in "127.0.0.1:6379", not an integer"#),
    (Swap(r#"upstreams = ["cache"]"#, r#"upstreams = "cache""#), r#"c.toml:7:13: "upstreams" in [listeners.cache] must be a list, as in ["cache"], not a string"#),
    (Swap(r#"upstreams = ["cache"]"#, "upstreams = [1]"), r#"c.toml:7:14: "upstreams" in [listeners.cache] must be a string, as in "cache", not an integer"#),
    (Add("[process]\ncache-dir = true"), r#"c.toml:12:13: "cache-dir" in [process]: true names no directory; leave the key out for the default one"#),
    (Add(r#"[plugins.other]
module = "other.wasm"
config = "{}""#), r#"c.toml:13:10: "config" in [plugins.other] must be a table, as in { pooling = "command" }"#),
    (Add(r#"[plugins]
line = "line.wasm""#), r#"c.toml:12:1: "line" in [plugins] must be a table, as in [plugins.line], not a string"#),
    (Whole("listeners = []"), r#"c.toml:1:13: "listeners" at the top of the file must be a table, as in [listeners], not a list"#),
    (Add("[[upstreams.cache.pool]]\nmax-idle = 1"), r#"c.toml:11:1: "pool" in [upstreams.cache] must be a table, as in [upstreams.cache.pool], not a list"#),
    (Add("[plugins.redis.config]\nlimit = 36893488147419103232"), r#"c.toml:12:9: "config" in [plugins.redis]: 36893488147419103232 is more than 64 bits hold; write it as a string"#),
    (Add("[plugins.redis.config]\nratio = nan"), r#"c.toml:12:9: "config" in [plugins.redis]: nan is no number in JSON; write it as a string"#),
    // What is missing or empty
    (Whole(""), r#"c.toml:1:1: there is no listener; add [listeners.NAME] with bind = "127.0.0.1:6380" and upstreams = ["..."]"#),
    (Swap(r#"bind = "127.0.0.1:6380"
"#, ""), r#"c.toml:4:12: [listeners.cache]: "bind" is missing; write bind = "127.0.0.1:6380""#),
    (Swap(r#"upstreams = ["cache"]
"#, ""), r#"c.toml:4:12: [listeners.cache]: "upstreams" is missing; write upstreams = ["NAME"]"#),
    (Swap(r#"module = "builtin:redis"
"#, ""), r#"c.toml:1:10: [plugins.redis]: "module" is missing; write module = "builtin:redis" or a path"#),
    (Swap(r#"endpoints = ["127.0.0.1:6379"]
"#, ""), r#"c.toml:9:12: [upstreams.cache]: "endpoints" is missing; write endpoints = ["127.0.0.1:6379"]"#),
    (Swap(r#"["127.0.0.1:6379"]"#, "[]"), r#"c.toml:10:13: "endpoints" in [upstreams.cache] is empty; write one at least, as in ["127.0.0.1:6379"]"#),
    (Swap(r#"["127.0.0.1:6379"]"#, "[{ weight = 2 }]"), r#"c.toml:10:14: [upstreams.cache.endpoints]: "address" is missing; write address = "127.0.0.1:6379""#),
    (Swap(r#"upstreams = ["cache"]"#, "upstreams = []"), r#"c.toml:7:13: "upstreams" in [listeners.cache] is empty; write one at least, as in ["cache"]"#),
    (Add("[admin]"), r#"c.toml:11:1: [admin]: "bind" is missing; write bind = "127.0.0.1:9900""#),
    (Whole(r#"[listeners.a]
bind = "127.0.0.1:1"
upstreams = ["b"]"#), r#"c.toml:3:14: [listeners.a] names the upstream "b", which is not in this file; add [upstreams.b]"#),
    // Addresses
    (Swap("127.0.0.1:6380", "localhost:6380"), r#"c.toml:5:8: "bind" in [listeners.cache]: "localhost:6380" is not an IP address and port; write an IP address, as in "127.0.0.1:6380""#),
    (Swap("127.0.0.1:6380", ":6380"), r#"c.toml:5:8: "bind" in [listeners.cache]: ":6380" is not an IP address and port; for all addresses of this machine write "0.0.0.0:6380""#),
    (Swap("127.0.0.1:6380", "127.0.0.1"), r#"c.toml:5:8: "bind" in [listeners.cache]: "127.0.0.1" has no port; write "127.0.0.1:PORT""#),
    (Swap("127.0.0.1:6380", "127.0.0.1:99999"), r#"c.toml:5:8: "bind" in [listeners.cache]: "99999" in "127.0.0.1:99999" is not a port; ports are numbers up to 65535"#),
    (Swap("127.0.0.1:6380", "::1"), r#"c.toml:5:8: "bind" in [listeners.cache]: "::1" is an IPv6 address without a port; write "[::1]:PORT""#),
    (Swap("127.0.0.1:6379", "127.0.0.1"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "127.0.0.1" has no port; write "127.0.0.1:PORT""#),
    (Swap("127.0.0.1:6379", "cache.example:redis"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "redis" in "cache.example:redis" is not a port; ports are numbers up to 65535"#),
    (Swap("127.0.0.1:6379", "cache.example:0"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "cache.example:0" has port 0; write the port that the upstream listens on"#),
    (Swap("127.0.0.1:6379", "redis://cache.example:6379"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "redis://cache.example:6379" is a URL; write HOST:PORT without a scheme or a path"#),
    (Swap("127.0.0.1:6379", "cache example:6379"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "cache example" in "cache example:6379" is neither an IP address nor a DNS name; write HOST:PORT, as in "cache.example:6379""#),
    (Swap("127.0.0.1:6379", "::1"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "::1" is an IPv6 address without a port; write "[::1]:PORT""#),
    (Swap("127.0.0.1:6379", "[::1]"), r#"c.toml:10:14: "endpoints" in [upstreams.cache]: "[::1]" is not an address; write "[IPv6]:PORT", as in "[::1]:6379""#),
    // What contradicts itself
    (Swap(r#"["127.0.0.1:6379"]"#, r#"["127.0.0.1:6379", "127.0.0.1:6379"]"#), r#"c.toml:10:32: "endpoints" in [upstreams.cache]: "127.0.0.1:6379" is there twice; give it a weight instead, as in { address = "...", weight = 2 }"#),
    (Swap(r#"upstreams = ["cache"]"#, r#"upstreams = ["cache", "cache"]"#), r#"c.toml:7:23: "upstreams" in [listeners.cache]: "cache" is there twice; leave one out"#),
    (Add("pool = { max-connections = 10, max-idle = 20 }"), r#"c.toml:11:43: [upstreams.cache.pool]: "max-idle" is 20, but "max-connections" is 10; lower one or raise the other"#),
    (Add("pool = { max-idle = 5, min-idle = 6 }"), r#"c.toml:11:35: [upstreams.cache.pool]: "min-idle" is 6, but "max-idle" is 5; lower one or raise the other"#),
    (Add("pool = { max-connections = 5, min-idle = 6 }"), r#"c.toml:11:42: [upstreams.cache.pool]: "min-idle" is 6, but "max-connections" is 5; lower one or raise the other"#),
    (Add(r#"probe = { interval = "1s", timeout = "2s" }"#), r#"c.toml:11:38: [upstreams.cache.probe]: "timeout" is 2s, but "interval" is 1s; a probe must end before the next begins"#),
    (Add(r#"[listeners.other]
bind = "127.0.0.1:6380"
plugin = "redis"
upstreams = ["cache"]"#), "c.toml:12:8: [listeners.other] binds 127.0.0.1:6380, but [listeners.cache] binds 127.0.0.1:6380; choose another port"),
    (Add(r#"[admin]
bind = "0.0.0.0:6380""#), "c.toml:12:8: [admin] binds 0.0.0.0:6380, but [listeners.cache] binds 127.0.0.1:6380; choose another port"),
    (Add(r#"[upstreams."a b"]
endpoints = ["127.0.0.1:1"]"#), r#"c.toml:11:12: [upstreams.a b]: "a b" is not a name; use 1 to 64 letters, digits, "-" and "_""#),
];

fn read(text: &str) -> Result<(config::Config, Vec<config::Warning>), config::Errors> {
    config::parse(text, "c.toml", Path::new("/etc/leaseway"))
}

#[test]
fn the_good_config_has_no_mistake() {
    let (_, warnings) = read(GOOD).unwrap();
    assert_eq!(warnings, []);
}

/// What is wrong after a mistake in the syntax is mostly that mistake's doing.
#[test]
fn of_mistakes_in_the_syntax_the_first_is_told() {
    let text =
        "[upstreams.a]\nendpoints = [\"127.0.0.1:1\n[listeners.b]\nbind : 1\nupstreams = [a]\n";
    let errors = read(text).unwrap_err();
    assert_eq!(errors.mistakes().len(), 1, "{errors}");
    let first = errors.to_string();
    assert!(first.starts_with("c.toml:2:"), "{first}");
}

#[test]
fn each_mistake_gets_its_message() {
    let mut differences = String::new();
    for (edit, says) in MISTAKES {
        let said = match read(&edit.text()) {
            Ok(_) => "nothing".to_owned(),
            Err(errors) => errors.to_string(),
        };
        if said != *says {
            differences += &format!("{edit:?}\n  should say: {says}\n  but says:   {said}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    assert!(MISTAKES.len() >= 40);
}
