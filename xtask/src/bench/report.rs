//! What is written: a Markdown table for people, and JSON for programs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::peers::Peer;
use super::series::{Better, Spread};

/// What one kind of figure says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) better: Better,
}

/// One peer's figures of one kind, a round each.
#[derive(Debug)]
struct Row {
    kind: Kind,
    peer: Peer,
    rounds: Vec<f64>,
    /// Why there are no figures.
    instead: Option<String>,
}

/// One piece of work, as all peers did it.
#[derive(Debug)]
pub(super) struct Table {
    title: String,
    rows: Vec<Row>,
}

/// A row as it is written.
#[derive(Debug, Serialize)]
struct Line {
    work: String,
    figure: &'static str,
    peer: &'static str,
    rounds: Vec<f64>,
    spread: Option<Spread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<String>,
    of_direct: Option<Spread>,
    of_best_peer: Option<Spread>,
}

impl Table {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            rows: Vec::new(),
        }
    }

    /// Takes one more round's figure.
    pub(super) fn push(&mut self, peer: Peer, kind: Kind, figure: f64) {
        let same = |row: &&mut Row| row.peer == peer && row.kind.name == kind.name;
        match self.rows.iter_mut().find(same) {
            Some(row) => row.rounds.push(figure),
            None => self.rows.push(Row {
                kind,
                peer,
                rounds: vec![figure],
                instead: None,
            }),
        }
    }

    /// Says why a peer has no figures; what it had so far is dropped, since ratios are made of
    /// figures of the same round.
    pub(super) fn give_up(&mut self, peer: Peer, kind: Kind, why: impl Into<String>) {
        self.rows.retain(|row| row.peer != peer);
        self.rows.push(Row {
            kind,
            peer,
            rounds: Vec::new(),
            instead: Some(why.into()),
        });
    }

    /// Whether this peer has been given up.
    pub(super) fn has_given_up(&self, peer: Peer) -> bool {
        let of_peer = |row: &Row| row.peer == peer && row.instead.is_some();
        self.rows.iter().any(of_peer)
    }

    /// The lines, kind by kind in the order in which they came first.
    fn lines(&self) -> Vec<Line> {
        let mut kinds: Vec<Kind> = Vec::new();
        for row in &self.rows {
            if !kinds.iter().any(|kind| kind.name == row.kind.name) {
                kinds.push(row.kind);
            }
        }
        let of_kind = |kind: &Kind| {
            let name = kind.name;
            self.rows.iter().filter(move |row| row.kind.name == name)
        };
        let mut lines = Vec::new();
        for kind in &kinds {
            let direct =
                of_kind(kind).find(|row| row.peer == Peer::Direct && row.instead.is_none());
            let best = of_kind(kind)
                .filter(|row| row.peer.is_rival() && row.instead.is_none())
                .map(|row| row.rounds.clone())
                .reduce(|a, b| {
                    let pairs = a.iter().zip(&b);
                    pairs.map(|(a, b)| kind.better.of(*a, *b)).collect()
                });
            for row in of_kind(kind) {
                let best = best.as_ref().filter(|_| row.peer.is_ours());
                lines.push(Line {
                    work: self.title.clone(),
                    figure: kind.name,
                    peer: row.peer.name(),
                    rounds: row.rounds.clone(),
                    spread: Spread::of(&row.rounds),
                    instead: row.instead.clone(),
                    of_direct: direct
                        .filter(|direct| direct.peer != row.peer)
                        .and_then(|direct| Spread::of_ratios(&row.rounds, &direct.rounds)),
                    of_best_peer: best.and_then(|best| Spread::of_ratios(&row.rounds, best)),
                });
            }
        }
        lines
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "\n## {}\n\n| figure | peer | median | min | max | of direct | of the best peer |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: |\n",
            self.title
        );
        let mut last = "";
        for line in self.lines() {
            let figure = if line.figure == last { "" } else { line.figure };
            last = line.figure;
            let peer = line.peer;
            let Some(Spread { min, median, max }) = line.spread else {
                let why = line.instead.as_deref().unwrap_or_default();
                let why = why.replace('|', "\\|");
                text += &format!("| {figure} | {peer} | {why} | | | | |\n");
                continue;
            };
            text += &format!(
                "| {figure} | {peer} | {} | {} | {} | {} | {} |\n",
                number(median),
                number(min),
                number(max),
                ratio(line.of_direct),
                ratio(line.of_best_peer)
            );
        }
        text
    }
}

