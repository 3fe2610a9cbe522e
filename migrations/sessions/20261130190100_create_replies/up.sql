-- Replies of a model: the message of the assistant has the text, this row has what its work needs and what it came to. A row that
-- is not finished has a lease, which its process renews; after the lease any process may end the reply. Only columns that no index
-- has change while a reply runs.
CREATE TABLE sessions.replies (
    user_id text COLLATE "C" NOT NULL,
    message_id uuid NOT NULL,
    session_id uuid NOT NULL,
    question_id uuid NOT NULL,
    model text NOT NULL,
    hold_id uuid,
    held bigint NOT NULL CHECK (held >= 0),
    prompt_tokens bigint NOT NULL CHECK (prompt_tokens >= 0),
    max_tokens bigint NOT NULL CHECK (max_tokens > 0),
    lease_owner uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    cancel_requested boolean NOT NULL DEFAULT false,
    begun_at timestamptz NOT NULL,
    finished_at timestamptz,
    error_code text,
    credits_charged bigint CHECK (credits_charged >= 0),
    balance_after bigint CHECK (balance_after >= 0),
    PRIMARY KEY (user_id, message_id),
    CONSTRAINT replies_message_fkey FOREIGN KEY (user_id, message_id)
        REFERENCES sessions.messages (user_id, message_id) ON DELETE CASCADE,
    CONSTRAINT replies_outcome CHECK ((finished_at IS NULL) = (credits_charged IS NULL)
        AND (finished_at IS NULL) = (balance_after IS NULL))
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX replies_one_of_a_session ON sessions.replies (user_id, session_id) WHERE finished_at IS NULL;

COMMENT ON TABLE sessions.replies IS 'Replies of a model to messages, by the message of the assistant';
COMMENT ON COLUMN sessions.replies.message_id IS 'The message of the assistant';
COMMENT ON COLUMN sessions.replies.question_id IS 'The message of the user that it answers';
COMMENT ON COLUMN sessions.replies.hold_id IS 'The hold that pays for it; null where it costs nothing';
COMMENT ON COLUMN sessions.replies.held IS 'Micro-credits of the hold: the reply never costs more';
COMMENT ON COLUMN sessions.replies.prompt_tokens IS 'Tokens of the prompt, estimated';
COMMENT ON COLUMN sessions.replies.max_tokens IS 'Most tokens that the model may produce';
COMMENT ON COLUMN sessions.replies.lease_owner IS 'The process that produces it, by a random id';
COMMENT ON COLUMN sessions.replies.lease_until IS 'After this instant any process may end the reply';
COMMENT ON COLUMN sessions.replies.error_code IS 'Why it failed or broke off, as a code of the HTTP interface';
COMMENT ON COLUMN sessions.replies.credits_charged IS 'Micro-credits';
COMMENT ON COLUMN sessions.replies.balance_after IS 'Micro-credits of the user after the charge';
