// How else a gate could be put in front of model servers: nginx's auth_request to a service that always says yes, and a
// script in Lua (the packaged module) that sends Redis the very calls that the module sends for a request.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { buildDir, waitFor } from '../harness/machine.mjs';
import { BareNginx } from './bare_nginx.mjs';
import { chatBody } from './measure.mjs';

/// The service is a 204 of the bare nginx, whose time is not counted here.
export function authRequestNginx(stack, bare) {
  return new BareNginx(stack, 'auth-request', {
    http: `upstream authority { server ${new URL(bare.url).host}; keepalive 256; }`,
    server: `location = /authority {
            internal;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Content-Length "";
            proxy_pass_request_body off;
            proxy_pass http://authority/lumen/metrics;
        }`,
    location: 'auth_request /authority;',
  });
}

/// The least that is possible: a module that sends Redis as much as the gate does and does nothing else with a request.
export function roundTripNginx(stack) {
  return new BareNginx(stack, 'round-trip', {
    main: `load_module ${path.join(buildDir, 'tests/bench/round_trip_module.so')};`,
    location: `round_trip ${stack.instance.redis.socket};`,
  });
}

/// Arguments as MONITOR prints them.
function monitoredArguments(line) {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, text]) =>
    text.replace(/\\(x[0-9a-f]{2}|.)/g, (_, c) => ({ n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' })[c]
      ?? (c.length === 3 ? String.fromCharCode(parseInt(c.slice(1), 16)) : c)));
}

/// The first and the last script call that Redis gets for one request of the gate: admit and settle.
async function callsOfOneRequest(stack, key) {
  const monitor = spawn('redis-cli', ['-s', stack.instance.redis.socket, 'MONITOR'], { stdio: ['ignore', 'pipe', 'inherit'] });
  let lines = '';
  monitor.stdout.setEncoding('latin1').on('data', (part) => { lines += part; });
  try {
    await waitFor('the monitor', () => lines.startsWith('OK'));
    const response = await stack.fetch('/v1/chat/completions', { key, method: 'POST', body: chatBody, headers: { 'content-type': 'application/json' } });
    const id = response.headers.get('x-request-id');
    await response.text();
    const calls = () => lines.split('\n').filter((line) => line.includes('"EVALSHA"') && line.includes(id)).map(monitoredArguments);
    await waitFor('both calls', () => calls().length >= 2);
    return { id, admit: calls()[0], settle: calls().at(-1) };
  } finally {
    monitor.kill();
  }
}

/// A command as Redis reads it, cut where the request's id stands: a Lua table of strings.
function luaPieces(args, id) {
  const command = `*${args.length}\r\n${args.map((argument) => `$${argument.length}\r\n${argument}\r\n`).join('')}`;
  const quoted = (text) => `"${[...text].map((c) => `\\${String(c.charCodeAt(0)).padStart(3, '0')}`).join('')}"`;
  return `{${command.split(id).map(quoted).join(', ')}}`;
}

/// As a gate in Lua is usually written: a call in the access phase, one more in a timer after the answer, sockets kept.
/// It reads neither the body nor the usage, so what it does is less than what the module does.
export async function luaNginx(stack, key) {
  const { id, admit, settle } = await callsOfOneRequest(stack, key);
  return new BareNginx(stack, 'lua', {
    main: 'load_module /usr/lib/nginx/modules/ndk_http_module.so;\nload_module /usr/lib/nginx/modules/ngx_http_lua_module.so;',
    http: `lua_max_running_timers 4096;
    lua_max_pending_timers 16384;
    init_by_lua_block {
        local admit = ${luaPieces(admit, id)}
        local settle = ${luaPieces(settle, id)}
        local random, format = math.random, string.format
        local function ask(pieces, request)
            local socket = ngx.socket.tcp()
            if not socket:connect("unix:${stack.instance.redis.socket}") then return nil end
            socket:send(table.concat(pieces, request))
            local head = socket:receive("*l")
            local reply = head and head:byte() == 36 and socket:receive(tonumber(head:sub(2)) + 2) or head
            socket:setkeepalive(60000, 256)
            return reply
        end
        function lumen_admit()
            local request = format("%08x-%04x-7%03x-8%03x-%012x", random(0, 0x7fffffff), random(0, 0xffff),
                random(0, 0xfff), random(0, 0xfff), random(0, 0x7fffffff))
            local reply = ask(admit, request)
            -- The rates of an account that has any stand before the word.
            if not reply or not reply:find("OK ", 1, true) then return ngx.exit(503) end
            ngx.ctx.request = request
        end
        function lumen_settle()
            ngx.timer.at(0, function(_, request) ask(settle, request) end, ngx.ctx.request)
        end
    }
    init_worker_by_lua_block { math.randomseed(ngx.now() * 1000 + ngx.worker.pid()) }`,
    location: 'access_by_lua_block { lumen_admit() } log_by_lua_block { lumen_settle() }',
  });
}
