#!/usr/bin/env bash
# Create $VENV and install gancodec with the developers' tools, or, given a wheel, that wheel with what it needs and no
# more. Versions are those of constraints.txt. Safe to run again: what is there is kept.
#
# PyPI's PyTorch for Linux depends on several gigabytes of CUDA packages. They are installed only where a CUDA
# device answers; elsewhere this script asks pip what it *would* install and turns to the CPU index if needed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}
TORCH_INDEX=${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}
WHEEL=${1:-}
pip=("$VENV/bin/python" -m pip --disable-pip-version-check)
install=("${pip[@]}" install -qq --constraint constraints.txt)

say() { echo "make env: $*" >&2; }

brings_cuda() { # does installing "$@" bring CUDA packages? (metadata only, nothing is downloaded)
    local plan
    plan=$(mktemp)
    "${install[@]}" --dry-run --ignore-installed --report "$plan" "$@" || { rm -f "$plan"; return 2; }
    "$VENV/bin/python" - "$plan" <<'PY'
import json, sys
names = {item["metadata"]["name"].lower() for item in json.load(open(sys.argv[1]))["install"]}
sys.exit(0 if any(name.startswith(("nvidia-", "cuda-", "triton")) for name in names) else 1)
PY
    local answer=$?
    rm -f "$plan"
    return $answer
}

install_torch() {
    if "$VENV/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'; then
        return
    fi
    if command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1; then
        say "CUDA device found: installing PyTorch with CUDA"
        "${install[@]}" torch
        return
    fi
    local status=0
    brings_cuda torch || status=$?
    if [ "$status" = 1 ]; then
        say "no CUDA device: installing PyTorch for the CPU"
        "${install[@]}" torch
    elif ! "${install[@]}" --timeout 20 --retries 1 --index-url "$TORCH_INDEX" torch; then
        say "the CPU build of PyTorch could not be had from $TORCH_INDEX, and the default index would send CUDA"
        say "packages (gigabytes). Either name an index that has it:   make env TORCH_INDEX=https://..."
        say "or accept the CUDA build:   $VENV/bin/python -m pip install -c constraints.txt torch && make env"
        exit 1
    fi
}

[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
# --group needs pip 25.1
"${pip[@]}" install -qq --upgrade "pip>=25.1"
install_torch
if [ -n "$WHEEL" ]; then
    "${install[@]}" "$WHEEL"
else
    "${install[@]}" --editable . --group dev
fi
say "ready in $VENV"
