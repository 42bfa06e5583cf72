//! Which upstream group a request is for: by its host and the path that it asks for.

use crate::config::{Config, Route};
use crate::wire::authority;

/// Where requests go.
pub struct Routes {
    /// The first that fits is the one: hosts before domains, longer domains before shorter ones,
    /// those for any host last; among the same, longer paths first.
    routes: Vec<Known>,
    /// The rest goes there.
    rest: Rest,
}

/// A route, as it is looked for.
struct Known {
    host: Host,
    path: Vec<u8>,
    upstream: String,
}

#[derive(PartialEq, Eq)]
enum Host {
    /// This one, in lower case.
    Is(Vec<u8>),
    /// One that ends with this, which begins with a dot.
    Below(Vec<u8>),
    Any,
}

enum Rest {
    /// The listener's first group.
    First,
    Group(String),
    Nowhere,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'r> {
    /// To the listener's first upstream group.
    First,
    /// To this one.
    Group(&'r str),
    /// Nowhere.
    Nowhere,
}

impl Routes {
    /// The routes of a config.
    ///
    /// # Errors
    ///
    /// The first mistake, for the operator.
    pub fn new(config: &Config) -> Result<Self, String> {
        let mut routes = Vec::new();
        for (number, route) in config.routes.iter().enumerate() {
            let known = known(route).map_err(|why| format!("`routes[{number}]`: {why}"))?;
            let same = |other: &Known| other.host == known.host && other.path == known.path;
            if routes.iter().any(same) {
                return Err(format!(
                    "`routes[{number}]`: an earlier route has the same host and path; take one out"
                ));
            }
            routes.push(known);
        }
        routes.sort_by(|a, b| a.host.order(&b.host).then(b.path.len().cmp(&a.path.len())));
        let rest = match &config.default_upstream {
            Some(group) if group.is_empty() => {
                return Err("`default-upstream`: must name an upstream group".to_owned());
            }
            Some(group) => Rest::Group(group.clone()),
            None if routes.is_empty() => Rest::First,
            None => Rest::Nowhere,
        };
        Ok(Self { routes, rest })
    }

    /// Where a request goes. `path` has been made normal.
    #[must_use]
    pub fn way(&self, host: Option<&[u8]>, path: &[u8]) -> Way<'_> {
        let host = host.unwrap_or_default();
        // A dot at the end says that the name is whole already.
        let host = host.strip_suffix(b".").unwrap_or(host);
        let route = self
            .routes
            .iter()
            .find(|route| route.host.fits(host) && is_below(path, &route.path));
        match (route, &self.rest) {
            (Some(route), _) => Way::Group(&route.upstream),
            (None, Rest::First) => Way::First,
            (None, Rest::Group(group)) => Way::Group(group),
            (None, Rest::Nowhere) => Way::Nowhere,
        }
    }

    /// Whether the path of a request matters.
    #[must_use]
    pub fn has_paths(&self) -> bool {
        self.routes.iter().any(|route| route.path != b"/")
    }
}

fn known(route: &Route) -> Result<Known, String> {
    let host = match route.host.as_deref() {
        None => Host::Any,
        Some(host) => {
            let lower = host.to_ascii_lowercase();
            let (name, is_domain) = match lower.strip_prefix("*.") {
                Some(domain) => (domain, true),
                None => (&*lower, false),
            };
            let is_host = authority::host(name.as_bytes()) == Some(name.as_bytes());
            if !is_host || name.contains('*') || name.ends_with('.') {
                return Err(format!(
                    "`host` must be a host without a port, or \"*.\" and a domain, not {host:?}"
                ));
            }
            match is_domain {
                true => Host::Below(format!(".{name}").into_bytes()),
                false => Host::Is(name.as_bytes().to_vec()),
            }
        }
    };
    let path = route.path.as_bytes();
    let normal = crate::wire::target::Target::Origin(path).path();
    if path != normal || !path.starts_with(b"/") {
        return Err(format!(
            "`path` must begin with / and have neither a query nor . or .. or needless %, not {:?}",
            route.path
        ));
    }
    if route.upstream.is_empty() {
        return Err("`upstream` must name an upstream group".to_owned());
    }
    Ok(Known {
        host,
        path: normal,
        upstream: route.upstream.clone(),
    })
}

