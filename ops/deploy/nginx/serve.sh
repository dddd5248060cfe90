#!/bin/sh
# Runs nginx and reloads it within a minute of a new certificate. The image's entrypoint renders the templates only for a
# command called nginx, so this script calls it again.
set -eu

fingerprint() {
    cat /certs/*.pem | md5sum
}

watch() {
    seen=$(fingerprint)
    while sleep 60; do
        now=$(fingerprint)
        if [ "$now" != "$seen" ] && nginx -t -q; then
            nginx -s reload
            seen=$now
        fi
    done
}

watch &
exec /docker-entrypoint.sh nginx -g 'daemon off;'
