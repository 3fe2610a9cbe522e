//! A message is added to a session.

use pg::{DbError, Rejected};
use sessions::{Message, NewMessage, SessionRefusal};

use super::Writes;
use crate::{
    operation::{Needs, Operation, Subject},
    unit_of_work::{Saved, UnitOfWork},
};

impl Writes {
    /// Adds a message to a session that its scope includes.
    ///
    /// # Errors
    /// [`Rejected`] when it could not be run; an unknown or foreign session is an `Ok(Err(_))`.
    pub async fn message(&self, message: NewMessage) -> Result<Result<Message, SessionRefusal>, Rejected> {
        self.submit_unchecked(message).await
    }
}

impl Operation for NewMessage {
    type Outcome = Result<Message, SessionRefusal>;
    type Decided = usize;

    fn needs(&self) -> Needs<'_> {
        let calls = self.tool_calls.as_ref().map_or(0, |json| json.as_json().len());
        let bytes = self.content.len() + calls + self.message_metadata.as_json().len();
        Needs { bytes, ..Needs::new(Subject::Session(self.session_id)) }
    }

    fn decide<'a>(
        &'a self,
        _status: Option<identity::UserStatus>,
        unit: &mut UnitOfWork<'a>,
    ) -> Result<usize, DbError> {
        unit.messages.push(self.clone());
        Ok(unit.messages.len().saturating_sub(1))
    }

    fn answer(&self, place: usize, saved: &mut Saved<'_>) -> Result<Self::Outcome, DbError> {
        saved.message(place)
    }
}
