#!/bin/sh
# Fails when proto/ would break those who use the contracts of main.
#
#     proto/breaking.sh [COMMIT]    default: main, or the commit before this one
#                                   when this is main
#
# Passes, and says so, where there is nothing to compare with: before the first
# contracts, and on a clone that holds one commit only.
set -eu
cd "$(dirname "$0")/.."

head=$(git rev-parse --quiet --verify HEAD || true)
base=
for name in "${1:-}" origin/main main; do
    base=$(git rev-parse --quiet --verify "$name^{commit}" || true)
    [ -z "$base" ] || break
done
if [ -n "$base" ] && [ "$base" = "$head" ] && [ -z "$(git status --porcelain -- proto)" ]; then
    base=$(git rev-parse --quiet --verify "$head^" || true)
fi
if [ -z "$base" ] || ! git cat-file -e "$base:buf.yaml" 2>/dev/null || ! git cat-file -e "$base:proto/gateway" 2>/dev/null; then
    echo "buf breaking: no earlier contracts to compare with"
    exit 0
fi

rm -rf .tmp/breaking
mkdir -p .tmp/breaking
git archive "$base" buf.yaml proto third_party/buf | tar -x -C .tmp/breaking
clients/node_modules/.bin/buf breaking --against .tmp/breaking
echo "buf breaking: compatible with $(git rev-parse --short "$base")"
