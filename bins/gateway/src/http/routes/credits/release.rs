//! `POST /api/v1/users/{user_id}/credits/holds/{hold_id}/release`: ends a hold without a charge (HTTP contract 6.5).

use credits::Action;
use kernel::FreeForm;

use super::order::{self, Order};
use crate::http::{idempotency, prelude::*, routes::credits::bodies::Hold};

pub fn doc() -> Doc {
    Doc::new("credits", "Release a hold")
        .description("Users release only holds of users.")
        .idempotent()
        .reply_envelope::<Hold>("Released 70.0 credits", super::bodies::hold_example())
        .errors(&[&catalogue::HOLD_NOT_FOUND, &catalogue::HOLD_NOT_OPEN])
}

pub async fn handle(call: Call) -> Result<Reply, ApiError> {
    call.known()?;
    let hold_id = call.id_of_path("hold_id", &catalogue::HOLD_NOT_FOUND)?;
    let ((), key) = idempotency::key_at(&call, Some(("hold_id", hold_id)), (), move |&(), asked| {
        // As version 1 made it.
        asked.id(hold_id)
    })
    .await?;
    let order =
        Order { action: Action::Release { hold_id }, description: None, metadata: FreeForm::empty(), key };
    let answer = order::run(&call, order).await?;
    let hold = answer.hold()?;
    let message =
        Text::new(format!("Released {} credits", hold.released), format!("已释放 {} 积分", hold.released));
    Ok(answer.with_replay_header(call.envelope_at(answer.at, &message, hold)?))
}
