//! Logins with tokens of the service, opened as the login routes do.

use identity::{
    OwnTokens, Validity,
    logins::{self, LoginTokens},
    seal::{Sealer, SecretKey},
};
use kernel::{Clock, RandomIds};
use secrecy::ExposeSecret as _;

use crate::prelude::*;

/// A login of a user.
pub struct Login {
    /// The user, with the access token.
    pub user: TestUser,
    pub refresh_token: String,
}

impl From<LoginTokens> for Login {
    fn from(tokens: LoginTokens) -> Self {
        let token = tokens.access_token.expose_secret().to_owned();
        Self {
            user: TestUser { id: tokens.user_id, token },
            refresh_token: tokens.refresh_token.expose_secret().to_owned(),
        }
    }
}

/// Opens a login of a user, who is made by the service if need be.
pub async fn log_in(app: &TestApp, user_id: &str) -> Login {
    let local: String = user_id.chars().filter(char::is_ascii_alphanumeric).collect();
    let body = json!({"auth0_id": user_id, "email": format!("{local}@example.com"), "name": user_id});
    app.post("/api/v1/users/ensure").service().json(body).expect(200).await;
    open(app, user_id).await
}

/// Opens a login of a user.
pub async fn open(app: &TestApp, user_id: &str) -> Login {
    let tokens = app.app().own_tokens.as_ref().unwrap();
    open_with(app.db(), app.clock(), tokens, user_id).await
}

/// Opens a login of a user of a service in development, whose `PUBLIC_URL` this is.
pub async fn open_on(db: &TestDb, clock: &dyn Clock, public_url: &str, user_id: &str) -> Login {
    let secret = identity::development_secret(&mut *db.connect().await, clock).await.unwrap();
    let sealer = Sealer::new(&SecretKey::of_development(&secret), &[]).unwrap();
    let validity = Validity { access: Duration::HOUR, refresh: Duration::days(1) };
    open_with(db, clock, &OwnTokens::new(Arc::new(sealer), public_url, validity), user_id).await
}

async fn open_with(db: &TestDb, clock: &dyn Clock, tokens: &OwnTokens, user_id: &str) -> Login {
    let (mut conn, user) = (db.connect().await, testkit::user(user_id));
    logins::open(tokens, &mut conn, clock, &RandomIds, &user, None).await.unwrap().into()
}
