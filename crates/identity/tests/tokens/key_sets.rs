//! Fetching published keys: when, how often, and what happens when it fails.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use identity::{Issuer, JwksTiming, TokenError, Verifier, token::JWKS_BYTES_MAX};
use kernel::{Clock as _, ManualClock};
use serde_json::json;

use super::{AUDIENCE, AUTH0, auth0_claims, auth0_verifier, patient};
use crate::{
    key_server::KeyServer,
    minting::{Signer, key_set, with, without},
};

fn first_token() -> String {
    Signer::rsa_first().token(&auth0_claims())
}

fn second_token() -> String {
    Signer::rsa_second().token(&auth0_claims())
}

/// A token that names a key nobody has published.
fn token_of(kid: &str) -> String {
    let forger = Signer::rsa_second();
    forger.token_with(&with(&forger.header(), "kid", json!(kid)), &auth0_claims())
}

fn clock_seconds(clock: &ManualClock) -> i64 {
    clock.now().unix_timestamp()
}

/// A server with the first key, and a verifier that has fetched it once.
async fn ready(clock: &ManualClock) -> (Verifier, KeyServer) {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    let verifier = auth0_verifier(server.url(), patient(), clock);
    verifier.verify_or_refresh(&first_token()).await.unwrap();
    assert_eq!(server.requests(), 1);
    (verifier, server)
}

