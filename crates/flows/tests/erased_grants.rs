//! Users who were erased bring no second initial grant (HTTP contract 3.1 and 3.4).

use std::sync::Arc;

use flows::{erasure, sign_up};
use identity::{
    EmailVoucher,
    seal::{Sealer, SecretKey},
};
use kernel::RandomIds;

use crate::{
    database,
    erasure::{asked, balance, erase},
    operations::signed_up,
    request,
};

fn sealer(byte: u8) -> Arc<Sealer> {
    Arc::new(Sealer::new(&secret(byte), &[]).unwrap())
}

fn secret(byte: u8) -> SecretKey {
    SecretKey::of_development(&char::from(byte).to_string().into())
}

#[tokio::test]
async fn an_address_of_an_erased_user_brings_no_initial_grant() {
    let (db, clock) = (database().await, testkit::clock());
    let (first, renewed) = (sealer(b'a'), Arc::new(Sealer::new(&secret(b'b'), &[secret(b'a')]).unwrap()));
    let sign_up = async |name: &str, address: &str, voucher, sealer: Option<&Arc<Sealer>>| {
        let mut request = request(name, "100");
        request.user.email = Some(address.to_owned());
        request.user.email_voucher = voucher;
        request.sealer = sealer.cloned();
        let signed_up = sign_up::run(db.pool(), &clock, &RandomIds, &request).await.unwrap().unwrap();
        signed_up.balance.posted.to_string()
    };
    let erase = async |name: &str| {
        let asked = asked(&testkit::user(name));
        erasure::run(db.pool(), &clock, &RandomIds, Some(&first), &asked).await.unwrap().unwrap();
    };
    sign_up("held", "Held@example.com", EmailVoucher::Staff, Some(&first)).await;
    sign_up("contact", "contact@example.com", EmailVoucher::Nobody, Some(&first)).await;
    sign_up("email|own", "own@example.com", EmailVoucher::Nobody, Some(&first)).await;
    db.run(
        "INSERT INTO identity.credentials (user_id, login_email_folded, password_hash, created_at, updated_at)
         VALUES ('email|own', 'own@example.com', '$argon2id$', now(), now())",
    )
    .await;
    for name in ["held", "contact", "email|own"] {
        erase(name).await;
    }
    for (name, address, voucher, sealer, granted) in [
        ("c", "held@EXAMPLE.com", EmailVoucher::Nobody, Some(&first), "0.0"),
        ("d", "held@example.com", EmailVoucher::Staff, Some(&renewed), "0.0"),
        ("e", "own@example.com", EmailVoucher::Nobody, Some(&renewed), "0.0"),
        // Anybody could have given it and gone: its owner loses nothing, nor do others for a contact.
        ("f", "own@example.com", EmailVoucher::Staff, Some(&first), "100.0"),
        ("g", "contact@example.com", EmailVoucher::Nobody, Some(&first), "100.0"),
        ("h", "contact@example.com", EmailVoucher::Staff, Some(&first), "100.0"),
        ("i", "other@example.com", EmailVoucher::Staff, Some(&first), "100.0"),
        ("j", "held@example.com", EmailVoucher::Nobody, Some(&sealer(b'x')), "100.0"),
        ("k", "held@example.com", EmailVoucher::Nobody, None, "100.0"),
    ] {
        assert_eq!(sign_up(name, address, voucher, sealer).await, granted, "{name}");
    }
}

/// An id that was linked to the user has no account of its own, and gets no grant either.
#[tokio::test]
async fn a_linked_id_of_an_erased_user_brings_no_initial_grant() {
    let (db, clock, user) = (database().await, testkit::clock(), testkit::user("a"));
    signed_up(&db, &clock, "a", "100").await;
    db.run("INSERT INTO identity.identities (id, user_id, issuer, created_at) VALUES ('linked', 'a', 'issuer', now())").await;
    erase(&db, &clock, &user).await.unwrap();
    signed_up(&db, &clock, "linked", "100").await;
    assert!(balance(&db, &clock, &testkit::user("linked")).await.posted.is_zero());
}
