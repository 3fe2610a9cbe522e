//! Calls of tools, assembled from their pieces.

use kernel::{FreeForm, TextError, text::FREE_FORM_BYTES_MAX};
use serde::{Deserialize, Serialize};

use crate::UpstreamError;

/// Most calls in one reply.
const CALLS_MAX: usize = 128;

/// A piece of a call; the first one of a call has its id and name.
#[derive(Deserialize)]
pub(super) struct CallPiece {
    index: Option<u32>,
    id: Option<String>,
    function: Option<FunctionPiece>,
}

#[derive(Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}

/// The calls so far.
#[derive(Default)]
pub(super) struct ToolCalls {
    calls: Vec<ToolCall>,
    bytes: usize,
}

#[derive(Serialize)]
struct ToolCall {
    #[serde(skip)]
    index: Option<u32>,
    id: String,
    r#type: &'static str,
    function: Function,
}

#[derive(Default, Serialize)]
struct Function {
    name: String,
    arguments: String,
}

impl ToolCalls {
    /// Adds a piece. Pieces of one call have one index; without indexes, a piece with an id begins a call.
    pub(super) fn add(&mut self, piece: CallPiece) -> Result<(), UpstreamError> {
        let (index, id) = (piece.index, piece.id.unwrap_or_default());
        let FunctionPiece { name, arguments } =
            piece.function.unwrap_or(FunctionPiece { name: None, arguments: None });
        let (name, arguments) = (name.unwrap_or_default(), arguments.unwrap_or_default());
        for text in [&id, &name, &arguments] {
            self.bytes = self.bytes.saturating_add(text.len());
        }
        if self.bytes > FREE_FORM_BYTES_MAX {
            return Err(UpstreamError::TooLarge);
        }
        let call = self.call(index, &id)?;
        if call.id.is_empty() {
            call.id = id;
        }
        if call.function.name.is_empty() {
            call.function.name = name;
        }
        call.function.arguments.push_str(&arguments);
        Ok(())
    }

    /// The assembled calls as an array, by index. Nothing if there are none.
    pub(super) fn assembled(mut self) -> Result<Option<FreeForm>, UpstreamError> {
        if self.calls.is_empty() {
            return Ok(None);
        }
        if self.calls.iter().any(|call| call.function.name.is_empty()) {
            return Err(UpstreamError::Nonsense);
        }
        self.calls.sort_by_key(|call| call.index);
        let json = serde_json::to_string(&self.calls).map_err(|_| UpstreamError::Nonsense)?;
        FreeForm::array(&json).map(Some).map_err(|error| match error {
            TextError::TooLong => UpstreamError::TooLarge,
            _ => UpstreamError::Nonsense,
        })
    }

    fn call(&mut self, index: Option<u32>, id: &str) -> Result<&mut ToolCall, UpstreamError> {
        let known = match index {
            Some(_) => self.calls.iter().position(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => None,
        };
        let place = match known {
            Some(place) => place,
            None if self.calls.len() < CALLS_MAX => {
                let function = Function::default();
                self.calls.push(ToolCall { index, id: String::new(), r#type: "function", function });
                self.calls.len().saturating_sub(1)
            }
            None => return Err(UpstreamError::TooLarge),
        };
        self.calls.get_mut(place).ok_or(UpstreamError::Nonsense)
    }
}
