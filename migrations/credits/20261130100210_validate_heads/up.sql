-- Reads the table while others read and write it.
ALTER TABLE credits.accounts VALIDATE CONSTRAINT accounts_head;
