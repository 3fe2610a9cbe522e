#![doc = include_str!("../README.md")]

mod chat_server;
mod copy_tree;
mod deadline;
mod file_samples;
mod fixtures;
mod mail_server;
mod pgbouncer;
mod pooler;
mod programs;
mod proxy;
mod questions;
mod redis_server;
#[cfg(feature = "s3")]
mod s3_server;
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
pub use file_samples::{FileSample, good_files, hostile_files};
pub use fixtures::{clock, ids, instant, user};
pub use mail_server::{MailServer, TestMail};
pub use pgbouncer::PgBouncer;
pub use pooler::{Pooling, TestPooler};
pub use programs::{find_program, skip, skip_without};
pub use proxy::Proxy;
pub use questions::{ask, ask_texts, plan};
pub use redis_server::RedisServer;
#[cfg(feature = "s3")]
pub use s3_server::{S3_ACCESS_KEY, S3_BUCKET, S3_SECRET_KEY, S3Call, S3Fault, S3Server};
pub use statements::Statements;
#[cfg(feature = "app")]
pub use test_app::{TOKEN_SECRET, TestApp, search_path};
pub use test_db::{TestDb, audit_now};
#[cfg(feature = "app")]
pub use test_request::{FORM, Members, SERVICE_KEY, TestReply, TestRequest, TestUser, form};
pub use wechat_server::{WECHAT_SECRET, WECHAT_SESSION_KEY, WechatServer};
