#!/usr/bin/env bash
# The main job on a fresh machine: provision, start a cluster, apply the example Ingress, trace one request.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
"$here/provision.sh"
exec netpod demo
