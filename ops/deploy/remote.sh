#!/usr/bin/env bash
# Rolls a version out on the machine that serves, from elsewhere (.github/workflows/deploy.yml):
#
#   DEPLOY_HOST=deploy@zenzefi.example DEPLOY_FOLDER=/srv/zenzefi ops/deploy/remote.sh VERSION COMMIT
#
# ssh finds the host's key in ~/.ssh/known_hosts and asks nobody; no secret stands in an argument or in what is printed.
set -euo pipefail

version=${1:?VERSION is missing} commit=${2:?COMMIT is missing}
: "${DEPLOY_HOST:?is not set}" "${DEPLOY_FOLDER:?is not set}"
[[ $version =~ ^[0-9A-Za-z._-]+$ && $commit =~ ^[0-9a-f]{40}$ ]] || { echo "VERSION or COMMIT is malformed." >&2; exit 1; }

exec ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ServerAliveInterval=15 "$DEPLOY_HOST" \
    "cd $(printf %q "$DEPLOY_FOLDER") && ops/deploy/roll.sh $version --commit $commit"
