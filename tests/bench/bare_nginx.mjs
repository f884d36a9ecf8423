// The yardstick: the same nginx binary without the module, proxying to the same model server with the same settings. Its
// rivals (rivals.mjs) are this with something more in it.
import path from 'node:path';
import { freePort, makeServerDir, writeServerFile } from '../harness/machine.mjs';
import { Nginx } from '../harness/servers.mjs';

const conf = ({ dir, port, upstream, extra }) => `
${extra.main ?? ''}
worker_processes 1;
worker_rlimit_nofile 65536;
pid ${dir}/nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
http {
    access_log off;
    tcp_nopush on;
    keepalive_timeout 75s;
    keepalive_requests 100000000;
    client_body_temp_path ${dir}/lib/body;
    proxy_temp_path ${dir}/lib/proxy;
    fastcgi_temp_path ${dir}/lib/fastcgi;
    uwsgi_temp_path ${dir}/lib/uwsgi;
    scgi_temp_path ${dir}/lib/scgi;
    ${extra.http ?? ''}
    upstream models { server ${upstream}; keepalive 256; }
    server {
        listen 127.0.0.1:${port};
        ${extra.server ?? ''}
        location /v1/ {
            ${extra.location ?? ''}
            client_max_body_size 16m;
            client_body_buffer_size 16m;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Accept-Encoding "";
            proxy_buffering off;
            proxy_pass http://models;
        }
        location = /lumen/metrics { return 204; }
    }
}
`;

export class BareNginx {
  #server;
  #instance;

  /// `extra`: lines for the configuration's levels: {main, http, server, location}.
  constructor(stack, name = 'bare', extra = {}) {
    Object.assign(this, { stack, name, extra });
  }

  async start() {
    const port = await freePort();
    const dir = path.join(this.stack.dir, this.name);
    makeServerDir(dir);
    makeServerDir(path.join(dir, 'nginx'));
    makeServerDir(path.join(dir, 'nginx/lib'));
    makeServerDir(path.join(dir, 'log'));
    makeServerDir(path.join(dir, 'run'));
    this.url = `http://127.0.0.1:${port}`;
    this.#instance = { stateDir: dir, url: this.url, processOptions: (name) => ({ name, stateDir: dir, lifetime: 'ours' }) };
    this.#server = new Nginx(this.#instance, 'nginx', port);
    writeServerFile(path.join(dir, 'nginx/nginx.conf'), conf({
      dir: path.join(dir, 'nginx'), port, upstream: `127.0.0.1:${this.stack.modelServers[0].port}`, extra: this.extra,
    }));
    await this.#server.start();
  }

  workers() { return this.#server.workers(); }
  stop() { return this.#server.stop(); }
}
