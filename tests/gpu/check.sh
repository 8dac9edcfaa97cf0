#!/usr/bin/env bash
# All that only a GPU can tell, in at most nine minutes; goes on where it was cut off.
#
#   OUT=results WHEELS=wheels bash tests/gpu/check.sh [PART ...] [--tiny]
#
# Needs Python, torch and accelerate, and no network: what else is missing comes from a folder of
# wheels, which `python -m tests.gpu.wheels` fills on a machine that has a network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
wheels=${WHEELS:-wheels}
if compgen -G "$wheels/*.whl" >/dev/null; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir \
    --target "$site" "$wheels"/*.whl
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export HF_HUB_OFFLINE=1
python3 -m tests.gpu.check --out "${OUT:-gpu}" "$@"
