// A small SMTP server of a test's own, on loopback: EHLO, STARTTLS with a certificate made for it, AUTH PLAIN and LOGIN, and
// mails as they were taken. `answer` may refuse a mail: (mail) → undefined, or a line like `451 later`; `hang`: says nothing.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';

/// A certificate for `localhost` that signs itself: the file is also what has to be trusted.
export function makeCertificate(dir) {
  const [cert, key] = [path.join(dir, 'smtp.crt'), path.join(dir, 'smtp.key')];
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  return { certFile: cert, cert: readFileSync(cert), key: readFileSync(key) };
}

export class SmtpServer {
  mails = [];     // {from, to, text, secure, user}, those that were taken
  attempts = [];  // every mail that was offered, the refused ones too
  sockets = new Set();

  static async start(options = {}) {
    const server = Object.assign(new SmtpServer(), options);
    server.listener = net.createServer((socket) => server.#serve(socket));
    await new Promise((resolve) => server.listener.listen(0, '127.0.0.1', resolve));
    server.port = server.listener.address().port;
    return server;
  }

  close() {
    for (const socket of this.sockets) socket.destroy();
    this.listener.close();
  }

  #serve(plain) {
    const session = { socket: plain, secure: false, user: null, mail: {}, data: null, login: null };
    this.sockets.add(plain);
    plain.on('close', () => this.sockets.delete(plain));
    plain.on('error', () => {});
    if (this.hang) return;
    this.#read(session);
    this.#say(session, '220 test ESMTP');
  }

  #say(session, line) { session.socket.write(`${line}\r\n`); }

  #read(session) {
    let buffer = '';
    session.socket.on('data', (part) => {
      buffer += part.toString('latin1');
      for (let end = buffer.indexOf('\r\n'); end >= 0; end = buffer.indexOf('\r\n')) {
        const line = buffer.slice(0, end);
        buffer = buffer.slice(end + 2);
        this.#take(session, line);
      }
    });
  }

  #take(session, line) {
    if (session.data !== null) return this.#takeData(session, line);
    if (session.login) return this.#takeLogin(session, line);
    const [verb] = line.toUpperCase().split(' ');
    if (verb === 'EHLO') return this.#greet(session, line);
    if (verb === 'STARTTLS' && this.certificate) return this.#secure(session);
    if (verb === 'AUTH') return this.#authenticate(session, line);
    if (verb === 'MAIL' && this.users && !session.user) return this.#say(session, '530 authenticate first');
    if (verb === 'MAIL') session.mail = { from: /<(.*?)>/.exec(line)[1], to: [], secure: session.secure, user: session.user };
    if (verb === 'RCPT') session.mail.to.push(/<(.*?)>/.exec(line)[1]);
    if (verb === 'DATA') {
      session.data = [];
      return this.#say(session, '354 go on');
    }
    if (verb === 'QUIT') {
      this.#say(session, '221 bye');
      return session.socket.end();
    }
    return this.#say(session, ['MAIL', 'RCPT', 'RSET', 'NOOP'].includes(verb) ? '250 ok' : '502 not here');
  }

  #greet(session, line) {
    session.helo = line.slice(5);
    const offers = ['250-test', ...(this.certificate && !session.secure ? ['250-STARTTLS'] : []), ...(this.users ? ['250-AUTH PLAIN LOGIN'] : []), '250 8BITMIME'];
    this.#say(session, offers.join('\r\n'));
  }

  #secure(session) {
    this.#say(session, '220 go on');
    session.socket.removeAllListeners('data');
    const { cert, key } = this.certificate;
    const secured = new tls.TLSSocket(session.socket, { isServer: true, cert, key });
    secured.on('error', () => {});
    session.socket = secured;
    session.secure = true;
    this.#read(session);
  }

  #authenticate(session, line) {
    const [, method, initial] = line.split(' ');
    if (method.toUpperCase() === 'LOGIN') {
      session.login = { answers: [] };
      return this.#say(session, `334 ${Buffer.from('Username:').toString('base64')}`);
    }
    if (initial) return this.#judge(session, Buffer.from(initial, 'base64').toString().split('\0').slice(1));
    session.login = { plain: true };
    return this.#say(session, '334 ');
  }

  #takeLogin(session, line) {
    const { login } = session;
    const text = Buffer.from(line, 'base64').toString();
    session.login = null;
    if (login.plain) return this.#judge(session, text.split('\0').slice(1));
    login.answers.push(text);
    if (login.answers.length === 2) return this.#judge(session, login.answers);
    session.login = login;
    return this.#say(session, `334 ${Buffer.from('Password:').toString('base64')}`);
  }

  #judge(session, [user, password]) {
    const good = this.users?.[user] === password;
    if (good) session.user = user;
    this.#say(session, good ? '235 welcome' : '535 no');
  }

  #takeData(session, line) {
    if (line !== '.') {
      session.data.push(line.startsWith('.') ? line.slice(1) : line);
      return;
    }
    const mail = { ...session.mail, helo: session.helo, text: session.data.join('\r\n') };
    session.data = null;
    this.attempts.push(mail);
    const refusal = this.answer?.(mail);
    if (!refusal) this.mails.push(mail);
    this.#say(session, refusal ?? '250 taken');
  }
}

/// What a mail program would show: headers unfolded and decoded, and the text.
export function readMail({ text }) {
  const [head, ...rest] = text.split('\r\n\r\n');
  const headers = {};
  for (const line of head.replace(/\r\n[ \t]+/g, ' ').split('\r\n')) {
    const [, name, value] = /^([^:]+): (.*)$/.exec(line);
    const words = value.replace(/\?=\s+=\?/g, '?==?');
    headers[name.toLowerCase()] = words.replace(/=\?utf-8\?B\?(.*?)\?=/g, (_, encoded) => Buffer.from(encoded, 'base64').toString());
  }
  return { headers, body: Buffer.from(rest.join(''), 'base64').toString() };
}
