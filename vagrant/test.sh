#!/usr/bin/env bash
# Provision, then run the tests of this checkout: sudo vagrant/test.sh [PYTEST ARGUMENTS]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/vagrant/provision.sh" --test
cd "$root"
exec /opt/netpod/venv/bin/python -m pytest "$@"
