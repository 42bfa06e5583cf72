//! The table at the end, for people.

use std::time::Duration;

use super::figures::Figures;
use super::load::Outcome;

/// One of the two runs.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) outcome: Outcome,
    /// Connections that the server was asked for.
    pub(super) opened: u64,
}

/// Prints both runs side by side, and what the relay did.
pub(super) fn print(direct: &Side, through: &Side, figures: &Figures) {
    println!("{}", table(direct, through));
    println!("{}", relay(&through.outcome, figures));
}

fn table(direct: &Side, through: &Side) -> String {
    let mut lines = vec![row("", "directly", "through Leaseway")];
    let mut add = |name: &str, value: &dyn Fn(&Side) -> String| {
        lines.push(row(name, &value(direct), &value(through)));
    };
    add("clients", &|side| grouped(side.outcome.clients as u64));
    add("connections opened upstream", &|side| grouped(side.opened));
    add("most connections at once", &|side| {
        side.outcome.peak.map_or_else(|| "?".to_owned(), grouped)
    });
    add("connections killed in mid-run", &|side| {
        let (times, killed) = side.outcome.kills;
        if times == 0 {
            return "-".to_owned();
        }
        format!("{} in {times} times", grouped(killed))
    });
    add("requests", &|side| {
        grouped(side.outcome.latencies.len() as u64)
    });
    add("requests per second", &|side| {
        grouped(per_second(
            side.outcome.latencies.len(),
            side.outcome.elapsed,
        ))
    });
    add("time per request, p50", &|side| {
        millis(side.outcome.percentile(50))
    });
    add("time per request, p99", &|side| {
        millis(side.outcome.percentile(99))
    });
    add("clients that saw an error", &|side| {
        grouped(side.outcome.errors)
    });
    lines.join("\n")
}

fn relay(outcome: &Outcome, figures: &Figures) -> String {
    let mut text = format!(
        "\n{} leases, {} of them on a connection that was there already; {} connections opened.",
        grouped(figures.leases),
        percent(figures.reused, figures.leases),
        grouped(figures.opened),
    );
    if outcome.kills.0 > 0 {
        text += &format!(
            "\n{} leases met a dead connection and went on with another, unseen. (The clients only \
             read while\nconnections were killed: a write without a reply may have been carried out, \
             and is never sent twice.)",
            grouped(figures.replays)
        );
    }
    let per_call = figures.per_call.map_or_else(
        || "not timed".to_owned(),
        |time| format!("{:.2} us each", time.as_secs_f64() * 1e6),
    );
    text += &format!("\n{} plugin calls, {per_call}.", grouped(figures.calls));
    text
}

fn row(name: &str, left: &str, right: &str) -> String {
    format!("{name:<30} {left:>18} {right:>18}")
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Rounded down: 100 % is said only where it is all of them.
fn percent(part: u64, all: u64) -> String {
    let hundredths = (part * 10_000).checked_div(all).unwrap_or(0);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn per_second(count: usize, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    (count as u64 * 1000).checked_div(millis).unwrap_or(0)
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(percent(99_999, 100_000), "99.99 %");
        assert_eq!(percent(0, 0), "0.00 %");
        assert_eq!(per_second(500, Duration::from_millis(250)), 2000);
    }

    #[test]
    fn the_table_shows_both_runs() {
        let side = |opened, kills| Side {
            outcome: Outcome {
                clients: 1000,
                latencies: vec![100, 200, 300],
                elapsed: Duration::from_secs(1),
                peak: Some(opened),
                kills,
                ..Outcome::default()
            },
            opened,
        };
        let text = table(&side(1000, (0, 0)), &side(20, (5, 100)));
        let line = |name: &str| text.lines().find(|line| line.starts_with(name));
        let opened = line("connections opened upstream").unwrap_or_default();
        assert!(
            opened.contains("1,000") && opened.ends_with(" 20"),
            "{text}"
        );
        let killed = line("connections killed").unwrap_or_default();
        assert!(killed.ends_with("100 in 5 times"), "{text}");
    }
}