/// All of it.
pub(super) struct Report {
    facts: Vec<(&'static str, String)>,
    tables: Vec<Table>,
}

impl Report {
    pub(super) fn new(facts: Vec<(&'static str, String)>) -> Self {
        Self {
            facts,
            tables: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, tables: Vec<Table>) {
        for table in tables {
            eprintln!("{}", table.markdown());
            self.tables.push(table);
        }
    }

    pub(super) fn took(&mut self, time: Duration) {
        let seconds = format!("{} s", time.as_secs());
        self.facts.push(("the bench took", seconds));
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = "# Leaseway beside others\n\n| machine | |\n| --- | --- |\n".to_owned();
        for (name, value) in &self.facts {
            text += &format!("| {name} | {value} |\n");
        }
        text += "\nRatios are made round by round: median (min to max).\n";
        for table in &self.tables {
            text += &table.markdown();
        }
        text
    }

    /// Writes both forms.
    pub(super) fn write(&self, output: &Path) -> anyhow::Result<()> {
        #[derive(Serialize)]
        struct Whole<'a> {
            machine: serde_json::Map<String, serde_json::Value>,
            figures: &'a [Line],
        }
        let machine = self.facts.iter();
        let machine = machine.map(|(name, value)| ((*name).to_owned(), value.clone().into()));
        let figures: Vec<Line> = self.tables.iter().flat_map(Table::lines).collect();
        let whole = Whole {
            machine: machine.collect(),
            figures: &figures,
        };
        let json = serde_json::to_string_pretty(&whole)?;
        for (ending, text) in [("md", self.markdown()), ("json", json)] {
            let path = output.with_extension(ending);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// With as many digits as such a figure can be trusted for.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |Spread { min, median, max }| {
        format!("{median:.2} ({min:.2} to {max:.2})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_are_compared_with_the_best_peer_of_each_round() {
        let kind = Kind {
            name: "requests/s",
            better: Better::More,
        };
        let mut table = Table::new("work");
        for (peer, rounds) in [
            (Peer::Direct, [100.0, 100.0]),
            (Peer::Haproxy, [50.0, 20.0]),
            (Peer::Nginx, [40.0, 40.0]),
            (Peer::Plain, [60.0, 60.0]),
        ] {
            for figure in rounds {
                table.push(peer, kind, figure);
            }
        }
        let lines = table.lines();
        let ours = lines.iter().find(|line| line.peer == Peer::Plain.name());
        let best = ours.and_then(|line| line.of_best_peer);
        let expected = Spread::of(&[60.0 / 50.0, 60.0 / 40.0]);
        assert_eq!(best, expected);
        let rival = lines.iter().find(|line| line.peer == "nginx");
        assert!(rival.is_some_and(|line| line.of_best_peer.is_none()));
        assert!(table.markdown().contains("| leaseway, no plugin | 60.0 |"));
    }
    #[test]
    fn a_peer_that_is_given_up_has_words_and_is_compared_with_nobody() {
        let kind = Kind {
            name: "transactions/s",
            better: Better::More,
        };
        let mut table = Table::new("work");
        table.push(Peer::PgBouncer, kind, 10.0);
        table.push(Peer::Postgres, kind, 20.0);
        table.give_up(Peer::PgBouncer, kind, "no | luck");
        assert!(table.has_given_up(Peer::PgBouncer));
        assert!(!table.has_given_up(Peer::Postgres));
        let lines = table.lines();
        assert!(lines.iter().all(|line| line.of_best_peer.is_none()));
        let markdown = table.markdown();
        assert!(
            markdown.contains("| pgbouncer | no \\| luck | |"),
            "{markdown}"
        );
        assert!(!markdown.contains("| 10.0 |"), "{markdown}");
    }
}
