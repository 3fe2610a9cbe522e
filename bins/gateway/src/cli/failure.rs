//! Why a command did not do what it was told.

use std::{error::Error, io, sync::Arc};

use identity::seal::SealError;
use kernel::UserId;
use pg::DbError;

use super::{account::AccountError, bind::BindError, output};
use crate::{config::Problems, database::DatabaseError};

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Configuration(#[from] Problems),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("the data folder cannot be used")]
    DataDir(#[source] local_postgres::Error),
    #[error("the output could not be written")]
    Output(#[source] io::Error),
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("metrics cannot be recorded: {0}")]
    Metrics(Arc<str>),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the service could not be started")]
    App(#[source] Box<dyn Error + Send + Sync>),
    #[error("the HTTP server failed")]
    Server(#[source] io::Error),
    #[error("the HTTP server ended unexpectedly")]
    ServerEnded,
    #[error("the private PostgreSQL {0}; postgres.log in the data folder may say why")]
    DatabaseEnded(String),
    #[error("the ledger could not be read")]
    Ledger(#[source] DbError),
    #[error("the schema lacks {}: start this version of the service or `gateway migrate` first, this command does not change it", .missing.join(", "))]
    SchemaBehind { missing: Vec<&'static str> },
    #[error("usage records could not be looked after; what was done stays done, and the next run goes on")]
    Usage(#[source] DbError),
    #[error("users and keys could not be looked after")]
    Identity(#[source] DbError),
    #[error("{0}")]
    Useless(&'static str),
    #[error("there is no user {0}: they have to log in once before")]
    UnknownUser(UserId),
    #[error("heads could not be written back; what was done stays done, and the next run goes on")]
    Cool(#[source] DbError),
    #[error("the key that signs tokens could not be replaced")]
    Keys(#[source] DbError),
    #[error("the key that signs tokens could not be sealed")]
    Sealing(#[source] SealError),
    #[error("SECRETS_KEY is not set: there are no tokens of this service")]
    NoSecretsKey,
    #[error("stopped by {0}; what was done stays done, and the next run goes on")]
    Stopped(&'static str),
    #[error("stopped by {0} before every account was audited")]
    Interrupted(&'static str),
    #[error("the ledger has drifted ({found} violations), first: {first}")]
    Drifted { first: String, found: u64 },
}

impl Failure {
    /// Reports to the operator: as a log line once logs are set up, else on stderr.
    pub(super) fn report(&self) {
        if let Self::Configuration(problems) = self {
            output::complain(&format!("gateway: the configuration is not usable\n{problems}"));
        } else if matches!(self, Self::Drifted { .. }) {
            // The finding of a command, for whoever called it: never in the form of a log.
            output::complain(&format!("gateway: {self}"));
        } else if tracing::dispatcher::has_been_set() {
            tracing::error!("{}", pg::pool::chain(self));
        } else {
            output::complain(&format!("gateway: {}", pg::pool::chain(self)));
        }
    }
}
