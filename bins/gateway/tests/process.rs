//! The real binary as a process: started, stopped, killed and doubled.

mod accounts;
mod administrators;
mod api_keys;
mod connections;
mod crash;
mod erasures;
mod forgotten_proxy;
mod full_disk;
pub mod gateway_process;
mod histories;
mod ledger_cool;
mod ledger_verify;
mod lost_database;
mod measurements;
mod own_tokens;
mod poolers;
mod receivers;
mod replies;
mod shared_limits;
mod silent_database;
mod standby;
mod start;
mod statements;
mod traffic;
mod two_processes;
mod usage_export;
mod usage_retain;
