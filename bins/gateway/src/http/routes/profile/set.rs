//! `PUT /api/user/profile`: changes the name and the picture of a user (HTTP contract 9).

use identity::{
    AvatarChange, ProfileChange,
    audit::{self, Action},
};

use super::body::{Profile, balance_of};
use crate::http::{
    fields::{Patch, parser::Parse as _},
    prelude::*,
    wire::Timestamp,
};

input! {
    /// Changes of a profile; what is absent stays.
    pub struct SetProfile {
        /// Display name.
        nickname: Option<String> = optional(Body, parse::text(1, 64)), example("新昵称");
        /// http or https URL of a picture; null removes it.
        avatar_url: Patch<String> = custom(
            |fields| fields.patch("avatar_url", parse::picture_url()), false, (parse::picture_url().schema(), Vec::new())
        ), example("https://example.com/avatar.png");
    }
}

/// The profile after the change.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangedProfile {
    #[serde(flatten)]
    profile: Profile,
    updated_at: Timestamp,
}

pub fn doc() -> Doc {
    Doc::new("accounts", "Change the profile")
        .named_user()
        .optional_body::<SetProfile>(json!({"nickname": "新昵称", "avatar_url": "https://example.com/avatar.png"}))
        .reply::<ChangedProfile>(json!({
            "id": 123, "email": "user@example.com", "nickname": "新昵称", "avatar_url": "https://example.com/avatar.png",
            "tokens": 1000, "created_at": "2023-01-01T00:00:00.000000Z", "email_verified": true, "updated_at": "2023-01-02T00:00:00.000000Z",
        }))
}

pub async fn handle(mut call: Call) -> Result<Reply, ApiError> {
    let SetProfile { nickname, avatar_url } = call.input().await?;
    let user_id = call.user().await?;
    let named = [nickname.as_ref().map(|_| "nickname"), (avatar_url != Patch::Keep).then_some("avatar_url")];
    let changed: Vec<&str> = named.into_iter().flatten().collect();
    let event =
        call.audit_event(Action::UserUpdated).of_user(user_id.clone()).with(&json!({"fields": changed}));
    let events = if changed.is_empty() { Vec::new() } else { vec![event] };
    let avatar = match avatar_url {
        Patch::Keep => AvatarChange::Keep,
        Patch::Clear => AvatarChange::Remove,
        Patch::Set(url) => AvatarChange::Set(url),
    };
    let (change, clock) = (ProfileChange { name: nickname, avatar }, &*call.app.clock);
    let user = call
        .write(async |tx| {
            let user = identity::users::set_profile(tx.conn(), clock, &user_id, &change).await?;
            if user.is_some() {
                audit::record(tx.conn(), &events).await?;
            }
            Ok(user)
        })
        .await?;
    let user = user.ok_or_else(|| ApiError::user_not_found(&user_id))?;
    let balance = balance_of(&call, &user_id).await?;
    let updated_at = Timestamp(user.updated_at);
    Reply::json(&ChangedProfile { profile: Profile::new(user, balance), updated_at })
}
