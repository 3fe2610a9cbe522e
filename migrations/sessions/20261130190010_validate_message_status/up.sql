-- Reads the table while others read and write it.
ALTER TABLE sessions.messages VALIDATE CONSTRAINT messages_status_check;
