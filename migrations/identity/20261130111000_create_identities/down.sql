DROP TABLE identity.identities;
