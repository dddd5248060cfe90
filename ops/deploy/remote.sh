#!/usr/bin/env bash
# Deploys a version on the server from another machine (.github/workflows/deploy.yml):
#
#   DEPLOY_HOST=deploy@zenzefi.example DEPLOY_FOLDER=/srv/zenzefi ops/deploy/remote.sh VERSION COMMIT
#
# ssh takes the host key from ~/.ssh/known_hosts without prompting; no secret is in an argument or in the output.
set -euo pipefail

version=${1:?VERSION is missing} commit=${2:?COMMIT is missing}
: "${DEPLOY_HOST:?is not set}" "${DEPLOY_FOLDER:?is not set}"
[[ $version =~ ^[0-9A-Za-z._-]+$ && $commit =~ ^[0-9a-f]{40}$ ]] || { echo "VERSION or COMMIT is malformed." >&2; exit 1; }

exec ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ServerAliveInterval=15 "$DEPLOY_HOST" \
    "cd $(printf %q "$DEPLOY_FOLDER") && ops/deploy/roll.sh $version --commit $commit"
