DROP TABLE identity.api_keys;
