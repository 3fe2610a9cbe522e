//! A user's first login: the user, his account, the initial grant and its events in one commit.
//!
//! Guarantees that any number of concurrent first logins make one user with one initial grant, and that exactly one of
//! them is told that it made him. Touches identity, credits and webhooks.

use std::sync::Arc;

use identity::{Ensured, IdentityRefusal, NewUser, User, erasures, seal::Sealer};
use kernel::{Actor, CallerClass, Clock, Credits, FreeForm, Ids};
use pg::{Attempts, DbError, Pool, Tx};
use webhooks::{EventKind, NewEvent, Nothing, Receivers};

use crate::events;

/// Parameters of a login.
#[derive(Debug, Clone)]
pub struct SignUp {
    /// The user who logs in.
    pub user: NewUser,
    /// Initial grant of a new user; zero for none.
    pub initial: Credits,
    /// In which capacity the caller acts.
    pub actor: Actor,
    /// Finds out if an erased user had the address: then there is no initial grant (HTTP contract 3.1).
    pub sealer: Option<Arc<Sealer>>,
}

/// A user with what he may spend.
#[derive(Debug, Clone)]
pub struct SignedUp {
    /// The user, as stored.
    pub user: User,
    /// True if this call created the user.
    pub created: bool,
    /// His balance.
    pub balance: credits::Balance,
}

/// Makes sure that the user exists.
///
/// # Errors
/// The inner error is a refusal: the e-mail address belongs to somebody else.
pub async fn run(
    pool: &Pool,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &SignUp,
) -> Result<Result<SignedUp, IdentityRefusal>, DbError> {
    let mut attempts = Attempts::up_to(3);
    loop {
        let result = once(pool, clock, ids, request).await;
        match result {
            Err(error) if attempts.again(&error).await => {}
            result => return result,
        }
    }
}

async fn once(
    pool: &Pool,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &SignUp,
) -> Result<Result<SignedUp, IdentityRefusal>, DbError> {
    Tx::decide(pool, async |tx| in_tx(tx, clock, ids, request).await).await
}

/// The atomic part, for callers that have more to commit.
///
/// # Errors
/// As [`run`].
pub async fn in_tx(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &SignUp,
) -> Result<Result<SignedUp, IdentityRefusal>, DbError> {
    let Ensured { user, created } = match identity::users::ensure(tx, clock, &request.user).await? {
        Ok(ensured) => ensured,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if created {
        open_account(tx, clock, ids, request).await?;
    }
    let balance = credits::balances(tx.conn(), clock, std::slice::from_ref(&user.user_id)).await?;
    let balance = balance
        .into_iter()
        .flatten()
        .next()
        .ok_or_else(|| DbError::Inconsistent(format!("user {} has no account", user.user_id)))?;
    Ok(Ok(SignedUp { user, created, balance }))
}

async fn open_account(
    tx: &mut Tx,
    clock: &dyn Clock,
    ids: &dyn Ids,
    request: &SignUp,
) -> Result<(), DbError> {
    let wanted = Receivers::default().wanted(tx.shared()).await?;
    let sealer = request.sealer.as_deref();
    let initial = match request.initial {
        initial if !initial.is_zero() && erasures::was_there(tx.conn(), sealer, &request.user).await? => {
            Credits::ZERO
        }
        initial => initial,
    };
    let command = credits::Command {
        user_id: request.user.user_id.clone(),
        actor: request.actor,
        // Without a key and a hold the class does not matter.
        caller: CallerClass::Service,
        nonce: ids.uuid(),
        description: Some("Initial credits".to_owned()),
        metadata: FreeForm::empty(),
        action: credits::Action::Open { initial },
    };
    // A balance that begins cannot fall, so no threshold matters here.
    let defaults = credits::Defaults::default();
    let executed = credits::execute(tx, clock, defaults, std::slice::from_ref(&command)).await?;
    let mut news = vec![NewEvent {
        user_id: request.user.user_id.clone(),
        kind: EventKind::UserCreated(Nothing {}),
        at: clock.now(),
    }];
    news.extend(events::of_entries(&wanted, &executed.entries, &executed.low));
    webhooks::enqueue(tx, &wanted, news).await?;
    match executed.outcomes.into_iter().next().map(|outcome| outcome.result) {
        Some(Ok(_)) => Ok(()),
        Some(Err(refusal)) => Err(DbError::Inconsistent(format!("a new account was refused: {refusal}"))),
        None => Err(DbError::Inconsistent("opening an account had no outcome".to_owned())),
    }
}
