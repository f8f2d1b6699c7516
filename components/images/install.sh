#!/bin/sh
# Installs into /opt/colorize what the arguments ask of uv, and kfp without what it needs to compile. Versions and hashes
# are the lock's, which uv takes as constraints; it fails when anything comes from beside the lock.
set -eu
cd /build
export PATH="/opt/uv/bin:$PATH" VIRTUAL_ENV=/opt/colorize UV_CACHE_DIR=/cache UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
installed=$(mktemp) locked=$(mktemp)
uv venv --quiet --python python3 "$VIRTUAL_ENV"
uv pip install --constraints requirements.txt "$@"
uv pip install --constraints requirements.txt --no-deps kfp
uv pip freeze > "$installed"
sed --quiet --regexp-extended 's/^([^ ]+==[^ ]+) .*/\1/p' requirements.txt > "$locked"
if grep --invert-match --line-regexp --fixed-strings --file "$locked" "$installed"; then
    echo "error: these are not in requirements.txt" >&2
    exit 1
fi
rm "$installed" "$locked"
