#!/usr/bin/env bash
# in_own_root.sh PACKAGES BUILD: the life of the packages in PACKAGES in a root of their own. To be run in a
# mount and pid namespace of its own (unshare --mount --pid): what it mounts and starts ends with it.
set -euo pipefail
packages=$1 build=$2
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

own=$(mktemp -d)
mount -t tmpfs tmpfs "$own"
mkdir "$own/changes" "$own/work" "$own/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$own/changes,workdir=$own/work" "$own/root"
root=$own/root
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
# A root that never had Lumen, and starts no service by itself.
rm -rf "$root/etc/lumen" "$root/var/lib/lumen" "$root/var/lib/lumen-admind" "$root/var/log/lumen"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp "$packages"/libnginx-mod-http-lumen_*.deb "$root/tmp/gate.deb"
cp "$packages"/lumen-admind_*.deb "$root/tmp/admind.deb"
cp "$build/tests/harness/model_server/lumen-model-server" "$root/tmp/"

inside() { chroot "$root" "$@"; }
fail() {
    echo "FAILED: $*" >&2
    tail -n 30 "$root"/tmp/*.log >&2 || true
    exit 1
}
# wait_for WHAT COMMAND...: until it succeeds, at most a minute or a little longer.
wait_for() {
    local what=$1 tries
    shift
    for tries in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    fail "waited in vain for $what ($tries tries)"
}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
free_ports() {  # COUNT
    node --input-type=module -e 'const { freePort } = await import(process.argv[1]);
        for (let i = 0; i < Number(process.argv[2]); i++) console.log(await freePort())' "$here/../harness/machine.mjs" "$1"
}

# ---- installed -------------------------------------------------------------------------------------------------------
inside dpkg -i /tmp/gate.deb /tmp/admind.deb >"$root/tmp/dpkg.log" 2>&1 || fail "dpkg -i"
inside systemd-tmpfiles --create libnginx-mod-http-lumen.conf
[ "$(stat -c '%a %U:%G' "$root/etc/lumen/installation.secret")" = "640 root:$(inside id -g lumen >/dev/null && stat -c %G "$root/etc/lumen/lumen.yaml")" ] ||
    fail "the secret's rights: $(stat -c '%a %U:%G' "$root/etc/lumen/installation.secret")"
[ "$(wc -c <"$root/etc/lumen/installation.secret")" -eq 64 ] || fail "the secret's length"
[ "$(stat -c '%a %U' "$root/etc/lumen/admind.env")" = "600 root" ] || fail "admind.env's rights"
inside nginx -t >"$root/tmp/nginx-t.log" 2>&1 || fail "nginx does not load the module"
inside systemd-analyze verify lumen-admind.service 2>"$root/tmp/unit.log" || fail "the unit"
if grep -q lumen-admind "$root/tmp/unit.log"; then fail "the unit: $(cat "$root/tmp/unit.log")"; fi
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/lumen-admind.service" ] || fail "enabled before it is configured"
echo installed

# ---- configured ------------------------------------------------------------------------------------------------------
{ read -r gate_port && read -r admind_port && read -r model_port && read -r redis_port; } < <(free_ports 4)
# shellcheck disable=SC2016 # the shell inside expands it
inside runuser -u postgres -- bash -c 'bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
    $bin/initdb -D /tmp/pg -A trust --no-sync >/tmp/initdb.log && $bin/pg_ctl -D /tmp/pg -w -o "-c listen_addresses= -k /tmp -c fsync=on" -l /tmp/pg.log start >/dev/null &&
    createuser -h /tmp lumen && createdb -h /tmp -O lumen lumen' || fail "Postgres"
inside redis-server /usr/share/doc/lumen-admind/examples/redis.conf --port "$redis_port" --bind 127.0.0.1 --dir /tmp \
    --daemonize yes --logfile /tmp/redis.log >/dev/null
inside /tmp/lumen-model-server --port "$model_port" >"$root/tmp/model.log" 2>&1 &

if inside lumen-admind check /etc/lumen/lumen.yaml >"$root/tmp/check.log" 2>&1; then fail "check accepts what nobody has filled in"; fi
cat >"$root/etc/lumen/lumen.yaml" <<YAML
version: 2
app:
  public_url: http://127.0.0.1:$gate_port
  listen: 127.0.0.1:$admind_port
  secret_key: \${LUMEN_SECRET_KEY}
  encryption_key: \${file:/etc/lumen/installation.secret}
  database: {url: "\${DATABASE_URL}"}
  debug: true
  dev_user: demo@example.edu
redis: {url: "redis://127.0.0.1:$redis_port/0"}
defaults:
  models: {access: allowed}
  tokens: {max: 5, starting: 5}
models:
  - name: demo
    input_cost_per_million: 1
    output_cost_per_million: 2
    endpoints: [{url: "http://127.0.0.1:$model_port/v1"}]
YAML
sed -i 's#^DATABASE_URL=.*#DATABASE_URL=postgresql:///lumen?host=/tmp#' "$root/etc/lumen/admind.env"

# With the unit's user and environment.
as_lumen() {
    local environment
    mapfile -t environment < <(grep -v '^#' "$root/etc/lumen/admind.env")
    inside env -i PATH=/usr/bin:/bin STATE_DIRECTORY=/var/lib/lumen-admind "${environment[@]}" \
        setpriv --reuid lumen --regid lumen --init-groups "$@"
}
# The command of this line of the unit.
unit_command() { sed -n "s/^$1=//p" "$root/lib/systemd/system/lumen-admind.service"; }
mkdir -p "$root/var/lib/lumen-admind" && inside chown lumen: /var/lib/lumen-admind
read -ra migrate < <(unit_command ExecStartPre)
read -ra serve < <(unit_command ExecStart)
as_lumen "${migrate[@]}" >"$root/tmp/migrate.log" 2>&1 || fail "the unit's ExecStartPre"
as_lumen "${serve[@]}" >"$root/tmp/admind.log" 2>&1 &
wait_for "admind to be ready" curl -fs "http://127.0.0.1:$admind_port/readyz"

sed -e "s/listen 8080;/listen 127.0.0.1:$gate_port;/" -e "s/server 127.0.0.1:5001;/server 127.0.0.1:$admind_port;/" \
    -e "s#lumen_redis unix:/run/lumen/redis.sock#lumen_redis 127.0.0.1:$redis_port#" \
    "$root/usr/share/doc/libnginx-mod-http-lumen/examples/nginx.conf" >"$root/etc/nginx/nginx.conf"
inside nginx -t >"$root/tmp/nginx-t.log" 2>&1 || fail "nginx does not take the shipped nginx.conf"
inside nginx >"$root/tmp/nginx.log" 2>&1 || fail "nginx"
echo configured

# ---- served ----------------------------------------------------------------------------------------------------------
admind() { as_lumen lumen-admind "$@" --config /etc/lumen/lumen.yaml; }
account=$(admind user create ada@example.edu | sed 's/.* account //')
key=$(admind key create --account "$account" --name packaged)
ask() {
    curl -s -D "$root/tmp/head.log" -o "$root/tmp/answer.log" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' \
        -d '{"model":"demo","messages":[{"role":"user","content":"hello"}]}' "http://127.0.0.1:$gate_port/v1/chat/completions" &&
        grep -q '^HTTP/1.1 200' "$root/tmp/head.log"
}
wait_for "an answer of the model" ask
grep -qi '^x-lumen-cost: 0\.0' "$root/tmp/head.log" || fail "no price: $(cat "$root/tmp/head.log")"
# A first sign-in may follow; the pages are there.
[ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$gate_port/sign-in")" = 200 ] || fail "the pages"
admind doctor >"$root/tmp/doctor.log" 2>&1 || fail "doctor"
echo served

# ---- upgraded --------------------------------------------------------------------------------------------------------
secret=$(cat "$root/etc/lumen/installation.secret")
for name in gate admind; do
    inside dpkg-deb -R "/tmp/$name.deb" "/tmp/$name.new"
    sed -i 's/^Version: .*/Version: 0.1.0-2/' "$root/tmp/$name.new/DEBIAN/control"
    inside dpkg-deb -b "/tmp/$name.new" "/tmp/$name-2.deb" >/dev/null
done
inside dpkg -i --force-confold /tmp/gate-2.deb /tmp/admind-2.deb >"$root/tmp/dpkg.log" 2>&1 || fail "the upgrade"
[ "$(cat "$root/etc/lumen/installation.secret")" = "$secret" ] || fail "the upgrade drew another secret"
grep -q "127.0.0.1:$model_port" "$root/etc/lumen/lumen.yaml" || fail "the upgrade lost the configuration"
[ "$(stat -c %a "$root/etc/lumen/lumen.yaml")" = 640 ] || fail "the upgrade opened the configuration"
ask || fail "the gate after the upgrade"
echo upgraded

# ---- removed, purged -------------------------------------------------------------------------------------------------
inside nginx -s quit
wait_for "nginx to end" bash -c "! curl -s http://127.0.0.1:$gate_port/"
inside dpkg -r libnginx-mod-http-lumen lumen-admind >"$root/tmp/dpkg.log" 2>&1 || fail "dpkg -r"
[ ! -e "$root/usr/bin/lumen-admind" ] || fail "removed, and still there"
[ "$(cat "$root/etc/lumen/installation.secret")" = "$secret" ] || fail "removing took the secret"
[ -s "$root/var/lib/lumen/gate.ring" ] || fail "removing took the ring"
echo removed
inside dpkg -P libnginx-mod-http-lumen lumen-admind >"$root/tmp/dpkg.log" 2>&1 || fail "dpkg -P"
for place in /etc/lumen /var/lib/lumen /var/lib/lumen-admind /var/log/lumen /etc/nginx/lumen.conf \
    /etc/nginx/modules-enabled/50-mod-http-lumen.conf; do
    [ ! -e "$root$place" ] || fail "purged, and $place is still there"
done
echo purged
