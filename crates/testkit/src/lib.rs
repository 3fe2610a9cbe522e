#![doc = include_str!("../README.md")]

mod chat_server;
mod copy_tree;
mod deadline;
mod fixtures;
mod mail_server;
mod pgbouncer;
mod pooler;
mod programs;
mod proxy;
mod questions;
mod redis_server;
mod seed;
mod server;
mod statements;
mod template;
#[cfg(feature = "app")]
mod test_app;
mod test_db;
#[cfg(feature = "app")]
mod test_request;
mod wechat_server;
mod work_folder;

pub use chat_server::{ChatCall, ChatScript, ChatServer};
pub use deadline::{Deadline, listening_url};
pub use fixtures::{clock, ids, instant, user};
pub use mail_server::{MailServer, TestMail};
pub use pgbouncer::PgBouncer;
pub use pooler::{Pooling, TestPooler};
pub use programs::{find_program, skip, skip_without};
pub use proxy::Proxy;
pub use questions::{ask, ask_texts, plan};
pub use redis_server::RedisServer;
pub use statements::Statements;
#[cfg(feature = "app")]
pub use test_app::{TOKEN_SECRET, TestApp, search_path};
pub use test_db::{TestDb, audit_now};
#[cfg(feature = "app")]
pub use test_request::{Members, SERVICE_KEY, TestReply, TestRequest, TestUser};
pub use wechat_server::{WECHAT_SECRET, WECHAT_SESSION_KEY, WechatServer};