impl Host {
    fn fits(&self, host: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(name) => host.eq_ignore_ascii_case(name),
            Self::Below(domain) => {
                let before = host.len().checked_sub(domain.len());
                before.is_some_and(|at| at > 0 && host[at..].eq_ignore_ascii_case(domain))
            }
        }
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let rank = |host: &Self| match host {
            Self::Is(_) => (0, 0),
            Self::Below(domain) => (1, usize::MAX - domain.len()),
            Self::Any => (2, 0),
        };
        rank(self).cmp(&rank(other))
    }
}

/// Whether a path is this one or below it: whole segments count.
fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        None => false,
        Some(rest) => rest.is_empty() || rest[0] == b'/' || prefix.ends_with(b"/"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn routes(list: &[(Option<&str>, &str, &str)], rest: Option<&str>) -> Result<Routes, String> {
        Routes::new(&Config {
            routes: list
                .iter()
                .map(|(host, path, upstream)| Route {
                    host: host.map(str::to_owned),
                    path: (*path).to_owned(),
                    upstream: (*upstream).to_owned(),
                })
                .collect(),
            default_upstream: rest.map(str::to_owned),
            ..Config::default()
        })
    }

    #[test]
    fn the_closest_host_and_then_the_longest_path_counts() {
        let list = [
            (None, "/", "any"),
            (None, "/static/deep/er", "files"),
            (Some("*.example.org"), "/", "wild"),
            (Some("*.b.example.org"), "/", "wilder"),
            (Some("a.example.org"), "/api", "api"),
            (Some("a.example.org"), "/api/v2/", "v2"),
            (Some("A.example.ORG"), "/apix", "apix"),
        ];
        let routes = routes(&list, None).unwrap();
        let way = |host: &str, path: &str| match routes.way(Some(host.as_bytes()), path.as_bytes())
        {
            Way::Group(group) => group.to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(way("a.example.org", "/api"), "api");
        assert_eq!(way("A.EXAMPLE.org.", "/api/v1"), "api");
        assert_eq!(way("a.example.org", "/api/v2"), "api");
        assert_eq!(way("a.example.org", "/api/v2/x"), "v2");
        assert_eq!(way("a.example.org", "/apix"), "apix");
        assert_eq!(way("a.example.org", "/apiy"), "wild");
        assert_eq!(way("c.b.example.org", "/"), "wilder");
        assert_eq!(way("b.example.org", "/"), "wild");
        assert_eq!(way("example.org", "/"), "any");
        assert_eq!(way("xexample.org", "/static/deep/er"), "files");
    }

    #[test]
    fn what_no_route_is_for_goes_where_the_config_says() {
        assert_eq!(routes(&[], None).unwrap().way(None, b"/"), Way::First);
        let one = [(Some("a"), "/", "x")];
        assert_eq!(routes(&one, None).unwrap().way(None, b"/"), Way::Nowhere);
        let rest = routes(&one, Some("y")).unwrap();
        assert_eq!(rest.way(Some(b"b"), b"/"), Way::Group("y"));
    }

    #[test]
    fn mistakes_are_named() {
        for (host, path, upstream, word) in [
            (Some("a:80"), "/", "x", "port"),
            (Some("*a"), "/", "x", "host"),
            (Some(""), "/", "x", "host"),
            (Some("*."), "/", "x", "host"),
            (None, "a", "x", "path"),
            (None, "", "x", "path"),
            (None, "/a/../b", "x", "path"),
            (None, "/a?b", "x", "path"),
            (None, "/%61", "x", "path"),
            (None, "/", "", "upstream"),
        ] {
            let why = routes(&[(host, path, upstream)], None).err().unwrap();
            assert!(
                why.starts_with("`routes[0]`") && why.contains(word),
                "{why}"
            );
        }
        let twice = [(Some("a"), "/", "x"), (Some("A"), "/", "y")];
        assert!(routes(&twice, None).err().unwrap().contains("routes[1]"));
        assert!(routes(&[], Some("")).is_err());
    }
}
