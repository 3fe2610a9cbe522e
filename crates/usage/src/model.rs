//! The types of this domain. They know no SQL.

mod anomaly;
mod coverage;
mod filter;
pub(crate) mod input;
mod outcome;
mod price;
mod record;
mod selection;
mod series;
mod stats;
mod summary;
mod top_series;
mod upkeep;
mod zone;

pub use anomaly::{Anomaly, AnomalyRule};
pub use coverage::Coverage;
pub use filter::RecordFilter;
pub use input::UsageInput;
pub use outcome::{Corrected, Correction, Outcome, Recorded, Replay};
pub use price::{NewPrice, Offer, PRICES_MAX, PriceFilter, PriceVersion};
pub use record::{Charge, EventId, NewRecord, Pricing, Record, UNKNOWN, UNRATED};
pub use selection::Selection;
pub use series::{Dimension, Group, Line, POINTS_MAX, Series, SeriesQuery, Totals, Unit};
pub use stats::Stats;
pub use summary::{Counted, Day, Suggestion, Summary, SummaryQuery, UnratedModel};
pub use top_series::{Point, TopQuery, TopSeries, Users};
pub use upkeep::{Months, OldMonth, Retained};
pub use zone::{Zone, Zones};
