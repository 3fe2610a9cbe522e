//! Routes of the chat backend.

mod auth {
    mod email_login;
    mod links;
    mod logout;
    mod refresh;
    mod register;
    mod secrets;
    mod wechat_login;
}
mod billing;
mod sessions {
    mod conversations;
    mod messages;
}
mod user {
    mod profile;
}
