//! Exact sums of amounts. An amount fits into 64 bits; what any number of records add up to need not.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    Credits, Usd,
    decimal::{DecimalText, Whole},
};

macro_rules! amount_sum {
    ($(#[$meta:meta])* $name:ident, $of:ident, $decimals:literal, $from:ident, $get:ident, $unit:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(i128);

        impl $name {
            /// The sum of nothing.
            pub const ZERO: Self = Self(0);

            #[doc = concat!("A sum of ", $unit, ".")]
            #[must_use]
            pub const fn $from(units: i128) -> Self {
                Self(units)
            }

            #[doc = concat!("The sum in ", $unit, ".")]
            #[must_use]
            pub const fn $get(self) -> i128 {
                self.0
            }
        }

        impl From<$of> for $name {
            fn from(amount: $of) -> Self {
                Self(amount.$get().into())
            }
        }

        impl fmt::Display for $name {
            /// The exact decimal with at least one decimal, as a single amount is written: `1000.0`, `0.001`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(DecimalText::new(self.0, $decimals, Whole::WithDecimal).as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl Serialize for $name {
            /// A JSON number with every digit (HTTP contract 1.8).
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                DecimalText::new(self.0, $decimals, Whole::WithDecimal).serialize(serializer)
            }
        }
    };
}

amount_sum!(
    /// Sum of any number of [`Credits`], in micro-credits.
    CreditsSum, Credits, 6, from_micro, micro, "micro-credits"
);
amount_sum!(
    /// Sum of any number of [`Usd`], in nano-dollars.
    UsdSum, Usd, 9, from_nano, nano, "nano-dollars"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sums_are_exact_at_and_beyond_64_bits() {
        let most = i128::from(i64::MAX);
        for (micro, text) in [
            (0, "0.0"),
            (most, "9223372036854.775807"),
            (most + 1, "9223372036854.775808"),
            (-most - 2, "-9223372036854.775809"),
            (i128::MAX, "170141183460469231731687303715884.105727"),
            (i128::MIN, "-170141183460469231731687303715884.105728"),
        ] {
            let sum = CreditsSum::from_micro(micro);
            assert_eq!(sum.to_string(), text);
            assert_eq!(serde_json::to_string(&sum).unwrap(), text);
        }
        let dollars = UsdSum::from_nano(most + 1);
        assert_eq!(serde_json::to_string(&dollars).unwrap(), "9223372036.854775808");
    }

    proptest! {
        #[test]
        fn a_sum_of_one_is_written_as_the_amount(units in any::<i64>()) {
            let (credits, usd) = (Credits::from_micro(units), Usd::from_nano(units));
            prop_assert_eq!(CreditsSum::from(credits).to_string(), credits.to_string());
            prop_assert_eq!(UsdSum::from(usd).to_string(), usd.to_string());
        }
    }
}
