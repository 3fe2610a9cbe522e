//! `PUT /api/v1/sessions/{session_id}/status`: sets the status of a session (HTTP contract 5).

use actix_web::http::Method;
use pg::Tx;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::{
    call::Call,
    catalogue,
    doc::Doc,
    error::ApiError,
    fields::{Source, parse},
    language::Text,
    reply::Reply,
    route::{Access, BodyRule, Origin, Route},
};

/// The status to set.
#[derive(Debug, ToSchema)]
pub struct SetStatus {
    /// active, completed, ended, archived or expired.
    #[schema(example = "completed")]
    pub status: String,
}

/// The route.
#[must_use]
pub fn route() -> Route {
    Route {
        method: Method::PUT,
        path: "/api/v1/sessions/{session_id}/status",
        access: Access::OwnThings,
        body: BodyRule::Json,
        origin: Origin::Documented,
        operation: "update_session_status",
        doc,
        handler: |call| Box::pin(handle(call)),
    }
}

fn doc() -> Doc {
    let statuses: Vec<_> = super::STATUSES.iter().map(|(name, _)| *name).collect();
    Doc::new("sessions", "Set the status of a session")
        .description("The status may be given in the query or in the body.")
        .query(
            "status",
            "The status.",
            json!({"type": "string", "enum": statuses}),
            json!("completed"),
        )
        .optional_body::<SetStatus>(json!({"status": "completed"}))
        .reply_plain_envelope(
            json!({"type": "boolean"}),
            "Session status updated to completed",
            json!(true),
        )
        .errors(&[&catalogue::SESSION_NOT_FOUND])
}

async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let status = call
        .input(|fields| fields.required(Source::Either, "status", parse::one_of(super::STATUSES)))
        .await?;
    call.known()?;
    let (session_id, scope) = (call.session_id()?, call.scope()?);
    let mut tx = Tx::begin(&call.app.pool).await?;
    match sessions::set_status(&mut tx, &*call.app.clock, session_id, &scope, status).await? {
        Ok(_session) => tx.commit().await?,
        Err(refusal) => {
            tx.rollback().await;
            return Err(ApiError::from_failure(&refusal));
        }
    }
    let status = status.as_str();
    let message = Text::new(
        format!("Session status updated to {status}"),
        format!("会话状态已更新为 {status}"),
    );
    call.envelope(&message, true)
}
