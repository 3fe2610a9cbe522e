-- For counting the users who came in a window. Rows lie nearly in the order of time, so a summary of block ranges finds them.
CREATE INDEX users_created ON identity.users USING brin (created_at timestamptz_minmax_multi_ops)
    WITH (pages_per_range = 32, autosummarize = on);