#[tokio::test]
async fn the_first_tokens_wait_for_the_first_keys() {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    server.hold();
    let verifier = auth0_verifier(server.url(), patient(), &testkit::clock());
    assert_eq!(verifier.verify(&first_token()), Err(TokenError::KeysUnavailable));
    let token = first_token();
    let waiting = join_all((0..50).map(|_| verifier.verify_or_refresh(&token)));
    let opening = async {
        server.wait_for_requests(1).await;
        server.open();
    };
    let (verified, ()) = tokio::join!(waiting, opening);
    assert!(verified.into_iter().all(|result| result.is_ok()));
    assert!(verifier.verify(&token).is_ok());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn fifty_tokens_of_a_new_key_cause_one_fetch_and_are_all_accepted() {
    let (verifier, server) = ready(&testkit::clock()).await;
    server.publish(&key_set(&[&Signer::rsa_first(), &Signer::rsa_second()]));
    server.hold();
    let token = second_token();
    assert_eq!(verifier.verify(&token), Err(TokenError::UnknownKey));
    let waiting = join_all((0..50).map(|_| verifier.verify_or_refresh(&token)));
    let opening = async {
        server.wait_for_requests(2).await;
        // Keys at hand serve without waiting for the fetch.
        assert!(verifier.verify_or_refresh(&first_token()).await.is_ok());
        server.open();
    };
    let (verified, ()) = tokio::join!(waiting, opening);
    assert!(verified.into_iter().all(|result| result.is_ok()));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn fifty_tokens_of_fifty_unknown_keys_cause_one_fetch() {
    let (verifier, server) = ready(&testkit::clock()).await;
    let tokens: Vec<String> = (0..50).map(|number| token_of(&format!("unknown-{number}"))).collect();
    let results = join_all(tokens.iter().map(|token| verifier.verify_or_refresh(token))).await;
    assert!(results.into_iter().all(|result| result == Err(TokenError::UnknownKey)));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn unknown_keys_cause_at_most_one_fetch_a_minute() {
    let clock = testkit::clock();
    let (verifier, server) = ready(&clock).await;
    let storm = async || {
        for number in 0..30 {
            let token = token_of(&format!("unknown-{number}"));
            assert_eq!(verifier.verify_or_refresh(&token).await, Err(TokenError::UnknownKey));
        }
    };
    storm().await;
    assert_eq!(server.requests(), 2);
    clock.advance(time::Duration::seconds(60) - time::Duration::microseconds(1));
    storm().await;
    assert_eq!(server.requests(), 2);
    clock.advance(time::Duration::microseconds(1));
    storm().await;
    assert_eq!(server.requests(), 3);
    // A clock that was set back does not lock the door.
    clock.advance(-time::Duration::hours(1));
    storm().await;
    assert_eq!(server.requests(), 4);
}

#[tokio::test]
async fn only_a_named_key_of_a_known_issuer_is_worth_a_fetch() {
    let (verifier, server) = ready(&testkit::clock()).await;
    server.publish(&key_set(&[&Signer::rsa_first(), &Signer::rsa_second()]));
    let signer = Signer::rsa_second();
    let mut refused = vec![
        signer.token_with(&without(&signer.header(), "kid"), &auth0_claims()),
        signer.token(&with(&auth0_claims(), "iss", json!("https://other.example.com/"))),
        Signer::ec_first().token(&auth0_claims()),
        Signer::secret("secret").token(&auth0_claims()),
        Signer::rsa_second().named("rsa-1").token(&auth0_claims()),
        "garbage".to_owned(),
    ];
    refused.push(signer.token_with(&with(&signer.header(), "crit", json!([])), &auth0_claims()));
    for token in refused {
        assert!(verifier.verify_or_refresh(&token).await.is_err());
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_key_that_is_no_longer_published_is_no_longer_accepted() {
    let (verifier, server) = ready(&testkit::clock()).await;
    server.publish(&key_set(&[&Signer::rsa_second()]));
    assert!(verifier.verify(&first_token()).is_ok());
    assert!(verifier.verify_or_refresh(&second_token()).await.is_ok());
    assert_eq!(verifier.verify(&first_token()), Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn old_keys_serve_while_fetching_fails_in_whatever_way() {
    let clock = testkit::clock();
    let (verifier, server) = ready(&clock).await;
    let elsewhere = KeyServer::publishing(&key_set(&[&Signer::rsa_second()])).await;
    let set = key_set(&[&Signer::rsa_second()]);
    let huge = format!("{set}{}", " ".repeat(JWKS_BYTES_MAX));
    let chunk = format!("{:x}\r\n{huge}\r\n", huge.len());
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
    let faults: [&dyn Fn(); 9] = [
        &|| server.answer("500 Internal Server Error", "", &set),
        &|| server.answer("404 Not Found", "", &set),
        &|| server.answer("204 No Content", "", ""),
        &|| server.answer("302 Found", &format!("location: {}\r\n", elsewhere.url()), &set),
        &|| server.answer("200 OK", "", "<html>maintenance</html>"),
        &|| server.answer("200 OK", "", &huge),
        &|| server.answer_raw(&chunked),
        &|| server.answer_raw("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{\"keys\":[]}"),
        &|| server.answer_raw(""),
    ];
    for (number, fault) in (2..).zip(faults) {
        fault();
        clock.advance(time::Duration::minutes(1));
        assert_eq!(
            verifier.verify_or_refresh(&second_token()).await,
            Err(TokenError::UnknownKey),
            "fault {number}"
        );
        assert!(server.requests() >= number, "fault {number}");
        assert!(verifier.verify(&first_token()).is_ok(), "fault {number}");
    }
    assert_eq!(elsewhere.requests(), 0);
    server.publish(&set);
    clock.advance(time::Duration::minutes(1));
    assert!(verifier.verify_or_refresh(&second_token()).await.is_ok());
}

#[tokio::test]
async fn a_set_without_a_usable_key_takes_no_key_away() {
    let clock = testkit::clock();
    let (verifier, server) = ready(&clock).await;
    for (number, set) in (2..).zip([
        r#"{"keys":[]}"#.to_owned(),
        // Keys of another algorithm are none for this issuer.
        key_set(&[&Signer::ec_first()]),
        r#"{"keys":[{"kty":"RSA"}]}"#.to_owned(),
    ]) {
        server.publish(&set);
        clock.advance(time::Duration::minutes(1));
        assert_eq!(verifier.verify_or_refresh(&token_of("unknown")).await, Err(TokenError::UnknownKey));
        assert!(server.requests() >= number, "{set}");
        assert!(verifier.verify(&first_token()).is_ok(), "{set}");
    }
}

#[tokio::test]
async fn no_key_counts_for_more_than_a_day_after_it_was_last_published() {
    for fault in ["503 Service Unavailable", "200 OK"] {
        let clock = testkit::clock();
        let (verifier, server) = ready(&clock).await;
        // Neither a server that is down nor a set without any key takes a key away at once, nor lets it live on for ever.
        server.answer(fault, "", r#"{"keys":[]}"#);
        let long_lived = with(&auth0_claims(), "exp", json!(clock_seconds(&clock) + 1_000_000));
        let token = Signer::rsa_first().token(&long_lived);
        clock.advance(time::Duration::hours(24));
        assert!(verifier.verify(&token).is_ok(), "{fault}");
        assert!(verifier.verify_or_refresh(&token).await.is_ok(), "{fault}");
        clock.advance(time::Duration::microseconds(1));
        assert_eq!(verifier.verify(&token), Err(TokenError::KeysUnavailable), "{fault}");
        let refused = verifier.verify_or_refresh(&token).await;
        assert_eq!(refused, Err(TokenError::KeysUnavailable), "{fault}");
        // The token caused a fetch, which failed; a minute later one succeeds, and the key is believed again.
        assert!(server.requests() >= 2, "{fault}");
        server.publish(&key_set(&[&Signer::rsa_first()]));
        clock.advance(time::Duration::minutes(1));
        assert!(verifier.verify_or_refresh(&token).await.is_ok(), "{fault}");
        // A clock that was set back leaves no key without an end.
        clock.advance(-time::Duration::hours(25));
        assert_eq!(verifier.verify(&token), Err(TokenError::KeysUnavailable), "{fault}");
    }
}

#[tokio::test]
async fn a_failed_refresh_is_tried_again_before_the_next_is_due() {
    let clock = testkit::clock();
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    let timing = JwksTiming { refresh_retry_first: Duration::from_millis(1), ..patient() };
    let verifier = auth0_verifier(server.url(), timing, &clock);
    verifier.verify_or_refresh(&first_token()).await.unwrap();
    server.answer("503 Service Unavailable", "", "");
    // This fetch fails, and so do those that follow it by themselves; the next regular one is ten minutes away.
    assert!(verifier.verify_or_refresh(&second_token()).await.is_err());
    server.wait_for_requests(5).await;
    assert!(verifier.verify(&first_token()).is_ok());
    server.publish(&key_set(&[&Signer::rsa_second()]));
    let fresh = async {
        while verifier.verify(&second_token()).is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), fresh).await.expect("the keys should be fetched");
}

#[tokio::test]
async fn keys_are_fetched_again_from_time_to_time() {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    let timing = JwksTiming { refresh_every: Duration::from_millis(5), ..patient() };
    let verifier = auth0_verifier(server.url(), timing, &testkit::clock());
    server.wait_for_requests(3).await;
    server.publish(&key_set(&[&Signer::rsa_second()]));
    // The next request may have been answered with the old set; the one after it has not, and is in use when a third comes.
    server.wait_for_requests(server.requests() + 3).await;
    assert!(verifier.verify(&second_token()).is_ok());
    assert_eq!(verifier.verify(&first_token()), Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn the_first_fetch_is_tried_until_it_succeeds() {
    let server = KeyServer::publishing("").await;
    server.answer("503 Service Unavailable", "", "");
    let timing = JwksTiming {
        retry_first: Duration::from_millis(1),
        retry_max: Duration::from_millis(5),
        ..patient()
    };
    let verifier = auth0_verifier(server.url(), timing, &testkit::clock());
    server.wait_for_requests(4).await;
    assert_eq!(verifier.verify(&first_token()), Err(TokenError::KeysUnavailable));
    server.publish(&key_set(&[&Signer::rsa_first()]));
    server.wait_for_requests(server.requests() + 1).await;
    assert!(verifier.verify_or_refresh(&first_token()).await.is_ok());
}

#[tokio::test]
async fn without_any_keys_tokens_cause_no_fetches() {
    let server = KeyServer::publishing("").await;
    let timing = JwksTiming {
        retry_first: Duration::from_secs(3600),
        retry_max: Duration::from_secs(3600),
        ..patient()
    };
    let verifier = auth0_verifier(server.url(), timing, &testkit::clock());
    for _ in 0..20 {
        assert_eq!(verifier.verify_or_refresh(&first_token()).await, Err(TokenError::KeysUnavailable));
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn nobody_waits_longer_than_agreed() {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    server.hold();
    let timing = JwksTiming { wait_max: Duration::from_millis(10), ..patient() };
    let verifier = auth0_verifier(server.url(), timing, &testkit::clock());
    assert_eq!(verifier.verify_or_refresh(&first_token()).await, Err(TokenError::KeysUnavailable));
}

#[tokio::test]
async fn a_fetch_that_hangs_is_given_up_and_tried_again() {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    server.hold();
    let timing = JwksTiming {
        fetch_timeout: Duration::from_millis(20),
        retry_first: Duration::from_millis(1),
        ..patient()
    };
    let verifier = auth0_verifier(server.url(), timing, &testkit::clock());
    server.wait_for_requests(2).await;
    assert_eq!(verifier.verify(&first_token()), Err(TokenError::KeysUnavailable));
}

#[tokio::test]
async fn a_token_without_kid_is_tried_against_the_only_key() {
    let clock = testkit::clock();
    let (verifier, server) = ready(&clock).await;
    let signer = Signer::rsa_first();
    let nameless = signer.token_with(&without(&signer.header(), "kid"), &auth0_claims());
    assert!(verifier.verify(&nameless).is_ok());
    server.publish(&key_set(&[&signer, &Signer::rsa_second()]));
    assert!(verifier.verify_or_refresh(&second_token()).await.is_ok());
    assert_eq!(verifier.verify(&nameless), Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn keys_that_share_a_name_are_all_tried() {
    let twins = [Signer::rsa_first().named("same"), Signer::rsa_second().named("same")];
    let server =
        KeyServer::publishing(&key_set(&[&twins[0], &twins[1], &Signer::ec_first().named("same")])).await;
    let verifier = auth0_verifier(server.url(), patient(), &testkit::clock());
    for twin in twins {
        assert!(verifier.verify_or_refresh(&twin.token(&auth0_claims())).await.is_ok());
    }
}

#[tokio::test]
async fn fetching_ends_with_the_verifier() {
    let server = KeyServer::publishing(&key_set(&[&Signer::rsa_first()])).await;
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let issuers = vec![Issuer::auth0(AUTH0, AUDIENCE, server.url())];
    let verifier = Verifier::start(issuers, patient(), Arc::new(testkit::clock()), home.handle()).unwrap();
    // Asked on this runtime, fetched on the other.
    assert!(verifier.verify_or_refresh(&first_token()).await.is_ok());
    drop(verifier);
    let gone = async {
        while home.metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the task should end");
    home.shutdown_background();
}

#[test]
fn a_verifier_is_shared_by_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>(_: fn(&'static Verifier, &'static str) -> T) {}
    shared::<Verifier>();
    sent(|verifier, token| verifier.verify_or_refresh(token));
}
