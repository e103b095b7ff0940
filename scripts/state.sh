# shellcheck shell=sh
# Sourced by start and stop: where the state of `make start`'s node is.
state=$PWD/.veo
VEO_RUN_DIR=$state/node/run
# The console's socket lies in it, and the path of a socket has 107 characters.
if [ "${#VEO_RUN_DIR}" -gt 80 ]; then
    VEO_RUN_DIR=${XDG_RUNTIME_DIR:-/run}/veo-node-$(printf %s "$PWD" | cksum | cut -d' ' -f1)
fi
export VEO_RUN_DIR
