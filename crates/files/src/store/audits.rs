//! Rules between files and quotas.

use pg::Audit;

/// The audits of this domain.
pub const AUDITS: &[Audit] = &[Audit {
    rule: "quotas of files are the counts and sums of the files",
    sql: "SELECT q.user_id AS subject, \
              format('used %s bytes of %s files, reserved %s of %s; the files have %s of %s and %s of %s', \
                  q.used_bytes, q.used_files, q.reserved_bytes, q.reserved_files, coalesce(f.used_bytes, 0), \
                  coalesce(f.used_files, 0), coalesce(f.reserved_bytes, 0), coalesce(f.reserved_files, 0)) AS detail \
          FROM files.quotas AS q \
          LEFT JOIN (SELECT user_id, count(*) FILTER (WHERE status = 'ready') AS used_files, \
                  sum(size_bytes) FILTER (WHERE status = 'ready') AS used_bytes, \
                  count(*) FILTER (WHERE status <> 'ready') AS reserved_files, \
                  sum(size_bytes) FILTER (WHERE status <> 'ready') AS reserved_bytes \
              FROM files.files GROUP BY user_id) AS f USING (user_id) \
          WHERE q.used_bytes <> coalesce(f.used_bytes, 0) OR q.used_files <> coalesce(f.used_files, 0) \
              OR q.reserved_bytes <> coalesce(f.reserved_bytes, 0) \
              OR q.reserved_files <> coalesce(f.reserved_files, 0) \
          LIMIT 20",
}];
