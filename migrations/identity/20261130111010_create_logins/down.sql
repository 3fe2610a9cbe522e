DROP TABLE identity.logins;
