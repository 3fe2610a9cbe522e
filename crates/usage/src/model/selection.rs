//! Filter of the records of a statistic, besides its window.

use kernel::CallerClass;

use crate::RecordFilter;

/// Filter of a statistic besides its window; an absent part does not narrow (HTTP contract 4.2). Texts are compared
/// exactly.
///
/// Roll-ups have neither sessions nor classes of callers: with one of these filters the records themselves are read, as many
/// as the window has, and only as far back as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Only this kind of event.
    pub event_type: Option<String>,
    /// Only this model.
    pub model_name: Option<String>,
    /// Only this provider.
    pub provider: Option<String>,
    /// Only this tool.
    pub tool_name: Option<String>,
    /// Only this session.
    pub session_id: Option<String>,
    /// Only records by callers of this class; records without a class do not match.
    pub recorded_by: Option<CallerClass>,
}

impl From<&RecordFilter> for Selection {
    fn from(filter: &RecordFilter) -> Self {
        Self {
            event_type: filter.event_type.clone(),
            model_name: filter.model_name.clone(),
            provider: filter.provider.clone(),
            tool_name: filter.tool_name.clone(),
            session_id: filter.session_id.clone(),
            recorded_by: filter.recorded_by,
        }
    }
}
