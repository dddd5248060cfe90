#!/usr/bin/env bash
# Creates .env with names and addresses, and secrets/ with keys and passwords, for docker-compose.yml. Existing files are
# kept, so a second run only creates missing ones.
#
#   PORTAL_HOST=portal.example.com PROXY_HOST=proxy.example.com UPSTREAM_URL=https://… ADMIN_EMAIL=… \
#       [ACME_EMAIL=…] [ZENZEFI_IMAGE=ghcr.io/you/zenzefi] [ZENZEFI_VERSION=1.2.3] ops/deploy/init.sh
#   ops/deploy/init.sh --dev      secrets only; names and addresses come from ops/deploy/dev.env
set -euo pipefail
cd "${ZENZEFI_HOME:-$(dirname "$0")/../..}"

say() { printf '%s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

# Only the owner can enter the folder; the files are mounted into containers, whose users must be able to read them.
install --directory --mode=0700 secrets

keep() { # FILE: write standard input, unless the file exists
    local fresh
    if [[ -s secrets/$1 ]]; then
        cat > /dev/null
        return
    fi
    fresh=$(mktemp secrets/.new.XXXXXX)
    cat > "$fresh"
    [[ -s $fresh ]] || fail "Nothing could be written to secrets/$1."
    chmod "${2:-0444}" "$fresh"
    mv "$fresh" "secrets/$1"
    say "Created secrets/$1."
}

random() { # hexadecimal, 256 bits
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
    echo
}

readable() { # 100 bits, in short groups
    od -An -N13 -tx1 /dev/urandom | tr -d ' \n' | cut -c1-25 | sed 's/...../&-/g; s/-$//'
}

random | keep portal_secret_key
random | keep tokens_hash_key
random | keep tokens_mac_keys
random | keep postgres_password
random | keep grafana_password
readable | keep admin_password
random | sed 's/^/requirepass /' | keep redis_conf
printf 'postgresql+psycopg2://zenzefi:%s@postgres:5432/zenzefi\n' "$(< secrets/postgres_password)" | keep database_url
printf 'redis://:%s@redis:6379/0\n' "$(sed -n 's/^requirepass //p' secrets/redis_conf)" | keep redis_url
# Only `docker compose` itself reads it.
echo '# ZENZEFI_<SECTION>__<KEY>=value, one a line: payment providers, SMTP, storage for backups (see config.toml).' |
    keep settings.env 0600

[[ ${1:-} == --dev ]] && exit 0

if [[ -e .env ]]; then
    say ".env exists and is not changed."
else
    for name in PORTAL_HOST PROXY_HOST UPSTREAM_URL ADMIN_EMAIL; do
        [[ -n ${!name:-} ]] || fail "$name is not set; see the comment at the top of $0."
    done
    [[ $PORTAL_HOST != "$PROXY_HOST" ]] || fail "PORTAL_HOST and PROXY_HOST must differ, or they would share cookies."
    umask 077
    {
        echo "ZENZEFI_IMAGE=${ZENZEFI_IMAGE:-zenzefi}"
        echo "ZENZEFI_VERSION=${ZENZEFI_VERSION:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}"
        echo "PORTAL_HOST=$PORTAL_HOST"
        echo "PROXY_HOST=$PROXY_HOST"
        echo "UPSTREAM_URL=$UPSTREAM_URL"
        echo "ADMIN_EMAIL=$ADMIN_EMAIL"
        echo "ACME_EMAIL=${ACME_EMAIL:-}"
    } > .env.new
    mv .env.new .env
    say "Created .env."
fi
say "The first admin is $(sed -n 's/^ADMIN_EMAIL=//p' .env); the password is in secrets/admin_password."
