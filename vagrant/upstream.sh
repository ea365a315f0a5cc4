#!/usr/bin/env bash
# Build upstream's own Kubernetes 1.20 from Debian's source package, with Debian's Go, and a program of a current client-go:
# what tests/upstream points at netpod.
# Idempotent: what is there stays. The first run takes a quarter of an hour, 3 GB below $TMPDIR (or /var/tmp) and as
# much memory as a link of Kubernetes does, 2 GB.
#
#   sudo vagrant/upstream.sh [PROGRAM...]     default: all of them, into /opt/netpod/upstream
#
# "images" among them stands for the container images that e2e.test uses: Debian's programs and upstream's agnhost.
#
# Nothing is installed: source and compiler are unpacked aside, by an apt configuration of its own that has the site and
# the keys of this machine's. It needs a Debian machine; its release does not matter.
set -euo pipefail
umask 022

readonly prefix=/opt/netpod/upstream
readonly suite=bookworm go=golang-1.19
# Kubernetes brings one that knows the maps of Go before 1.18 only: the API server panics at some objects.
readonly maps=golang-github-modern-go-reflect2-dev
# What 1.20.5+really1.20.2 is.
readonly version=v1.20.2
# Whose client-go and Go tests/upstream/clientgo is built with: 0.32.
readonly clients_suite=trixie
readonly -a programs=(kube-proxy kube-scheduler kube-controller-manager kube-apiserver e2e.test images clientgo)
# What runs in the images: upstream's below test/images, and packages.
readonly -a inside=(agnhost nonewprivs resource-consumer resource-consumer/consume-cpu)
readonly -a packages=(
  bash dash coreutils sed grep findutils hostname mawk util-linux debianutils libc-bin busybox-static curl wget
  netcat-openbsd bind9-dnsutils iproute2 iperf apache2-bin nginx-light redis-server stress
)
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly here

say() { printf 'upstream: %s\n' "$*"; }
die() { printf 'upstream: %s\n' "$*" >&2; exit "${2:-1}"; }
run() { "$@" >"$log" 2>&1 || { tail -20 "$log" >&2; die "failed: $*"; }; }

# An apt that knows one release of Debian and keeps everything in a folder of ours.
configure_apt() {
  local release=$1 site keys=/usr/share/keyrings/debian-archive-keyring.gpg kind
  site=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' | head -1)
  { [ -n "$site" ] && [ -e "$keys" ]; } || die "this is no Debian: it has no source of Kubernetes" 4
  rm -rf "$work"/{lists,cache}
  mkdir -p "$work"/{lists/partial,cache/archives/partial}
  touch "$work/status"
  for kind in deb deb-src; do
    printf '%s [signed-by=%s] %s %s main\n' "$kind" "$keys" "$site" "$release"
  done >"$work/sources.list"
  apart=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "Dir::State=$work" -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status"
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
  run apt-get "${apart[@]}" update
}

