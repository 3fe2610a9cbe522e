//! Log lines on stderr, and metrics for Prometheus.

mod logs;
mod metrics;
mod moved;

pub use logs::init as init_logs;
pub use metrics::Metrics;
pub use moved::Moved;
