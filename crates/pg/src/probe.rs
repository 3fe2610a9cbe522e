//! Test that the database takes writes, by writing: a server that answers may still be read-only or out of disk.

use diesel::{QueryableByName, sql_types::Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::{Attempts, DbError, Pool, Tx};

/// Row of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeDepth {
    /// A row: refused by a read-only server and by one that cannot commit.
    Row,
    /// So much that the table grows by a page: refused by a server without room on its disk, too.
    Page,
}

/// Rights of sessions of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerMode {
    /// Read and write.
    ReadWrite,
    /// Read only, by a setting of the server, the database or the role.
    ReadOnly,
    /// Read only, because the server follows another one.
    HotStandby,
}

#[derive(QueryableByName)]
struct Mode {
    #[diesel(sql_type = Bool)]
    standby: bool,
    #[diesel(sql_type = Bool)]
    read_only: bool,
}

/// Rights of this session.
///
/// # Errors
/// [`DbError`] when the server does not answer.
pub async fn server_mode(conn: &mut AsyncPgConnection) -> Result<ServerMode, DbError> {
    let mode: Mode = diesel::sql_query(
        "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only",
    )
    .get_result(conn)
    .await?;
    Ok(match mode {
        Mode { standby: true, .. } => ServerMode::HotStandby,
        Mode { read_only: true, .. } => ServerMode::ReadOnly,
        _ => ServerMode::ReadWrite,
    })
}

/// The table of probes, empty for everyone who looks at it. Made once, so that a start takes no lock on it.
pub(crate) const TABLE: &str = "DO $$ BEGIN
    IF to_regclass('public.user_service_probes') IS NULL THEN
        CREATE TABLE public.user_service_probes (filler text NOT NULL);
        ALTER TABLE public.user_service_probes ALTER COLUMN filler SET STORAGE PLAIN;
        COMMENT ON TABLE public.user_service_probes IS
            'Written and emptied in one transaction by the readiness probe, to see whether the server commits';
    END IF; END $$";

/// Other processes write to the table too: only the own row is deleted.
const ROW: &str = "DO $$ DECLARE place tid; BEGIN
    INSERT INTO public.user_service_probes VALUES ('') RETURNING ctid INTO STRICT place;
    DELETE FROM public.user_service_probes WHERE ctid = place; END $$";

/// A row takes most of a page, and pages that a vacuum left free are used before the table grows: so it has to when there are
/// more rows than pages. The lock lets others write and keeps a vacuum from making the table shorter meanwhile.
const PAGE: &str = "DO $$ DECLARE
    page_bytes bigint := current_setting('block_size');
    bytes bigint;
    place tid;
    places tid[] := '{}';
BEGIN
    LOCK TABLE public.user_service_probes IN ROW EXCLUSIVE MODE;
    bytes := pg_relation_size('public.user_service_probes');
    FOR page IN 0..bytes / page_bytes LOOP
        INSERT INTO public.user_service_probes VALUES (repeat('x', (page_bytes * 7 / 8)::int))
            RETURNING ctid INTO STRICT place;
        places := places || place;
        EXIT WHEN pg_relation_size('public.user_service_probes') > bytes;
    END LOOP;
    IF pg_relation_size('public.user_service_probes') <= bytes THEN
        RAISE EXCEPTION 'the table of probes did not grow by a page';
    END IF;
    DELETE FROM public.user_service_probes WHERE ctid = ANY (places); END $$";

/// Writes, commits, and leaves nothing. A broken connection is replaced, as it is for requests.
///
/// # Errors
/// [`DbError`] when the database cannot be reached, or does not write or commit.
pub async fn write(pool: &Pool, depth: ProbeDepth) -> Result<(), DbError> {
    let statements = match depth {
        ProbeDepth::Row => ROW,
        ProbeDepth::Page => PAGE,
    };
    let mut attempts = Attempts::up_to(3);
    loop {
        match Tx::run(pool, async |tx| Ok(tx.conn().batch_execute(statements).await?)).await {
            Err(error) if attempts.again(&error).await => {}
            outcome => return outcome,
        }
    }
}
