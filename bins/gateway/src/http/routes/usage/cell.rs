//! Values as cells of a CSV file.

use kernel::{Credits, FreeForm, Usd, UserId, rfc3339};

use crate::http::wire::Timestamp;

/// A value that has a cell.
pub trait Cell {
    /// The cell. An absent value is an empty one.
    fn cell(&self) -> String;
}

/// A text that a spreadsheet would take for a formula gets an apostrophe in front: what users send must not run where
/// somebody opens the file.
impl Cell for str {
    fn cell(&self) -> String {
        let mark = if self.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
        format!("{mark}{self}")
    }
}

impl<T: Cell> Cell for Option<T> {
    fn cell(&self) -> String {
        self.as_ref().map(T::cell).unwrap_or_default()
    }
}

/// A number stays one, also a negative one.
macro_rules! exact {
    ($($type:ty),*) => {
        $(impl Cell for $type {
            fn cell(&self) -> String {
                self.to_string()
            }
        })*
    };
}

exact!(i64, bool, Credits, Usd);

impl Cell for String {
    fn cell(&self) -> String {
        self.as_str().cell()
    }
}

impl Cell for &str {
    fn cell(&self) -> String {
        (**self).cell()
    }
}

impl Cell for UserId {
    fn cell(&self) -> String {
        self.as_str().cell()
    }
}

impl Cell for FreeForm {
    fn cell(&self) -> String {
        self.as_json().cell()
    }
}

impl Cell for Timestamp {
    fn cell(&self) -> String {
        rfc3339(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_would_be_formulas_are_disarmed_and_numbers_are_not() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(Some(formula.to_owned()).cell(), format!("'{formula}"));
        }
        for harmless in ["", "a=1", "1-1", "'=1"] {
            assert_eq!(harmless.cell(), harmless);
        }
        assert_eq!(
            (Credits::from_micro(-1).cell(), (-1_i64).cell()),
            ("-0.000001".to_owned(), "-1".to_owned())
        );
        assert_eq!(None::<i64>.cell(), "");
    }
}
