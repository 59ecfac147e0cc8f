#!/bin/sh
# Start nginx with the container's name server: a service that starts again may come back at another address, which
# nginx asks for only if it has one. The first alone: the next ones may be those of the machine, which don't know it.
set -eu
server="$(awk '$1 == "nameserver" { print ($2 ~ /:/) ? "[" $2 "]" : $2; exit }' /etc/resolv.conf)"
echo "resolver $server valid=10s;" > /tmp/resolver.conf
exec /usr/sbin/nginx -e stderr -c /etc/patch_clip/nginx.conf -g 'daemon off;'
