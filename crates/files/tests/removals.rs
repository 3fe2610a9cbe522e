//! Rows that go, and the objects that they leave.

use files::{AUDITS, MIGRATIONS, final_key, upload_key};
use testkit::{TestDb, ask_texts};
use uuid::Uuid;

/// The trigger builds keys as the storage does, and a link to upload may be used until long after its end.
#[tokio::test]
async fn a_row_that_goes_notes_its_objects() {
    let db = TestDb::create(&[MIGRATIONS], &[AUDITS]).await;
    let (file, object, offered) =
        (Uuid::from_u128(0xa1), Uuid::from_u128(0xb2 << 64 | 0xc3), Uuid::from_u128(0xd4));
    db.run(&format!(
        "INSERT INTO files.quotas (user_id) VALUES ('a');
         INSERT INTO files.files (user_id, file_id, object_id, status, file_path, filename, content_type, size_bytes, sha256,
             created_at, uploaded_at, expires_at)
         VALUES ('a', '{file}', '{object}', 'ready', 'x', 'x', 'text/plain', 1, sha256('x'), now(), now(), NULL),
             ('a', '{offered}', '{offered}', 'offered', 'y', 'y', NULL, 1, NULL, now(), NULL, '2026-01-15 13:00Z');
         DELETE FROM files.files"
    ))
    .await;
    let noted = "SELECT object_key || ' ' || (due_at AT TIME ZONE 'UTC')::text FROM files.removals ORDER BY object_key";
    let noted = ask_texts(&mut *db.connect().await, noted).await.unwrap();
    let expected = [
        format!("{} -infinity", final_key(object)),
        format!("{} -infinity", final_key(offered)),
        format!("{} 2026-01-15 14:00:00", upload_key(offered)),
    ];
    let mut expected = Vec::from(expected);
    expected.sort();
    assert_eq!(noted, expected);
}
