//! The client of the OpenAI protocol, over the wire, against the chat server of testkit.

#![cfg(test)]

mod bounds;
mod cancelling;
mod failures;
mod replies;
mod requests;
mod secrets;
mod time_outs;
mod tool_calls;
mod upstream;
mod usage;
