//! `GET /api/v1/users/{user_id}/files/quota`: storage that a user uses (HTTP contract 7).

use super::body::files_of;
use crate::http::prelude::*;

/// Storage of a user.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuotaBody {
    /// Bytes of files.
    used_bytes: i64,
    /// Bytes of uploads that are not complete.
    reserved_bytes: i64,
    /// Most bytes, both together.
    max_bytes: i64,
    /// Files.
    used_files: i64,
    /// Most files, with uploads that are not complete.
    max_files: i64,
}

pub fn doc() -> Doc {
    Doc::new("files", "Storage of a user")
        .reply_envelope::<QuotaBody>(
            "Quota retrieved successfully",
            json!({
                "used_bytes": 2_048_576, "reserved_bytes": 0, "max_bytes": 1_073_741_824, "used_files": 1, "max_files": 10_000,
            }),
        )
        .errors(&[&catalogue::PROVIDER_NOT_CONFIGURED])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    let user_id = call.user().await?;
    let limits = files_of(&call)?.limits();
    let quota = call.look_up(async |conn| files::quota(conn, &user_id).await).await?;
    let data = QuotaBody {
        used_bytes: quota.used_bytes,
        reserved_bytes: quota.reserved_bytes,
        max_bytes: limits.user_bytes,
        used_files: quota.used_files,
        max_files: limits.user_files,
    };
    call.envelope(&Text::new("Quota retrieved successfully", "存储配额获取成功"), data)
}
