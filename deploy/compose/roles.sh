#!/usr/bin/env bash
# Runs once inside the postgres container, when its volume is still empty. Two roles: one owns the tables
# and migrates, the other serves requests, owns nothing, and so is held by row-level security.
set -euo pipefail

psql -X -q -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d postgres <<SQL
CREATE ROLE latchkey_owner LOGIN PASSWORD '$(cat /run/secrets/postgres_owner)';
CREATE ROLE latchkey_app LOGIN NOBYPASSRLS PASSWORD '$(cat /run/secrets/postgres_app)';
CREATE DATABASE latchkey OWNER latchkey_owner;
SQL
