#!/usr/bin/env bash
# Write constraints.txt: the newest version of every package that pyproject.toml leads to, for every system and version
# of Python that it allows. UV names another uv.
set -euo pipefail
cd "$(dirname "$0")/.."

UV=${UV:-uv}
trap 'rm -f uv.lock' EXIT
rm -f uv.lock # with an old one, uv keeps its versions
"$UV" lock --quiet
{
    echo "# Versions that this project is tested with; \`make lock\` writes this file, docs/packaging.md explains it."
    "$UV" export --quiet --all-extras --all-groups --no-group audit --no-emit-project --no-hashes --no-header --no-annotate
} >constraints.txt.new
mv constraints.txt.new constraints.txt
