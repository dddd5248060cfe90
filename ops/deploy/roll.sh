#!/usr/bin/env bash
# Deploys a version on this machine without downtime, and rolls back if it is unhealthy:
#
#   ops/deploy/roll.sh VERSION [--commit COMMIT] [--no-backup]
#
# 1. Pull the image (or use the one from `docker compose build migrate`), and with --commit check out that commit's files
#    (compose file, nginx, alert rules).
# 2. Make a backup, then migrate. A migration must leave a database that the old version works with; if it fails,
#    nothing has been replaced yet.
# 3. Replace one part after the other. SIGTERM lets the old container finish its requests; the other instance serves meanwhile.
#    The new one must become healthy and pass the gate (database and Redis reachable, tokens looked up).
# 4. Otherwise it and all parts replaced before are rolled back, in reverse order.
# 5. .env is changed to the new version only at the end.
#
# Exit code 0: the new version runs. 1: the old one runs, as before. 2: the rollback failed; check by hand.
set -euo pipefail

PARTS=(portal-a portal-b proxy-a proxy-b worker scheduler)
TIMEOUT=180 # seconds for one part to become healthy
SETTLE=${SETTLE:-5} # longer than nginx's fail_timeout: only then may the other instance be stopped

say() { printf '%s  %s\n' "$(date -u +%H:%M:%S)" "$*"; }
fail() { say "$*" >&2; exit 1; }

compose() { # VERSION ARGUMENTS…
    local version=$1
    shift
    ZENZEFI_VERSION=$version docker compose "$@"
}

replace() { # PART VERSION: succeeds when the part is healthy
    say "Starting $1 with $2."
    compose "$2" up --detach --no-deps --no-build --wait --wait-timeout "$TIMEOUT" "$1" &&
        compose "$2" exec -T "$1" python -m ops.container gate "${1%-[ab]}"
}

roll_back() { # OLD COMMIT PART…
    local old=$1 commit=$2 part worst=1
    shift 2
    [[ -z $commit ]] || git checkout --quiet --detach "$commit"
    for part; do
        replace "$part" "$old" || { say "$part is not healthy with $old either." >&2; worst=2; }
        sleep "$SETTLE"
    done
    return "$worst"
}

main() {
    local new='' commit='' was='' backup=yes old image part
    local -a replaced=()
    while (($#)); do
        case $1 in
            --commit) commit=${2:?--commit needs a commit}; shift ;;
            --no-backup) backup= ;;
            -*) fail "Unknown option $1." ;;
            *) new=$1 ;;
        esac
        shift
    done
    [[ $new =~ ^[0-9A-Za-z][0-9A-Za-z._-]{0,127}$ ]] || fail "usage: ops/deploy/roll.sh VERSION [--commit COMMIT] [--no-backup]"

    cd "${ZENZEFI_HOME:-$(dirname "$0")/../..}"
    [[ -e .env ]] || fail ".env is missing: run ops/deploy/init.sh first."
    exec 9> secrets/.roll.lock
    flock --nonblock 9 || fail "Another deploy is running."
    old=$(sed -n 's/^ZENZEFI_VERSION=//p' .env)
    [[ $old != "$new" ]] || fail "$new is already running."

    if [[ -n $commit ]]; then
        was=$(git rev-parse HEAD)
        git fetch --quiet origin "$commit"
        git checkout --quiet --detach "$commit"
    fi
    image=$(sed -n 's/^ZENZEFI_IMAGE=//p' .env)
    if ! compose "$new" pull --quiet portal-a && ! docker image inspect "${image:-zenzefi}:$new" > /dev/null; then
        [[ -z $was ]] || git checkout --quiet --detach "$was"
        fail "The image of $new was not found. Nothing was changed."
    fi
    if [[ -n $backup ]]; then
        say "Making a backup."
        compose "$old" run --rm --no-deps -T worker backup || fail "The backup failed. Nothing was changed."
    fi
    say "Migrating to $new."
    if ! compose "$new" run --rm --no-deps -T migrate; then
        [[ -z $was ]] || git checkout --quiet --detach "$was"
        fail "The migration failed. $old is still running."
    fi
    for part in "${PARTS[@]}"; do
        replaced=("$part" "${replaced[@]}")
        if ! replace "$part" "$new"; then
            say "$part is not healthy with $new. Rolling back to $old." >&2
            compose "$new" logs --no-color --tail 30 "$part" >&2 || true
            roll_back "$old" "$was" "${replaced[@]}" || exit $?
        fi
        sleep "$SETTLE"
    done
    sed "s/^ZENZEFI_VERSION=.*/ZENZEFI_VERSION=$new/" .env > .env.new
    chmod 0600 .env.new
    mv .env.new .env
    say "$new is running. To return to $old, run $0 $old."
}

# bash reads the whole script first: a checkout may change this file.
main "$@"; exit
