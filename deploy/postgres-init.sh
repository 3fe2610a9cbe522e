#!/bin/sh
# Runs once, when the database folder is empty: the service gets a role and a database of its own. It never connects as
# superuser, whom no privilege would stop from changing the ledger.
set -eu

# The password is read from the environment by psql itself, so it is on no command line.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\getenv password DATABASE_PASSWORD
CREATE ROLE user_service LOGIN PASSWORD :'password';
CREATE DATABASE user_service OWNER user_service TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
REVOKE CONNECT, TEMPORARY ON DATABASE user_service FROM PUBLIC;
SQL
