CREATE SCHEMA sessions;
COMMENT ON SCHEMA sessions IS 'Conversations: sessions and their messages';

-- Every message updates counters of its session; none of them is indexed. The free space lets these updates stay on
-- their page and leave the indexes alone.
CREATE TABLE sessions.sessions (
    user_id text COLLATE "C" NOT NULL CHECK (char_length(user_id) BETWEEN 1 AND 255),
    session_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    title text CHECK (char_length(title) <= 255),
    conversation_data jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(conversation_data) = 'object'),
    metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    status text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'completed', 'ended', 'archived', 'expired')),
    is_active boolean NOT NULL DEFAULT true,
    message_count bigint NOT NULL DEFAULT 0 CHECK (message_count >= 0),
    total_tokens bigint NOT NULL DEFAULT 0 CHECK (total_tokens >= 0),
    total_cost bigint NOT NULL DEFAULT 0 CHECK (total_cost >= 0),
    session_summary text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    last_activity timestamptz NOT NULL,
    expires_at timestamptz,
    status_set_at timestamptz,
    PRIMARY KEY (user_id, session_id),
    CONSTRAINT sessions_session_id_key UNIQUE (session_id),
    CONSTRAINT sessions_id_key UNIQUE (id),
    CONSTRAINT sessions_is_active_follows_status CHECK (is_active = (status IN ('active', 'completed'))),
    CONSTRAINT sessions_times_in_order CHECK (created_at <= last_activity AND last_activity <= updated_at)
) WITH (fillfactor = 80);

CREATE INDEX sessions_newest_created ON sessions.sessions (user_id, created_at DESC, id DESC);

COMMENT ON TABLE sessions.sessions IS 'One conversation of one user, with counters over its messages';
COMMENT ON COLUMN sessions.sessions.session_id IS 'Public id; unique by itself, because routes carry nothing else';
COMMENT ON COLUMN sessions.sessions.id IS 'Public integer id of the chat surface';
COMMENT ON COLUMN sessions.sessions.status IS 'As last set; reads as expired once expires_at has passed, unless it was set at or after that instant';
COMMENT ON COLUMN sessions.sessions.is_active IS 'Follows status; reads as false together with status expired';
COMMENT ON COLUMN sessions.sessions.message_count IS 'Messages of the session, and seq of the newest one';
COMMENT ON COLUMN sessions.sessions.total_tokens IS 'Sum of tokens_used over the messages';
COMMENT ON COLUMN sessions.sessions.total_cost IS 'Sum of cost_usd over the messages, in nano-dollars';
COMMENT ON COLUMN sessions.sessions.last_activity IS 'Time of the newest message, or of creation while there is none';
COMMENT ON COLUMN sessions.sessions.status_set_at IS 'When a caller last set the status; null while it is as created';

-- The cascade makes it impossible to leave a message behind, whichever statement deletes the session. The check on
-- insert meets a row that the writer has locked already.
CREATE TABLE sessions.messages (
    user_id text COLLATE "C" NOT NULL,
    session_id uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    id bigint GENERATED ALWAYS AS IDENTITY,
    message_id uuid NOT NULL,
    message_type text NOT NULL DEFAULT 'chat' CHECK (char_length(message_type) <= 20),
    role text NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
    content text NOT NULL CHECK (octet_length(content) <= 1048576),
    tool_calls jsonb CHECK (jsonb_typeof(tool_calls) = 'array'),
    tool_call_id text CHECK (char_length(tool_call_id) <= 255),
    message_metadata jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(message_metadata) = 'object'),
    tokens_used bigint NOT NULL DEFAULT 0 CHECK (tokens_used >= 0),
    cost_usd bigint NOT NULL DEFAULT 0 CHECK (cost_usd >= 0),
    is_summary_candidate boolean NOT NULL DEFAULT true,
    importance_score double precision NOT NULL DEFAULT 0.5 CHECK (importance_score BETWEEN 0 AND 1),
    status text NOT NULL DEFAULT 'completed' CHECK (status IN ('completed', 'failed', 'in_progress')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL CHECK (updated_at >= created_at),
    PRIMARY KEY (user_id, session_id, seq),
    CONSTRAINT messages_message_id_key UNIQUE (user_id, message_id),
    CONSTRAINT messages_id_key UNIQUE (id),
    CONSTRAINT messages_session_fkey FOREIGN KEY (user_id, session_id)
        REFERENCES sessions.sessions (user_id, session_id) ON DELETE CASCADE
);

COMMENT ON TABLE sessions.messages IS 'Messages of the sessions, in the order they were added';
COMMENT ON COLUMN sessions.messages.seq IS '1, 2, 3 ... within the session, without a gap';
COMMENT ON COLUMN sessions.messages.id IS 'Public integer id of the chat surface; rises with seq within a session';
COMMENT ON COLUMN sessions.messages.message_id IS 'Public id';
COMMENT ON COLUMN sessions.messages.cost_usd IS 'Nano-dollars';
COMMENT ON COLUMN sessions.messages.importance_score IS '0 to 1, a hint for summaries';
COMMENT ON COLUMN sessions.messages.created_at IS 'Never before the message with the previous seq';
