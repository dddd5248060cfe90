#!/bin/sh
# Keeps a certificate for both names and installs it for nginx. Runs every twelve hours, which renews it a month before
# expiry; after a failure every hour, which stays below Let's Encrypt's limit of five failures.
set -eu
trap 'exit 0' TERM INT

live=/etc/letsencrypt/live/zenzefi

put() {
    # The new file is complete before it is renamed, and only nginx's user may read the key.
    cp "$live/$1" "/certs/$1.new"
    chmod 0400 "/certs/$1.new"
    chown 101:101 "/certs/$1.new"
    mv "/certs/$1.new" "/certs/$1"
}

while :; do
    pause=43200
    set -- --non-interactive --agree-tos --webroot --webroot-path /var/www/acme --cert-name zenzefi \
        --domain "$PORTAL_HOST" --domain "$PROXY_HOST" --keep-until-expiring
    if [ -n "$ACME_EMAIL" ]; then
        set -- "$@" --email "$ACME_EMAIL"
    else
        set -- "$@" --register-unsafely-without-email
    fi
    if certbot certonly "$@"; then
        if ! cmp -s "$live/fullchain.pem" /certs/fullchain.pem; then
            put privkey.pem
            put fullchain.pem
        fi
    else
        pause=3600
    fi
    sleep "$pause" &
    wait $!
done
