#!/usr/bin/env bash
# Make the container images that upstream's e2e tests of 1.20 use, from Debian's packages and the programs of its source
# package: an OCI layout with one tag per image. Nothing comes from a registry. Called by vagrant/upstream.sh.
#
#   upstream_images.sh PACKAGES PROGRAMS SOURCE LAYOUT
#
# PACKAGES: folder of .deb files with all they depend on; PROGRAMS: agnhost, nonewprivs, resource-consumer, consume-cpu;
# SOURCE: upstream's tree; LAYOUT: made anew.
set -euo pipefail
umask 022
packages=$1 programs=$2 source=$3 layout=$4
readonly packages programs source layout
readonly path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
work=$(mktemp -d "${TMPDIR:-/var/tmp}/netpod-images.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

# image NAME FOLDER [FROM]: the files of a folder, on top of another image or alone.
image() {
  if [ $# -gt 2 ]; then umoci tag --image "$layout:$3" "$1"; else umoci new --image "$layout:$1"; fi
  umoci insert --image "$layout:$1" "$2" /
}
config() { umoci config --image "$layout:$1" --config.env "$path" "${@:2}"; }

# Packages are unpacked, their scripts not run: what those would link is linked here.
debian() {
  local package root=$work/debian
  mkdir -p "$root"
  for package in "$packages"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --exclude=./usr/share/{doc,man,locale,info}
  done
  mkdir -p "$root"/{tmp,uploads,root}
  chmod 1777 "$root/tmp"
  cat >"$root/etc/passwd" <<'EOF'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
EOF
  printf 'root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$root/etc/group"
  ln -sf dash "$root/bin/sh"
  ln -sf mawk "$root/usr/bin/awk"
  ln -sf nc.openbsd "$root/bin/nc"
  image debian "$root"
}

busybox() {
  local root=$work/busybox name
  mkdir -p "$root"/{bin,etc,tmp,home,root,var,usr}
  chmod 1777 "$root/tmp"
  cp "$work/debian/bin/busybox" "$root/bin/busybox"
  while read -r name; do
    [ "$name" = busybox ] || ln -s busybox "$root/bin/$name"
  done < <("$root/bin/busybox" --list)
  cp "$work/debian/etc/passwd" "$work/debian/etc/group" "$root/etc/"
  image busybox "$root"
  config busybox --config.cmd sh
  umoci tag --image "$layout:busybox" nonroot
  umoci config --image "$layout:nonroot" --config.user 1234
  mkdir -p "$work/nonewprivs/usr/local/bin"
  install -m 4755 "$programs/nonewprivs" "$work/nonewprivs/usr/local/bin/nnp"
  image nonewprivs "$work/nonewprivs" busybox
  config nonewprivs --config.cmd nnp
}

agnhost() {
  local pet root=$work/agnhost
  mkdir -p "$root"
  cp "$programs/agnhost" "$source"/test/images/agnhost/porter/localhost.* "$root/"
  ln -s agnhost "$root/agnhost-2"
  image agnhost "$root" debian
  config agnhost --config.entrypoint /agnhost --config.cmd pause
  for pet in nautilus kitten; do
    image "$pet" "$source/test/images/$pet/html" agnhost
    config "$pet" --config.cmd test-webserver
  done
  mkdir -p "$work/pause"
  gcc -Os -static -DVERSION=v3.2 -o "$work/pause/pause" "$source/build/pause/linux/pause.c"
  image pause "$work/pause"
  config pause --config.entrypoint /pause
}

# Apache and nginx where Docker's images have them.
servers() {
  local root=$work/httpd/usr/local nginx=$work/nginx
  mkdir -p "$root"/apache2/{htdocs,conf,logs,bin} "$root/bin"
  ln -s /usr/sbin/apache2 "$root/apache2/bin/httpd"
  printf '<html><body><h1>It works!</h1></body></html>\n' >"$root/apache2/htdocs/index.html"
  cat >"$root/apache2/conf/httpd.conf" <<'EOF'
ServerRoot /usr/local/apache2
ServerName localhost
Listen 80
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
LoadModule mime_module /usr/lib/apache2/modules/mod_mime.so
DocumentRoot /usr/local/apache2/htdocs
DirectoryIndex index.html
TypesConfig /dev/null
PidFile /tmp/httpd.pid
StartServers 1
ErrorLog /proc/self/fd/2
LogFormat "%h %l %u %t \"%r\" %>s %b" common
CustomLog /proc/self/fd/1 common
EOF
  cat >"$root/bin/httpd-foreground" <<'EOF'
#!/bin/sh
rm -f /tmp/httpd.pid
exec /usr/sbin/apache2 -DFOREGROUND -f /usr/local/apache2/conf/httpd.conf "$@"
EOF
  chmod 755 "$root/bin/httpd-foreground"
  image httpd "$work/httpd" debian
  config httpd --config.cmd httpd-foreground --config.workingdir /usr/local/apache2
  mkdir -p "$nginx"/etc/nginx "$nginx"/usr/share/nginx/html "$nginx"/var/{log,lib}/nginx
  printf '<html><body><h1>Welcome to nginx!</h1></body></html>\n' >"$nginx/usr/share/nginx/html/index.html"
  cat >"$nginx/etc/nginx/nginx.conf" <<'EOF'
error_log /dev/stderr;
pid /tmp/nginx.pid;
events {}
http { access_log /dev/stdout; server { listen 80; root /usr/share/nginx/html; index index.html; } }
EOF
  image nginx "$nginx" debian
  config nginx --config.cmd nginx --config.cmd -g --config.cmd 'daemon off;'
}

others() {
  local root=$work/resource-consumer
  umoci tag --image "$layout:debian" jessie-dnsutils
  config jessie-dnsutils --config.cmd bash
  umoci tag --image "$layout:debian" redis
  config redis --config.cmd redis-server
  mkdir -p "$root"
  cp "$programs/resource-consumer" "$root/consumer"
  cp "$programs/consume-cpu" "$root/"
  image resource-consumer "$root" debian
  config resource-consumer --config.entrypoint /consumer
}

rm -rf "$layout"
umoci init --layout "$layout"
debian
busybox
agnhost
servers
others
umoci gc --layout "$layout" >/dev/null
