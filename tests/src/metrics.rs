//! Reads the OpenMetrics text of `/metrics`.

use std::collections::BTreeMap;

/// The samples of one scrape: `name{labels}` as printed, and its value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Parses the text.
    ///
    /// # Panics
    /// A line is neither a comment nor a sample.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (key, value) =
                    sample(line).unwrap_or_else(|| panic!("not a line of OpenMetrics: {line:?}"));
                (key.to_owned(), value)
            });
        Self(samples.collect())
    }

    /// The sample that is printed as `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<f64> {
        self.0.get(key).copied()
    }

    /// The sum of all samples called `name`, whatever their labels; 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, &[])
    }

    /// The sum of those samples called `name` that have all of `labels`.
    #[must_use]
    pub fn sum_where(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        self.0
            .iter()
            .filter(|(key, _)| {
                let (known, labels) = key.split_once('{').unwrap_or((key, ""));
                known == name && wanted.iter().all(|label| has_label(labels, label))
            })
            .map(|(_, value)| value)
            .sum()
    }

    /// All samples, by key.
    #[must_use]
    pub fn samples(&self) -> &BTreeMap<String, f64> {
        &self.0
    }
}

/// `name{labels} value [timestamp] [# exemplar]`. A label's value may hold spaces.
fn sample(line: &str) -> Option<(&str, f64)> {
    let end = match line.rfind('}') {
        Some(brace) => brace + 1,
        None => line.find(' ')?,
    };
    let (key, rest) = line.split_at(end);
    let value = rest.split_whitespace().next()?;
    Some((key, value.parse().ok()?))
}

/// Whether `label` stands in `labels` as a whole one: not as the end of a longer name.
fn has_label(labels: &str, label: &str) -> bool {
    labels.match_indices(label).any(|(at, _)| {
        let before = labels[..at].chars().next_back();
        let after = labels[at + label.len()..].chars().next();
        matches!(before, None | Some(',')) && matches!(after, None | Some(',' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total what\n# TYPE a counter\n\
        a_total{reused=\"true\",to=\"x y\"} 3\n\
        a_total{reused=\"false\",to=\"x y\"} 4\n\
        a_total_other 100\nseconds_sum 0.25\n# EOF\n";

    #[test]
    fn samples_are_found_by_key_name_and_label() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(
            metrics.get("a_total{reused=\"true\",to=\"x y\"}"),
            Some(3.0)
        );
        assert_eq!(metrics.get("seconds_sum"), Some(0.25));
        assert_eq!(metrics.sum("a_total"), 7.0);
        assert_eq!(metrics.sum_where("a_total", &[("reused", "false")]), 4.0);
        assert_eq!(metrics.sum_where("a_total", &[("used", "false")]), 0.0);
        assert_eq!(metrics.sum("none"), 0.0);
    }

    #[test]
    #[should_panic(expected = "not a line of OpenMetrics")]
    fn anything_else_is_refused() {
        let _ = Metrics::parse("<html>");
    }
}
