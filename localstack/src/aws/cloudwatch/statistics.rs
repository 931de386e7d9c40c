//! What CloudWatch reckons from the samples of a period.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html>
#![allow(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "CloudWatch's values are floats")]

/// One statistic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    SampleCount,
    Average,
    Sum,
    Minimum,
    Maximum,
    /// `p99`, as 0.99.
    Percentile(f64),
}

impl Statistic {
    /// The statistic of a name; `None` for one that is unknown or not implemented.
    #[must_use]
    pub fn read(name: &str) -> Option<Self> {
        match name {
            "SampleCount" => Some(Self::SampleCount),
            "Average" => Some(Self::Average),
            "Sum" => Some(Self::Sum),
            "Minimum" => Some(Self::Minimum),
            "Maximum" => Some(Self::Maximum),
            name => {
                let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
                (0.0..=100.0).contains(&percent).then_some(Self::Percentile(percent / 100.0))
            }
        }
    }

    /// Of at least one sample.
    #[must_use]
    pub fn of(self, samples: &[f64]) -> Option<f64> {
        let first = samples.first()?;
        let (count, sum) = (samples.len() as f64, samples.iter().sum::<f64>());
        Some(match self {
            Self::SampleCount => count,
            Self::Average => sum / count,
            Self::Sum => sum,
            Self::Minimum => samples.iter().copied().fold(*first, f64::min),
            Self::Maximum => samples.iter().copied().fold(*first, f64::max),
            Self::Percentile(share) => percentile(samples, share),
        })
    }
}

/// Between the two nearest samples.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
fn percentile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len().saturating_sub(1)) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let at = |place: usize| sorted.get(place).copied().unwrap_or_default();
    at(below) + (at(above) - at(below)) * (place - place.floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_cloudwatch() {
        let of = |name: &str| Statistic::read(name).unwrap().of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
        let names = ["SampleCount", "Average", "Sum", "Minimum", "Maximum", "p50", "p100"];
        assert_eq!(names.map(of), [4.0, 2.5, 10.0, 1.0, 4.0, 2.5, 4.0]);
        assert_eq!(Statistic::Sum.of(&[]), None);
        assert_eq!((Statistic::read("tm99"), Statistic::read("p101")), (None, None));
    }
}
