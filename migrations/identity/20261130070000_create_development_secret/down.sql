DROP TABLE identity.development_secret;