fetch() {
  say "fetching Kubernetes $version and $go of $suite"
  (
    cd "$work"
    run apt-get "${apart[@]}" --download-only source kubernetes
    run apt-get "${apart[@]}" download "$go-go" "$go-src" "$maps"
  )
  local package
  for package in "$work"/"$go"-*.deb "$work/$maps"_*.deb; do run dpkg -x "$package" "$work/root"; done
  tree=$work/path/src/k8s.io/kubernetes
  mkdir -p "$tree"
  run tar -x --strip-components=1 -C "$tree" -f "$work"/kubernetes_*.orig.tar.gz
  local reflect=src/github.com/modern-go/reflect2
  run rm "$tree/vendor/${reflect#src/}"/*.{go,s}
  run cp "$work/root/usr/share/gocode/$reflect"/*.{go,s} "$tree/vendor/${reflect#src/}/"
}

# Upstream's makefiles do this with network or a git checkout at hand; what they generate and run is the same.
generate() {
  local -a folders
  say "generating"
  cd "$tree"
  run go build -o "$work/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
  mapfile -t folders < <(
    find -L pkg vendor/k8s.io plugin cmd -name '*.go' ! -path '*/code-generator/*' ! -path '*/sample-apiserver/*' \
      -exec grep -l '+k8s:openapi-gen=' {} + | xargs -n1 dirname | sort -u | sed 's|^|k8s.io/kubernetes/|'
  )
  run "$work/bin/openapi-gen" --logtostderr -i "$(IFS=,; printf '%s' "${folders[*]}")" \
    -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
    -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$work/violations"
  run go build -o "$work/bin/go-bindata" ./vendor/github.com/go-bindata/go-bindata/go-bindata
  run "$work/bin/go-bindata" -nometadata -o test/e2e/generated/bindata.go -pkg generated \
    -ignore .jpg -ignore .png -ignore .md -ignore 'BUILD(\.bazel)?' \
    test/conformance/testdata/... test/e2e/testing-manifests/... test/e2e_node/testing-manifests/... \
    test/images/... test/fixtures/...
}

# In GOPATH mode too: Debian's packages of Go libraries are one GOPATH.
build_clientgo() {
  local package root=$work/clients
  say "fetching client-go and Go of $clients_suite"
  configure_apt "$clients_suite"
  run apt-get "${apart[@]}" -y --download-only --no-install-recommends install golang-go golang-k8s-client-go-dev
  for package in "$work"/cache/archives/golang-*.deb; do run dpkg -x "$package" "$root"; done
  say "building clientgo"
  (
    export PATH="$root/usr/lib/go/bin:$PATH" GOROOT="$root/usr/lib/go" GOPATH="$root/usr/share/gocode" \
      GOCACHE="$work/gocache" GO111MODULE=off GOFLAGS= CGO_ENABLED=0
    cd "$here/tests/upstream/clientgo"
    run go build -ldflags "-s -w" -o "$work/bin/clientgo" .
  )
  put clientgo
}

# Whole or absent.
put() {
  mv "$work/bin/$1" "$prefix/bin/.$1"
  mv "$prefix/bin/.$1" "$prefix/bin/$1"
}

build() {
  local name=$1 package
  local -a command=(go build) flags=(-s -w)
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=(-X "k8s.io/kubernetes/vendor/$package.gitVersion=$version"
      -X "k8s.io/kubernetes/vendor/$package.gitMajor=1" -X "k8s.io/kubernetes/vendor/$package.gitMinor=20")
  done
  package=./cmd/$name
  if [ "$name" = e2e.test ]; then
    command=(go test -c)
    package=./test/e2e
  fi
  say "building $name"
  cd "$tree"
  run "${command[@]}" -trimpath -ldflags "${flags[*]}" -o "$work/bin/$name" "$package"
  put "$name"
}

images() {
  local name
  command -v umoci >/dev/null || die "cannot make images without umoci; sudo vagrant/provision.sh --test installs it" 4
  say "making the images of e2e.test"
  mkdir -p "$work/inside" "$work/debs/partial"
  cd "$tree"
  for name in "${inside[@]}"; do
    run go build -ldflags "-s -w" -o "$work/inside/${name##*/}" "./test/images/$name"
  done
  run apt-get "${apart[@]}" -o "Dir::Cache::archives=$work/debs" install -y --no-install-recommends --download-only \
    "${packages[@]}"
  run "$here/vagrant/upstream_images.sh" "$work/debs" "$work/inside" "$tree" "$work/layout"
  rm -rf "$prefix/images"
  mv "$work/layout" "$prefix/images"
}

main() {
  local -a wanted=("$@") missing=() components=()
  local name
  [ "$(id -u)" = 0 ] || die "run as root: sudo vagrant/upstream.sh" 2
  [ ${#wanted[@]} -gt 0 ] || wanted=("${programs[@]}")
  for name in "${wanted[@]}"; do
    [[ " ${programs[*]} " == *" $name "* ]] || die "cannot build $name: there are ${programs[*]}" 2
    [ -x "$prefix/bin/$name" ] || [ "$prefix/$name" -ef "$prefix/images" ] || missing+=("$name")
  done
  if [ ${#missing[@]} -eq 0 ]; then say "all there, in $prefix"; return; fi
  command -v apt-get >/dev/null || die "this is no Debian: it has no source of Kubernetes $version" 4
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/netpod-upstream.XXXXXX")
  trap 'rm -rf --one-file-system "$work"' EXIT
  log=$work/log
  mkdir -p "$prefix/bin" "$work/bin"
  for name in "${missing[@]}"; do
    if [ "$name" = clientgo ]; then build_clientgo; else components+=("$name"); fi
  done
  if [ ${#components[@]} -gt 0 ]; then build_components "${components[@]}"; fi
  say "done: ${missing[*]} in $prefix"
}

build_components() {
  configure_apt "$suite"
  fetch
  # As its makefiles call Go: in GOPATH mode, with the libraries that are in the tree, static.
  export PATH="$work/root/usr/lib/${go/lang/}/bin:$PATH" GOROOT="$work/root/usr/lib/${go/lang/}" GOPATH="$work/path" \
    GOCACHE="$work/gocache" GO111MODULE=off GOFLAGS= CGO_ENABLED=0
  generate
  for name in "$@"; do
    if [ "$name" = images ]; then images; else build "$name"; fi
  done
}

main "$@"
