# shellcheck shell=sh
# Sourced by what has to do with hosts that are containers: the engine that these run on,
# which is a private one where no other answers.
DOCKER_HOST=$(.venv/bin/python -m scripts.engine up)
export DOCKER_HOST

hosts_that_run() {
    scripts/compose ps --quiet | xargs -r docker inspect --format '{{.Name}} {{.State.Running}}' |
        sed -n 's#^/\(.*\) true$#\1#p' | sort
}

# Compose takes no file without a cookie, not even to end what it describes.
make_cookie() {
    if [ -n "${COOKIE:-}" ] || grep -qs '^COOKIE=' .env; then
        return
    fi
    (umask 077 && echo "COOKIE=$(head -c 32 /dev/urandom | base64 | tr -d '=+/\n')" >>.env)
    echo "the cluster's secret is in .env" >&2
}
