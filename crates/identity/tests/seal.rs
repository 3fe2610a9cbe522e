//! Sealed secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use identity::seal::{SealError, Sealer, SecretKey};
use secrecy::SecretString;

const PLAIN: &[u8] = b"a secret of this test";

fn key(byte: u8) -> SecretKey {
    SecretKey::from_base64(&STANDARD.encode([byte; 32])).unwrap()
}

fn sealer(byte: u8, previous: &[u8]) -> Sealer {
    let previous: Vec<SecretKey> = previous.iter().map(|byte| key(*byte)).collect();
    Sealer::new(&key(byte), &previous).unwrap()
}

#[test]
fn what_is_sealed_opens_and_shows_nothing() {
    let sealer = sealer(1, &[]);
    for plain in [PLAIN, b"", &[0; 10_000]] {
        let (one, other) = (sealer.seal("a", plain).unwrap(), sealer.seal("a", plain).unwrap());
        assert_ne!(one, other, "the nonce is drawn anew");
        assert_eq!(sealer.open("a", &one).unwrap().as_slice(), plain);
        assert_eq!(sealer.open("a", &other).unwrap().as_slice(), plain);
        assert!(plain.is_empty() || !one.windows(plain.len()).any(|part| part == plain));
    }
}

#[test]
fn another_purpose_or_any_changed_bit_does_not_open() {
    let sealer = sealer(1, &[]);
    let sealed = sealer.seal("a", PLAIN).unwrap();
    for purpose in ["b", "", "aa"] {
        assert_eq!(sealer.open(purpose, &sealed).unwrap_err(), SealError::Damaged);
    }
    for place in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[place] ^= 1;
        let expected = if place < 8 { SealError::OtherKey } else { SealError::Damaged };
        assert_eq!(sealer.open("a", &changed).unwrap_err(), expected, "{place}");
    }
    for length in 0..sealed.len() {
        assert_eq!(sealer.open("a", &sealed[..length]).unwrap_err(), SealError::Damaged, "{length}");
    }
}

#[test]
fn a_key_can_be_replaced() {
    let old = sealer(1, &[]).seal("a", PLAIN).unwrap();
    let new = sealer(2, &[3, 1]);
    assert_eq!(new.open("a", &old).unwrap().as_slice(), PLAIN);
    let anew = new.seal("a", PLAIN).unwrap();
    assert_eq!(sealer(1, &[]).open("a", &anew).unwrap_err(), SealError::OtherKey);
    assert_eq!(sealer(2, &[]).open("a", &old).unwrap_err(), SealError::OtherKey);
    assert!(SealError::OtherKey.to_string().contains("SECRETS_KEY"));
}

#[test]
fn what_is_derived_depends_on_key_purpose_and_data() {
    let derive = |sealer: &Sealer, purpose, data: &[u8]| sealer.derive(purpose, data).collect::<Vec<_>>();
    let (one, both) = (sealer(1, &[]), sealer(2, &[1]));
    let expected = derive(&one, "a", b"b");
    assert_eq!(expected.len(), 1);
    assert_eq!(derive(&one, "a", b"b"), expected);
    for other in
        [derive(&one, "b", b"b"), derive(&one, "a", b"c"), derive(&one, "ab", b""), derive(&one, "", b"ab")]
    {
        assert_ne!(other, expected);
    }
    let derived = derive(&both, "a", b"b");
    assert_eq!((derived.len(), &derived[1]), (2, &expected[0]));
    assert_ne!(derived[0], derived[1]);
}

#[test]
fn a_key_is_32_bytes_in_base64() {
    let text = STANDARD.encode([0xfb; 32]);
    assert!(SecretKey::from_base64(&text).is_ok());
    assert!(SecretKey::from_base64(text.trim_end_matches('=')).is_ok());
    for text in ["", "a", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33]), &"ab".repeat(32), "  "] {
        assert!(SecretKey::from_base64(text).is_err(), "{text}");
    }
}

#[test]
fn the_key_of_development_follows_from_its_secret() {
    let of = |text: &str| SecretKey::of_development(&SecretString::from(text));
    assert_eq!(of("one"), of("one"));
    assert_ne!(of("one"), of("two"));
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?} {:?}", key(7), sealer(7, &[8])), "SecretKey([redacted]) Sealer([redacted])");
}
