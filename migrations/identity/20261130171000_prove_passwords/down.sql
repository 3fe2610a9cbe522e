ALTER TABLE identity.credentials DROP COLUMN password_proven;
