//! Which upstream group a server name and the protocols that a client offers lead to.
//!
//! The best route is the one whose name fits best, and among those of one name the one with the
//! protocol that the client likes best; one without a protocol comes last.

use std::collections::BTreeMap;

use crate::name::{HostName, MAX_NAME, Pattern};

/// How many routes there may be.
pub const MAX_ROUTES: usize = 10_000;

/// The label of probes, where a group is known by a wildcard alone.
const NAME_OF_PROBES: &str = "leaseway-probe";

/// All routes.
#[derive(Debug, Default)]
pub struct Routes {
    exact: BTreeMap<String, ByProtocol>,
    /// Under what stands behind the `*.`.
    below: BTreeMap<String, ByProtocol>,
    any: ByProtocol,
}

/// The groups of one pattern.
#[derive(Debug, Default)]
struct ByProtocol {
    protocols: BTreeMap<Vec<u8>, String>,
    others: Option<String>,
}

/// Where a client is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// To this group.
    Group(&'a str),
    /// Its name is known, but for other protocols alone.
    OtherProtocols,
    /// Its name is not known.
    Nothing,
}

impl Routes {
    /// Adds a route. None: there was one already for this name and protocol, which it replaces.
    #[must_use]
    pub fn add(&mut self, pattern: Pattern, protocol: Option<&str>, group: &str) -> Option<()> {
        let groups = match pattern {
            Pattern::Exact(name) => self.exact.entry(name.as_str().to_owned()).or_default(),
            Pattern::Below(name) => self.below.entry(name.as_str().to_owned()).or_default(),
            Pattern::Any => &mut self.any,
        };
        let group = group.to_owned();
        let earlier = match protocol {
            None => groups.others.replace(group),
            Some(protocol) => groups.protocols.insert(protocol.into(), group),
        };
        earlier.is_none().then_some(())
    }

    /// The best route for this name and these protocols, of which the first is the client's
    /// favourite.
    #[must_use]
    pub fn find(&self, name: &HostName, protocols: &[&[u8]]) -> Found<'_> {
        let exact = self.exact.get(name.as_str());
        let below = name.parents().filter_map(|parent| self.below.get(parent));
        let mut found = Found::Nothing;
        for groups in exact.into_iter().chain(below).chain([&self.any]) {
            let of = |protocol: &&[u8]| groups.protocols.get(*protocol);
            let offered = protocols.iter().find_map(of);
            if let Some(group) = offered.or(groups.others.as_ref()) {
                return Found::Group(group);
            }
            if !groups.protocols.is_empty() {
                found = Found::OtherProtocols;
            }
        }
        found
    }

    /// A name that leads to this group, for clients of some protocol at least.
    #[must_use]
    pub fn name_of(&self, group: &str) -> Option<String> {
        let name = |names: &BTreeMap<String, ByProtocol>| {
            let known = names.iter().find(|(_, groups)| groups.lead_to(group));
            known.map(|(name, _)| name.clone())
        };
        name(&self.exact).or_else(|| {
            // As good as any other below it.
            let below = name(&self.below).map(|parent| format!("{NAME_OF_PROBES}.{parent}"));
            below.filter(|name| name.len() <= MAX_NAME)
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty() && self.any.is_empty()
    }
}

impl ByProtocol {
    fn lead_to(&self, group: &str) -> bool {
        let mut groups = self.protocols.values().chain(&self.others);
        groups.any(|known| known == group)
    }

    fn is_empty(&self) -> bool {
        self.protocols.is_empty() && self.others.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(&str, Option<&str>, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (name, protocol, group) in list {
            let pattern = Pattern::parse(name).unwrap();
            routes.add(pattern, *protocol, group).unwrap();
        }
        routes
    }

    #[track_caller]
    fn assert_leads(routes: &Routes, name: &str, protocols: &[&str], found: Found<'_>) {
        let host = HostName::parse(name.as_bytes()).unwrap();
        let protocols: Vec<&[u8]> = protocols.iter().map(|one| one.as_bytes()).collect();
        assert_eq!(routes.find(&host, &protocols), found, "{name}");
    }

    #[test]
    fn the_name_that_fits_best_wins() {
        let routes = routes(&[
            ("*", None, "any"),
            ("*.example.org", None, "far"),
            ("*.a.example.org", None, "near"),
            ("x.a.example.org", None, "exact"),
        ]);
        for (name, group) in [
            ("x.a.example.org", "exact"),
            ("y.a.example.org", "near"),
            ("y.x.a.example.org", "near"),
            ("a.example.org", "far"),
            ("example.org", "any"),
            ("ample.org", "any"),
        ] {
            assert_leads(&routes, name, &["h2"], Found::Group(group));
        }
    }

    #[test]
    fn the_protocol_that_the_client_likes_best_wins_and_none_comes_last() {
        let routes = routes(&[
            ("a.org", None, "plain"),
            ("a.org", Some("http/1.1"), "one"),
            ("a.org", Some("h2"), "two"),
        ]);
        for (protocols, group) in [
            (&["h2", "http/1.1"][..], "two"),
            (&["http/1.1", "h2"], "one"),
            (&["\u{a}\u{a}", "h2"], "two"),
            (&["h3"], "plain"),
            (&[], "plain"),
        ] {
            assert_leads(&routes, "a.org", protocols, Found::Group(group));
        }
    }

    #[test]
    fn a_better_name_without_the_protocol_gives_way_to_a_worse_one() {
        let routes = routes(&[
            ("x.a.org", Some("acme-tls/1"), "acme"),
            ("*.a.org", None, "all"),
            ("b.org", Some("h2"), "two"),
        ]);
        assert_leads(&routes, "x.a.org", &["acme-tls/1"], Found::Group("acme"));
        assert_leads(&routes, "x.a.org", &["h2"], Found::Group("all"));
        assert_leads(&routes, "b.org", &["http/1.1"], Found::OtherProtocols);
        assert_leads(&routes, "c.org", &["h2"], Found::Nothing);
    }

    #[test]
    fn a_route_is_added_once() {
        let mut routes = routes(&[("a.org", None, "x"), ("a.org", Some("h2"), "x")]);
        for (name, protocol) in [("A.org.", None), ("a.org", Some("h2"))] {
            let pattern = Pattern::parse(name).unwrap();
            assert_eq!(routes.add(pattern, protocol, "y"), None);
        }
    }

    #[test]
    fn a_group_is_known_by_a_name() {
        let routes = routes(&[
            ("*", None, "any"),
            ("*.a.org", None, "all"),
            ("a.org", Some("h2"), "two"),
            ("*.b.org", None, "two"),
        ]);
        assert_eq!(routes.name_of("two").as_deref(), Some("a.org"));
        let below = "leaseway-probe.a.org";
        assert_eq!(routes.name_of("all").as_deref(), Some(below));
        assert_eq!(routes.name_of("any"), None);
    }
}
