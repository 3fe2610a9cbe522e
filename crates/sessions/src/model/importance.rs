//! Importance of a message for a summary.

/// A weight from 0 to 1; 0.5 unless the caller says otherwise. It decides nothing about money.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ImportanceScore(f64);

/// The number is not between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("importance score is not between 0 and 1")]
pub struct ImportanceScoreError;

impl ImportanceScore {
    /// The weight as a number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Default for ImportanceScore {
    fn default() -> Self {
        Self(0.5)
    }
}

impl TryFrom<f64> for ImportanceScore {
    type Error = ImportanceScoreError;

    /// Takes a number from 0 to 1, both included; `NaN` is outside.
    fn try_from(number: f64) -> Result<Self, ImportanceScoreError> {
        if (0.0..=1.0).contains(&number) {
            // Adding zero turns -0.0 into 0.0, which is how it is answered.
            Ok(Self(number + 0.0))
        } else {
            Err(ImportanceScoreError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_from_0_to_1_are_taken() {
        for number in [0.0, -0.0, 0.3, 1.0] {
            assert_eq!(ImportanceScore::try_from(number).unwrap().get(), number);
        }
        assert!(ImportanceScore::try_from(-0.0).unwrap().get().is_sign_positive());
        for number in [-0.001, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(ImportanceScore::try_from(number), Err(ImportanceScoreError));
        }
        assert_eq!(ImportanceScore::default().get(), 0.5);
    }
}
