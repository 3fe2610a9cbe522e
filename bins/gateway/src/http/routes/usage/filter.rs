//! Filters of usage records (HTTP contract 4.2).

use kernel::CallerClass;
use usage::RecordFilter;

use crate::http::{
    fields::dates::{Dates, Days, End},
    prelude::*,
};

/// The classes of callers by their names.
pub const CLASSES: &[(&str, CallerClass)] = &[("user", CallerClass::User), ("service", CallerClass::Service)];

input! {
    /// Filters without dates.
    pub struct SelectionInput {
        /// Only records by callers of this class; records without a class, made before it was stored, are left out. Sums with this
        /// filter read the records of the window, as far back as they are kept.
        recorded_by: Option<CallerClass> = optional(Query, parse::one_of(CLASSES));
        /// Only this kind of use.
        event_type: Option<String> = optional(Query, parse::text(0, 255)), example("ai_chat");
        /// Only this model.
        model_name: Option<String> = optional(Query, parse::text(0, 255));
        /// Only this provider.
        provider: Option<String> = optional(Query, parse::text(0, 255));
        /// Only this tool.
        tool_name: Option<String> = optional(Query, parse::text(0, 255));
        /// Only this session.
        session_id: Option<String> = optional(Query, parse::text(0, 255));
    }
}

input! {
    /// The filters that the list, the statistics and the exports share (HTTP contract 4.2).
    pub struct FilterInput {
        /// Time window.
        dates: Dates = flat(Dates, &Days::default());
        /// The selection.
        selection: SelectionInput = flat(SelectionInput, &());
    }
}

impl From<SelectionInput> for RecordFilter {
    fn from(input: SelectionInput) -> Self {
        Self {
            from: None,
            to: None,
            event_type: input.event_type,
            model_name: input.model_name,
            provider: input.provider,
            tool_name: input.tool_name,
            session_id: input.session_id,
            recorded_by: input.recorded_by,
        }
    }
}

impl From<FilterInput> for RecordFilter {
    fn from(FilterInput { dates, selection }: FilterInput) -> Self {
        Self { from: dates.start, to: dates.end.map(End::last), ..selection.into() }
    }
}
