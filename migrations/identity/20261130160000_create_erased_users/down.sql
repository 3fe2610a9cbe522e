DROP TABLE identity.erased_addresses;
DROP TABLE identity.erased_users;
