//! The commands of Redis up to 8.x and of the modules that it ships with, by what they do to a
//! connection. Data only; [`super`] looks things up here.
//!
//! `READ` and `WRITE` agree with what a server says of itself in `COMMAND`; a test asks a real
//! one. Lists are in the order of their bytes.

use super::Class;

/// Commands that a server flags as read-only, and others that change nothing: done twice they
/// do no harm.
#[rustfmt::skip]
pub(super) const READ: &[&str] = &[
    "bitcount", "bitfield_ro", "bitpos", "command", "dbsize", "digest", "dump", "echo", "eval_ro",
    "evalsha_ro", "exists", "expiretime", "fcall_ro", "geodist", "geohash", "geopos",
    "georadius_ro", "georadiusbymember_ro", "geosearch", "get", "getbit", "getrange", "hexists",
    "hexpiretime", "hget", "hgetall", "hkeys", "hlen", "hmget", "hpexpiretime", "hpttl",
    "hrandfield", "hscan", "hstrlen", "httl", "hvals", "info", "keys", "lastsave", "lcs",
    "lindex", "llen", "lolwut", "lpos", "lrange", "mget", "object", "pexpiretime", "pfcount",
    "ping", "pttl", "pubsub", "randomkey", "role", "scan", "scard", "sdiff", "sinter",
    "sintercard", "sismember", "smembers", "smismember", "sort_ro", "srandmember", "sscan",
    "strlen", "substr", "sunion", "time", "touch", "ttl", "type", "vcard", "vdim", "vemb",
    "vgetattr", "vinfo", "vismember", "vlinks", "vrandmember", "vrange", "vsim", "xinfo", "xlen",
    "xpending", "xrange", "xrevrange", "zcard", "zcount", "zdiff", "zinter", "zintercard",
    "zlexcount", "zmscore", "zrandmember", "zrange", "zrangebylex", "zrangebyscore", "zrank",
    "zrevrange", "zrevrangebylex", "zrevrangebyscore", "zrevrank", "zscan", "zscore", "zunion",
];

/// Commands of one reply that leave the connection as it was. Containers such as `CONFIG` are
/// here whatever their subcommands do, and so is what is too new for anybody to say that it only
/// reads.
#[rustfmt::skip]
pub(super) const WRITE: &[&str] = &[
    "acl", "append", "arcount", "ardel", "ardelrange", "arget", "argetrange", "argrep", "arinfo",
    "arinsert", "arlastitems", "arlen", "armget", "armset", "arnext", "arop", "arring", "arscan",
    "arseek", "arset", "bgrewriteaof", "bgsave", "bitfield", "bitop", "commandlog", "config",
    "copy", "decr", "decrby", "del", "delex", "delifeq", "eval", "evalsha", "expire", "expireat",
    "failover", "fcall", "flushall", "flushdb", "function", "geoadd", "georadius",
    "georadiusbymember", "geosearchstore", "getdel", "getex", "getset", "hdel", "hexpire",
    "hexpireat", "hgetdel", "hgetex", "hincrby", "hincrbyfloat", "hmset", "hotkeys", "hpersist",
    "hpexpire", "hpexpireat", "hset", "hsetex", "hsetnx", "incr", "incrby", "incrbyfloat",
    "increx", "latency", "linsert", "lmove", "lmovem", "lmpop", "lpop", "lpush", "lpushx", "lrem",
    "lset", "ltrim", "memory", "migrate", "module", "move", "mset", "msetex", "msetnx", "persist",
    "pexpire", "pexpireat", "pfadd", "pfdebug", "pfmerge", "pfselftest", "psetex", "publish",
    "rename", "renamenx", "replicaof", "restore", "restore-asking", "rpop", "rpoplpush", "rpush",
    "rpushx", "sadd", "save", "sdiffcard", "sdiffstore", "sentinel", "set", "setbit", "setex",
    "setnx", "setrange", "sflush", "shutdown", "sinterstore", "slaveof", "slowlog", "smove",
    "sort", "spop", "spublish", "srem", "stralgo", "sunioncard", "sunionstore", "swapdb",
    "unlink", "vadd", "vrem", "vsetattr", "xack", "xackdel", "xadd", "xautoclaim", "xcfgset",
    "xclaim", "xdel", "xdelex", "xgroup", "xnack", "xsetid", "xtrim", "zadd", "zdiffstore",
    "zincrby", "zinterstore", "zmpop", "zpopmax", "zpopmin", "zrangestore", "zrem",
    "zremrangebylex", "zremrangebyrank", "zremrangebyscore", "zunionstore",
];

/// Commands that may wait for others, for as long as they say or for good. `XREAD` is no
/// [`READ`]: done again, its `$` would be where the stream ends then, and lose what came between.
#[rustfmt::skip]
pub(super) const BLOCK: &[&str] = &[
    "blmove", "blmovem", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax",
    "bzpopmin", "wait", "waitaof", "xread", "xreadgroup",
];

