//! Figures of the rounds, and what is made of them: least, median, most, and ratios within a round.

use serde::Serialize;

/// Whether more of something is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
}

impl Better {
    /// The better of two figures.
    pub(super) fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Self::More => a.max(b),
            Self::Less => a.min(b),
        }
    }
}

/// Least, median and most of one figure over the rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    /// None without figures.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], upper)
        } else {
            upper
        };
        Some(Self {
            min: *sorted.first()?,
            median,
            max: *sorted.last()?,
        })
    }

    /// Of `values` to `base`, round by round; none where a base is zero.
    pub(super) fn of_ratios(values: &[f64], base: &[f64]) -> Option<Self> {
        if base.contains(&0.0) {
            return None;
        }
        let ratios: Vec<f64> = values.iter().zip(base).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_least_median_and_most() {
        let spread = |min, median, max| Some(Spread { min, median, max });
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), spread(1.0, 2.0, 3.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 3.0]), spread(1.0, 2.5, 4.0));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn ratios_are_made_within_a_round() {
        let ratios = Spread::of_ratios(&[10.0, 40.0], &[10.0, 20.0]);
        let expected = Spread {
            min: 1.0,
            median: 1.5,
            max: 2.0,
        };
        assert_eq!(ratios, Some(expected));
        assert_eq!(Spread::of_ratios(&[1.0], &[0.0]), None);
    }
}
