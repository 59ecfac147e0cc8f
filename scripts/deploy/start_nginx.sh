#!/bin/sh
# Start nginx with the container's name servers: a service that starts again may come back at another address, which
# nginx would not ask for without them.
set -eu
servers="$(awk '$1 == "nameserver" && $2 !~ /%/ { printf ($2 ~ /:/) ? "[%s] " : "%s ", $2 }' /etc/resolv.conf)"
echo "resolver ${servers}valid=10s;" > /tmp/resolver.conf
exec /usr/sbin/nginx -e stderr -c /etc/patch_clip/nginx.conf -g 'daemon off;'
