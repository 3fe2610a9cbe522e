//! Ids of transactions carry their place (ADR 0022): a UUID version 8 (RFC 9562) begins with the `seq` of the first entry of the
//! transaction, in 48 bits; the other 74 are random. So an entry is found by the primary key.
//!
//! Ids of earlier versions are random (version 4). Those of due items (version 8) follow from the item instead, since a
//! scheduled grant shows the id before it has a place.

use uuid::Uuid;

use crate::core::Fault;

/// The id of the transaction whose first entry has this `seq`.
///
/// # Errors
/// [`Fault`] when `seq` has more than 48 bits.
pub fn transaction_id(seq: i64, nonce: Uuid) -> Result<Uuid, Fault> {
    let [0, 0, place @ ..] = seq.to_be_bytes() else {
        return Err(Fault::new(format!("no transaction id can name entry {seq}")));
    };
    let mut bytes = nonce.into_bytes();
    if let Some(first) = bytes.first_chunk_mut() {
        *first = place;
    }
    Ok(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The `seq` that an id of version 8 begins with. The entry there may have another id: that of a due item begins with anything.
#[must_use]
pub fn place(transaction_id: Uuid) -> Option<i64> {
    let [a, b, c, d, e, f, ..] = transaction_id.into_bytes();
    (transaction_id.get_version_num() == 8).then(|| i64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_their_place_and_the_random_bits() {
        let nonce = Uuid::from_u128(0xffff_ffff_ffff_4abc_9234_5678_9abc_def0);
        let id = transaction_id(0x12_3456, nonce).unwrap();
        assert_eq!(id.to_string(), "00000012-3456-8abc-9234-56789abcdef0");
        assert_eq!((place(id), place(nonce)), (Some(0x12_3456), None));
        let newest = (1 << 48) - 1;
        assert_eq!(place(transaction_id(newest, nonce).unwrap()), Some(newest));
        assert!(transaction_id(newest + 1, nonce).is_err() && transaction_id(-1, nonce).is_err());
    }
}