/// Reads of the modules: search, JSON, time series, and the probabilistic types.
#[rustfmt::skip]
pub(super) const READ_OF_MODULES: &[&str] = &[
    "bf.card", "bf.exists", "bf.info", "bf.mexists", "bf.scandump", "cf.count", "cf.exists",
    "cf.info", "cf.mexists", "cf.scandump", "cms.info", "cms.query", "ft._list", "ft.dictdump",
    "ft.explain", "ft.explaincli", "ft.hybrid", "ft.info", "ft.search", "ft.spellcheck",
    "ft.sugget", "ft.suglen", "ft.syndump", "ft.tagvals", "json.arrindex", "json.arrlen",
    "json.get", "json.mget", "json.objkeys", "json.objlen", "json.resp", "json.strlen",
    "json.type", "tdigest.byrank", "tdigest.byrevrank", "tdigest.cdf", "tdigest.info",
    "tdigest.max", "tdigest.min", "tdigest.quantile", "tdigest.rank", "tdigest.revrank",
    "tdigest.trimmed_mean", "topk.count", "topk.info", "topk.list", "topk.query", "ts.get",
    "ts.info", "ts.mget", "ts.mrange", "ts.mrevrange", "ts.queryindex", "ts.range",
    "ts.revrange",
];

/// The rest of the modules. What opens a cursor is no read.
#[rustfmt::skip]
pub(super) const WRITE_OF_MODULES: &[&str] = &[
    "bf.add", "bf.insert", "bf.loadchunk", "bf.madd", "bf.reserve", "cf.add", "cf.addnx",
    "cf.del", "cf.insert", "cf.insertnx", "cf.loadchunk", "cf.reserve", "cms.incrby",
    "cms.initbydim", "cms.initbyprob", "cms.merge", "ft.add", "ft.addhash", "ft.aggregate",
    "ft.aliasadd", "ft.aliasdel", "ft.aliaslist", "ft.aliasupdate", "ft.alter", "ft.config",
    "ft.create", "ft.cursor", "ft.del", "ft.dictadd", "ft.dictdel", "ft.dropindex", "ft.mget",
    "ft.profile", "ft.sugadd", "ft.sugdel", "ft.synupdate", "json.arrappend", "json.arrinsert",
    "json.arrpop", "json.arrtrim", "json.clear", "json.debug", "json.del", "json.forget",
    "json.merge", "json.mset", "json.numincrby", "json.nummultby", "json.set", "json.strappend",
    "json.toggle", "tdigest.add", "tdigest.create", "tdigest.merge", "tdigest.reset", "topk.add",
    "topk.incrby", "topk.reserve", "ts.add", "ts.alter", "ts.create", "ts.createrule",
    "ts.decrby", "ts.del", "ts.deleterule", "ts.incrby", "ts.madd", "ts.nrange", "ts.nrevrange",
    "ts.querylabels", "ts.read",
];

/// Commands that concern the connection itself.
pub(super) const SPECIAL: &[(&str, Class)] = &[
    ("multi", Class::Multi),
    ("exec", Class::Exec),
    ("discard", Class::Discard),
    ("watch", Class::Watch),
    ("unwatch", Class::Unwatch),
    ("select", Class::Select),
    ("auth", Class::Auth),
    ("hello", Class::Hello),
    ("quit", Class::Quit),
    ("reset", Class::Reset),
    ("asking", Class::Asking),
    ("readonly", Class::Pin),
    ("readwrite", Class::Pin),
    ("subscribe", Class::Stream),
    ("psubscribe", Class::Stream),
    ("ssubscribe", Class::Stream),
    ("unsubscribe", Class::Stream),
    ("punsubscribe", Class::Stream),
    ("sunsubscribe", Class::Stream),
    ("monitor", Class::Stream),
    ("sync", Class::Stream),
    ("psync", Class::Stream),
    ("replconf", Class::Stream),
    ("debug", Class::Stream),
    ("post", Class::Web),
    ("host:", Class::Web),
];

/// `CLIENT ...`: what asks or concerns other connections is plain; what is said of this one is
/// not. `NO-EVICT` and `NO-TOUCH` are cleared by `RESET` in newer servers only, and what is tracked
/// for a client's id in none.
pub(super) const CLIENT: &[(&str, Class)] = &[
    ("setinfo", Class::SetInfo),
    ("maint_notifications", Class::Maintenance),
    ("setname", Class::Pin),
    ("id", Class::Id),
    ("info", Class::Write),
    ("list", Class::Write),
    ("getname", Class::Write),
    ("getredir", Class::Write),
    ("trackinginfo", Class::Write),
    ("help", Class::Write),
    ("kill", Class::Write),
    ("pause", Class::Write),
    ("unpause", Class::Write),
    ("unblock", Class::Write),
    ("tracking", Class::Taint),
    ("caching", Class::Taint),
    ("no-evict", Class::Taint),
    ("no-touch", Class::Taint),
    ("capa", Class::Taint),
    ("import-source", Class::Taint),
    ("reply", Class::Stream),
];

/// `CLUSTER ...`: `SYNCSLOTS` turns the connection over to replication.
pub(super) const CLUSTER: &[(&str, Class)] = &[("syncslots", Class::Stream)];

/// `SCRIPT ...`: `DEBUG` turns the connection over to the debugger.
pub(super) const SCRIPT: &[(&str, Class)] = &[
    ("exists", Class::Write),
    ("flush", Class::Write),
    ("help", Class::Write),
    ("kill", Class::Write),
    ("load", Class::Write),
    ("show", Class::Write),
    ("debug", Class::Stream),
];
