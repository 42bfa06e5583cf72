//! The ring of ketama, on which libmemcached, twemproxy and many clients find a key's server: points
//! of MD5, 160 for each server of average weight, and the first point that is not before a
//! key's own.

use md5::{Digest, Md5};

/// Points that a server of average weight has.
const POINTS: f32 = 160.0;

/// Points that are made of one digest.
const PER_DIGEST: usize = 4;

/// The port that is left out of names.
const DEFAULT_PORT: &str = ":11211";

/// What libmemcached makes the points of a server of, if nobody has named it otherwise: it knows no
/// brackets around addresses of IPv6.
#[must_use]
pub fn name(address: &str) -> String {
    let name = address.strip_suffix(DEFAULT_PORT).unwrap_or(address);
    name.replace(['[', ']'], "")
}

/// The points of all servers, in order, with the number of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring(Vec<(u32, usize)>);

impl Ring {
    /// The ring of these servers: names with weights.
    pub fn new<'a>(servers: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let count = servers.clone().count();
        let total: u32 = servers.clone().map(|(_, weight)| weight).sum();
        let mut points = Vec::new();
        for (server, (name, weight)) in servers.enumerate() {
            // In single precision as the others: with 25 servers, say, what is lost by dividing
            // makes 39 digests of 40.
            let share = weight as f32 / total as f32;
            let digests = share * POINTS / PER_DIGEST as f32 * count as f32;
            for number in 0..digests.floor() as usize {
                let digest = digest(format!("{name}-{number}").as_bytes());
                points.extend((0..PER_DIGEST).map(|at| (point(&digest, at), server)));
            }
        }
        points.sort_unstable();
        Self(points)
    }

    /// The number of this key's server; none if there are no servers.
    #[must_use]
    pub fn server(&self, key: &[u8]) -> Option<usize> {
        let hash = point(&digest(key), 0);
        let at = self.0.partition_point(|(point, _)| *point < hash);
        let (_, server) = self.0.get(at).or_else(|| self.0.first())?;
        Some(*server)
    }
}

fn digest(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

/// Four bytes of a digest.
fn point(digest: &[u8; 16], at: usize) -> u32 {
    let from = at * 4;
    u32::from_le_bytes([
        digest[from],
        digest[from + 1],
        digest[from + 2],
        digest[from + 3],
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where libmemcached 1.1 has sent `key:0`, `key:1` and so on, with
    /// `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`.
    const EQUAL: &str = "12021021200201212200221212020222102021000100212200002111110201002011101201211011\
             22100221200222000002000200102000012001010000210210202111221111211200021001012222\
             12201102102222111200100000020102102200000110202101000001200122102022110001102010\
             21021200002112210110111211202212212111221001201011120101002011022120011201202020\
             00121121122120121020112122010201000000120212121011022202111220212212202100202212";

    /// The same with weights of 1, 2 and 5.
    const WEIGHTED: &str = "12221221201211222222221222022222102221200202222222002112112221222211122201211121\
             22222221202222202202220200122202222201012202221210202221222221211221121001012222\
             12221222122222112222222010222122102210120212222121022121222122102222112212102010\
             22221222222122212110212221222222222211221011222011120222202212022122011222202022\
             12121121122121221022212122222201121121120222121211222202211222212222202122202212";

    /// The same for `10.0.0.1:11211` to `10.0.0.25:11211`, as letters.
    const MANY: &str = "nkkqpykmgagxkoklogsiyluicklejahcikgtfqfamxhtjadbilwpueklbuiuheudhqmxhpgnwkbondis\
             hftlmesnhmedhqtwxtdngeimcmnxlbojmlfniyaorhogmphuqypgsofpongtpbtcntgxejtkxdsuvhhg\
             upyrawnjqvmgwqwsowjcsvvmjmrpfeypnkwmkteifriokovwcixcpgrwvgfnoyofwjcquulxwgfelyjg";

    const SERVERS: [&str; 3] = ["127.0.0.1:22001", "127.0.0.1:22002", "127.0.0.1:11211"];

    #[test]
    fn keys_are_where_libmemcached_looks_for_them() {
        for (weights, known) in [([1, 1, 1], EQUAL), ([1, 2, 5], WEIGHTED)] {
            let names = SERVERS.map(name);
            let ring = Ring::new(names.iter().map(String::as_str).zip(weights));
            let found: String = (0..known.len())
                .map(|number| ring.server(format!("key:{number}").as_bytes()).unwrap())
                .map(|server| server.to_string())
                .collect();
            assert_eq!(found, known, "{weights:?}");
        }
    }

    #[test]
    fn points_are_lost_where_libmemcached_loses_them() {
        let servers: Vec<String> = (1..=25)
            .map(|n| name(&format!("10.0.0.{n}:11211")))
            .collect();
        let ring = Ring::new(servers.iter().map(|server| (server.as_str(), 1)));
        let found: String = (0..MANY.len())
            .map(|number| ring.server(format!("key:{number}").as_bytes()).unwrap())
            .map(|server| char::from(b'a' + server as u8))
            .collect();
        assert_eq!(found, MANY);
    }

    #[test]
    fn addresses_of_ipv6_are_named_as_by_libmemcached() {
        // Of `::1` with port 22001 and `fd00::2` with 11211.
        const FOUND: &str =
            "10111000001011000110101101000000000001101011010110101101100100001111011001111100";
        let servers = ["[::1]:22001", "[fd00::2]:11211"].map(name);
        let ring = Ring::new(servers.iter().map(|server| (server.as_str(), 1)));
        let found: String = (0..FOUND.len())
            .map(|number| ring.server(format!("key:{number}").as_bytes()).unwrap())
            .map(|server| server.to_string())
            .collect();
        assert_eq!(found, FOUND);
    }

    #[test]
    fn a_ring_without_servers_has_none() {
        assert_eq!(Ring::new([].into_iter()).server(b"a"), None);
    }
}
