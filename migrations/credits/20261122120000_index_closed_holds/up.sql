-- Closed holds are listed by what became of them without reading past those of other states. Open holds have an index of
-- their own, and a hold that is resolved was never a HOT update: only its resolution pays for one entry more.
CREATE INDEX holds_closed ON credits.holds (user_id, state, entry_seq) WHERE state <> 'open';
