DROP TABLE credits.grants;
DROP TABLE credits.accounts;
DROP SCHEMA credits;
