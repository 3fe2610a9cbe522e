CREATE SCHEMA files;

-- Names the part of the storage that belongs to this database. Another database, also an empty one in its place, has another part.
CREATE TABLE files.store (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    store_id uuid NOT NULL DEFAULT gen_random_uuid()
);

INSERT INTO files.store DEFAULT VALUES;

CREATE TABLE files.quotas (
    user_id text COLLATE "C" PRIMARY KEY,
    used_bytes bigint NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    used_files bigint NOT NULL DEFAULT 0 CHECK (used_files >= 0),
    reserved_bytes bigint NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
    reserved_files bigint NOT NULL DEFAULT 0 CHECK (reserved_files >= 0)
);

-- A row comes before its object. Until it is ready it reserves bytes for at most expires_at; after that any process removes it.
CREATE TABLE files.files (
    user_id text COLLATE "C" NOT NULL,
    file_id uuid NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    object_id uuid NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (status IN ('pending', 'offered', 'ready')),
    file_path text COLLATE "C" NOT NULL,
    filename text NOT NULL CHECK (char_length(filename) BETWEEN 1 AND 255),
    declared_type text,
    content_type text COLLATE "C",
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    sha256 bytea CHECK (octet_length(sha256) = 32),
    created_at timestamptz NOT NULL,
    uploaded_at timestamptz,
    expires_at timestamptz,
    PRIMARY KEY (user_id, file_id),
    CONSTRAINT files_file_path_key UNIQUE (user_id, file_path),
    CONSTRAINT files_quota_fkey FOREIGN KEY (user_id) REFERENCES files.quotas (user_id),
    CONSTRAINT files_ready CHECK (status <> 'ready'
        OR (content_type IS NOT NULL AND sha256 IS NOT NULL AND uploaded_at IS NOT NULL)),
    CONSTRAINT files_expiry CHECK ((status = 'ready') = (expires_at IS NULL))
);

CREATE INDEX files_newest ON files.files (user_id, uploaded_at, number) WHERE status = 'ready';
CREATE INDEX files_of_id ON files.files (file_id);
CREATE INDEX files_of_object ON files.files (object_id);
CREATE INDEX files_expired ON files.files (expires_at) WHERE status <> 'ready';

-- Objects that are to be removed from the store. They are no one's any more.
CREATE TABLE files.removals (
    object_key text COLLATE "C" PRIMARY KEY,
    due_at timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE INDEX removals_due ON files.removals (due_at);

-- No row goes without a note about its object, whatever deletes it. A link to upload directly may be used until it expires.
CREATE FUNCTION files.note_removals() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO files.removals (object_key)
    SELECT 'files/' || right(object_id::text, 2) || '/' || object_id FROM gone
    ON CONFLICT (object_key) DO NOTHING;
    INSERT INTO files.removals (object_key, due_at)
    SELECT 'uploads/' || right(file_id::text, 2) || '/' || file_id, expires_at + interval '1 hour'
    FROM gone WHERE status = 'offered'
    ON CONFLICT (object_key) DO NOTHING;
    RETURN NULL;
END
$$;

CREATE TRIGGER files_note_removals AFTER DELETE ON files.files
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION files.note_removals();

COMMENT ON SCHEMA files IS 'Files of users, their quotas, and objects to remove';
COMMENT ON TABLE files.files IS 'Files of users; their bytes are objects in a folder or on S3';
COMMENT ON COLUMN files.files.number IS 'Orders files of one instant';
COMMENT ON COLUMN files.files.object_id IS 'Names the object of a ready file; an object is never written again';
COMMENT ON COLUMN files.files.status IS 'pending: being uploaded; offered: may be uploaded by a signed link; ready';
COMMENT ON COLUMN files.files.filename IS 'The name that the client gave, without folders and control characters';
COMMENT ON COLUMN files.files.declared_type IS 'The type that the client declared for a direct upload';
COMMENT ON COLUMN files.files.content_type IS 'The type that was detected';
COMMENT ON COLUMN files.files.size_bytes IS 'Bytes; of a file that is not ready the bytes reserved';
COMMENT ON COLUMN files.files.sha256 IS 'SHA-256 of the bytes; of an offered file the one that is expected, if any';
COMMENT ON COLUMN files.files.expires_at IS 'After this instant a file that is not ready is given up';
COMMENT ON TABLE files.store IS 'The part of the storage that belongs to this database';
COMMENT ON COLUMN files.store.store_id IS 'Beginning of all keys of objects';
COMMENT ON TABLE files.quotas IS 'Bytes and files of each user: of ready files used, of others reserved';
COMMENT ON TABLE files.removals IS 'Objects that are to be removed from the store';
COMMENT ON COLUMN files.removals.due_at IS 'Not before this instant';
