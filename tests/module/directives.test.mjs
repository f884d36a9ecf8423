// What `nginx -t` says about wrong directives: the directive's name and what is wrong; and what is right is accepted.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { buildDir } from '../harness/machine.mjs';
import { builtPrograms, nginxIsOlder, nginxProgram } from '../harness/programs.mjs';

let dir;
before(() => {
  dir = mkdtempSync('/tmp/lumen-directives-');
  for (const place of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(path.join(dir, place));
  writeFileSync(path.join(dir, 'secret'), 'the secret of an installation that does not exist\n');
  writeFileSync(path.join(dir, 'empty'), '\n');
  writeFileSync(path.join(dir, 'long'), 'x'.repeat(5000));
});
after(() => rmSync(dir, { recursive: true, force: true }));

const RIGHT = {
  zone: 'lumen_zone lumen 4m ring=DIR/gate.ring:1m replay=10s;',
  redis: 'lumen_redis unix:DIR/redis.sock timeout=1s;',
  secret: 'lumen_secret_file DIR/secret;',
  upstream: 'lumen_balancer; keepalive 8;',
  location: 'lumen on; lumen_exhausted_status 402; lumen_tries 3; lumen_drain_aborted 5s;',
};

/// Tests a configuration in which some parts are replaced: {ok, output}.
function check(parts) {
  const { zone, redis, secret, upstream, location } = { ...RIGHT, ...parts };
  const file = path.join(dir, 'nginx.conf');
  writeFileSync(file, `
load_module ${builtPrograms(buildDir)['ngx_http_lumen_module.so']};
pid DIR/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path DIR/body; proxy_temp_path DIR/proxy; fastcgi_temp_path DIR/fastcgi; uwsgi_temp_path DIR/uwsgi; scgi_temp_path DIR/scgi;
    ${zone} ${redis} ${secret}
    upstream models { ${upstream} }
    server { listen 127.0.0.1:1; location /v1/ { ${location} proxy_pass https://models; } }
}`.replaceAll('DIR', dir));
  const run = spawnSync(nginxProgram, ['-t', '-p', dir, '-c', file], { encoding: 'utf8' });
  return { ok: run.status === 0, output: run.stderr.replaceAll(dir, 'DIR') };
}

const ACCEPTED = [
  { row: 'as shipped', parts: {} },
  { row: 'no ring and no replay given', parts: { location: 'lumen off;', zone: 'lumen_zone lumen 4m;' } },
  { row: 'Redis by address', parts: { redis: 'lumen_redis 127.0.0.1:6379;' } },
  { row: 'Redis by IPv6 address', parts: { redis: 'lumen_redis [::1]:6379;' } },
  { row: 'Redis by name, without port', parts: { redis: 'lumen_redis localhost timeout=300ms;' } },
  { row: 'nodes of a Redis Cluster', parts: { redis: 'lumen_redis 127.0.0.1:7000 127.0.0.1:7001 cluster timeout=300ms;' } },
  { row: 'Redis with a user', parts: { redis: 'lumen_redis 127.0.0.1 user=gate password_file=DIR/secret;' } },
  { row: 'a status page', parts: { location: 'lumen on; lumen_status;' } },
  { row: 'nothing gated needs nothing', parts: { zone: '', redis: '', secret: '', location: '' } },
];
for (const { row, parts } of ACCEPTED) {
  test(`accepted: ${row}`, () => {
    const { ok, output } = check(parts);
    assert.ok(ok, output);
  });
}

const REFUSED = [
  { row: 'zone without size', parts: { zone: 'lumen_zone lumen;' }, says: 'invalid number of arguments in "lumen_zone" directive' },
  { row: 'zone of no size', parts: { zone: 'lumen_zone lumen big;' }, says: 'invalid size "big" in lumen_zone' },
  { row: 'zone too small', parts: { zone: 'lumen_zone lumen 4k;' }, says: 'invalid size "4k" in lumen_zone' },
  { row: 'ring without size', parts: { zone: 'lumen_zone lumen 4m ring=DIR/ring;' }, says: 'invalid parameter "ring=DIR/ring" in lumen_zone' },
  { row: 'replay of no time', parts: { zone: 'lumen_zone lumen 4m replay=soon;' }, says: 'invalid parameter "replay=soon" in lumen_zone' },
  { row: 'unknown zone parameter', parts: { zone: 'lumen_zone lumen 4m size=4m;' }, says: 'invalid parameter "size=4m" in lumen_zone' },
  { row: 'two zones', parts: { zone: `${RIGHT.zone} ${RIGHT.zone}` }, says: '"lumen_zone" directive is duplicate' },
  { row: 'Redis without path', parts: { redis: 'lumen_redis unix:;' }, says: 'no path in lumen_redis "unix:"' },
  { row: 'Redis of no host', parts: { redis: 'lumen_redis no-such-host.invalid;' }, says: 'in lumen_redis "no-such-host.invalid"' },
  { row: 'Redis with a timeout of nothing', parts: { redis: 'lumen_redis 127.0.0.1 timeout=0;' }, says: 'invalid parameter "timeout=0" in lumen_redis' },
  { row: 'two Redis that are no Cluster', parts: { redis: 'lumen_redis 127.0.0.1:7000 127.0.0.1:7001;' }, says: 'lumen_redis: more than one address is for a "cluster"' },
  { row: 'a Redis Cluster on a socket', parts: { redis: 'lumen_redis unix:DIR/redis.sock cluster;' }, says: 'lumen_redis: the nodes of a "cluster" are named by HOST:PORT' },
  { row: 'Redis over TLS', parts: { redis: 'lumen_redis 127.0.0.1 tls;' }, says: '"tls" in lumen_redis needs hiredis 1.0 or newer' },
  { row: 'Redis with an unknown parameter', parts: { redis: 'lumen_redis 127.0.0.1 db=3;' }, says: 'invalid parameter "db=3" in lumen_redis' },
  { row: 'Redis user without password', parts: { redis: 'lumen_redis 127.0.0.1 user=gate;' }, says: 'lumen_redis: "user=" needs "password_file="' },
  { row: 'Redis password not readable', parts: { redis: 'lumen_redis 127.0.0.1 password_file=DIR/none;' }, says: 'lumen_redis: cannot read "DIR/none"' },
  { row: 'secret not readable', parts: { secret: 'lumen_secret_file DIR/none;' }, says: 'lumen_secret_file: cannot read "DIR/none"' },
  { row: 'secret empty', parts: { secret: 'lumen_secret_file DIR/empty;' }, says: 'lumen_secret_file: "DIR/empty" is empty' },
  { row: 'secret too long', parts: { secret: 'lumen_secret_file DIR/long;' }, says: 'lumen_secret_file: "DIR/long" is longer than 4096 bytes' },
  { row: 'previous secret not readable', parts: { secret: 'lumen_secret_file DIR/secret previous=DIR/none;' }, says: 'lumen_secret_file: cannot read "DIR/none"' },
  { row: 'previous secret that is the same', parts: { secret: 'lumen_secret_file DIR/secret previous=DIR/secret;' }, says: 'lumen_secret_file: "DIR/secret" holds the same secret as "DIR/secret"' },
  { row: 'another parameter of the secret', parts: { secret: 'lumen_secret_file DIR/secret next=DIR/secret;' }, says: 'invalid parameter "next=DIR/secret" in lumen_secret_file' },
  { row: 'two secrets', parts: { secret: 'lumen_secret_file DIR/secret; lumen_secret_file DIR/secret;' }, says: '"lumen_secret_file" directive is duplicate' },
  // Since 1.29.7 nginx puts keepalive last by itself.
  { row: 'keepalive before the balancer', parts: { upstream: 'keepalive 8; lumen_balancer;' }, says: 'lumen_balancer', until: '1.29.7' },
  { row: 'neither on nor off', parts: { location: 'lumen maybe;' }, says: 'in "lumen" directive' },
  { row: 'another status', parts: { location: 'lumen on; lumen_exhausted_status 403;' }, says: 'invalid value "403" in lumen_exhausted_status, it must be 402 or 429' },
  { row: 'no tries', parts: { location: 'lumen on; lumen_tries 0;' }, says: 'invalid value "0" in lumen_tries, it must be 1 to 16' },
  { row: 'too many tries', parts: { location: 'lumen on; lumen_tries 17;' }, says: 'invalid value "17" in lumen_tries, it must be 1 to 16' },
  { row: 'a status page with a parameter', parts: { location: 'lumen on; lumen_status json;' }, says: 'invalid number of arguments in "lumen_status" directive' },
  { row: 'drain of no time', parts: { location: 'lumen on; lumen_drain_aborted later;' }, says: '"lumen_drain_aborted" directive invalid value' },
];
for (const { row, parts } of REFUSED.filter(({ until }) => until && !nginxIsOlder(until)))
  test(`accepted: ${row}`, () => assert.ok(check(parts).ok));
for (const { row, parts, says } of REFUSED.filter(({ until }) => !until || nginxIsOlder(until))) {
  test(`refused: ${row}`, () => {
    const { ok, output } = check(parts);
    assert.ok(!ok, 'it was accepted');
    assert.ok(output.includes(says), output);
  });
}
