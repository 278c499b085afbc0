#!/usr/bin/env bash
# Makes the secrets that compose.yaml mounts, in deploy/secrets/. What exists is kept: a lost data key loses
# what it encrypts, so back that directory up, and apart from the database.
set -euo pipefail
umask 077
mkdir -p "$(dirname "${BASH_SOURCE[0]}")/../secrets"
cd "$(dirname "${BASH_SOURCE[0]}")/../secrets"

random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }
random_base64() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; }

# keep FILE TEXT: writes the file unless it exists. The directory keeps strangers out; the files themselves
# have to be readable, because the containers run under other user ids and mount them as they are.
keep() {
    [ -s "$1" ] || printf '%s' "$2" >"$1"
    chmod 644 "$1"
}

for name in postgres_superuser postgres_owner postgres_app redis_password admin_password; do
    keep "$name" "$(random_hex 24)"
done
keep token_keys "k1:$(random_base64 32)"
keep data_keys "1:$(random_base64 32)"
keep postgres_url "postgres://latchkey_app:$(cat postgres_app)@postgres:5432/latchkey"
keep postgres_migrate_url "postgres://latchkey_owner:$(cat postgres_owner)@postgres:5432/latchkey"
keep redis_url "redis://:$(cat redis_password)@redis:6379/0"
# Redis writes nothing to disk: what it holds is made again from PostgreSQL. It must never evict, though.
keep redis_conf "bind 0.0.0.0
requirepass $(cat redis_password)
save \"\"
appendonly no
maxmemory-policy noeviction
"

if [ ! -s smtp_url ]; then
    echo "Put the URL of your mail server into $PWD/smtp_url, for example:" >&2
    echo "  printf 'smtps://user:password@mail.example.com:465' > '$PWD/smtp_url'" >&2
    exit 1
fi
chmod 644 smtp_url
echo "All secrets are in $PWD"
