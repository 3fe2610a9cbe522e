-- An index of the texts of messages, for users with many messages whose messages are searched. It is made behind the writes, and
-- may be emptied at any time: what no segment covers is read directly.
CREATE TABLE sessions.search_segments (
    user_id text COLLATE "C" NOT NULL,
    after_id bigint NOT NULL CHECK (after_id >= 0),
    last_id bigint NOT NULL,
    message_ids bytea NOT NULL,
    unsettled bytea NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    is_stale boolean NOT NULL DEFAULT false,
    PRIMARY KEY (user_id, after_id),
    CONSTRAINT search_segments_ids_in_order CHECK (after_id < last_id)
);

CREATE INDEX search_segments_stale ON sessions.search_segments (user_id, after_id) WHERE is_stale;

COMMENT ON TABLE sessions.search_segments IS 'Stretches of the messages of a user that are indexed; those of one user follow each other without a gap';
COMMENT ON COLUMN sessions.search_segments.after_id IS 'Last message of the segment before it, 0 for the first one';
COMMENT ON COLUMN sessions.search_segments.last_id IS 'Last message';
COMMENT ON COLUMN sessions.search_segments.message_ids IS 'Integer ids of its messages, ascending, as differences; the place of an id is the number of the message in the postings';
COMMENT ON COLUMN sessions.search_segments.unsettled IS 'Numbers of the messages whose text may still change: they are not in the postings';
COMMENT ON COLUMN sessions.search_segments.first_at IS 'No message was added before this instant';
COMMENT ON COLUMN sessions.search_segments.last_at IS 'No message was added after this instant';
COMMENT ON COLUMN sessions.search_segments.is_stale IS 'A message was deleted since it was made; it is made again soon, so that nothing is left of deleted texts';

CREATE TABLE sessions.search_postings (
    user_id text COLLATE "C" NOT NULL,
    after_id bigint NOT NULL,
    bucket smallint NOT NULL CHECK (bucket BETWEEN 0 AND 1023),
    postings bytea NOT NULL,
    PRIMARY KEY (user_id, after_id, bucket),
    CONSTRAINT search_postings_segment_fkey FOREIGN KEY (user_id, after_id)
        REFERENCES sessions.search_segments (user_id, after_id) ON DELETE CASCADE
);

COMMENT ON TABLE sessions.search_postings IS 'The messages of a segment by the hashes of one, two and three characters in a row';
COMMENT ON COLUMN sessions.search_postings.bucket IS 'The first ten bits of the hashes';
COMMENT ON COLUMN sessions.search_postings.postings IS 'For each hash, ascending: the rest of it as a difference, the length of the list, and the numbers of the messages as differences';
