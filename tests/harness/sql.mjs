// Rows of a query through psql: objects of strings (amounts stay exact), null for null.
import { spawn } from 'node:child_process';
import { serverEnvironment } from './machine.mjs';

const NULL = '\\N';

/// RFC 4180, as psql writes it.
export function parseCsv(text) {
  const rows = [];
  let row = [];
  let at = 0;
  while (at < text.length) {
    let field = '';
    if (text[at] === '"') {
      for (at++; text[at] !== '"' || text[at + 1] === '"'; at++) {
        if (text[at] === '"') at++;
        field += text[at];
      }
      at++;
    } else {
      const end = text.slice(at).search(/[,\n]/);
      field = end < 0 ? text.slice(at) : text.slice(at, at + end);
      at += field.length;
      if (field === NULL) field = null;
    }
    row.push(field);
    if (text[at] === '\n' || at >= text.length) {
      rows.push(row);
      row = [];
    }
    at++;
  }
  return rows;
}

/// Runs one statement against a postgresql:// URL. Parameters are psql variables, quoted there: `:'name'`.
export async function sql(url, statement, parameters = {}) {
  const variables = Object.entries(parameters).flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  const psql = spawn('psql', ['-X', '-q', '--csv', '-P', `null=${NULL}`, '-v', 'ON_ERROR_STOP=1', ...variables, url],
    { env: { ...serverEnvironment, PGCLIENTENCODING: 'UTF8' }, stdio: ['pipe', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) psql[name].setEncoding('utf8').on('data', (text) => { output[name] += text; });
  psql.stdin.on('error', () => {});  // psql may end before it has read all; its exit code tells
  psql.stdin.end(statement);
  const code = await new Promise((resolve, reject) => psql.on('error', reject).on('close', resolve));
  if (code !== 0) throw new Error(`psql: ${output.stderr.trim()}\n${statement}`);
  const [names, ...rows] = parseCsv(output.stdout);
  if (!names) return [];
  return rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])));
}
