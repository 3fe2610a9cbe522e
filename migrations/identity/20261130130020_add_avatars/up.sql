ALTER TABLE identity.users ADD COLUMN avatar_url text;

COMMENT ON COLUMN identity.users.avatar_url IS 'http or https URL of a picture that the user chose; null for none';
