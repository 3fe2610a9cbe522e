ALTER TABLE sessions.messages ADD CONSTRAINT messages_id_key UNIQUE (id);
