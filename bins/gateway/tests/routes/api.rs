//! Routes of the chat backend.

mod auth {
    mod logout;
    mod refresh;
}
