// What admind answers, held against the OpenAPI document that it serves (spec/rest.md §1): an unlisted path, status, media
// type or field is a finding. tests/admind/private_contract.h does the same for the C++ tests.

import Ajv from 'ajv/dist/2020.js';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const MOST_FINDINGS = 20;

/// Each schema of the document is compiled when it is first asked for.
class Schemas {
  constructor(document) {
    this.ajv = new Ajv({ strict: false, formats: { 'date-time': TIME, int64: true, uri: true, email: true } });
    this.ajv.addSchema(document, 'openapi');
  }

  /// What is wrong with `value`, or '' if nothing is. `place`: the keys that lead to the schema.
  violation(place, value) {
    const pointer = place.map((key) => encodeURIComponent(key.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/');
    const fits = this.ajv.getSchema(`openapi#/${pointer}`);
    if (fits(value)) return '';
    return fits.errors.map(({ instancePath, message, params }) => `body${instancePath} ${message} ${params.additionalProperty ?? ''}`.trim()).join(', ');
  }
}

/// The path item that a request is for; `{name}` at the end takes the rest, and a path without braces wins.
function operationOf(document, method, target) {
  const path = target.split('?')[0];
  const candidates = Object.keys(document.paths).filter((template) => {
    const rest = template.endsWith('/{name}') ? '/.+' : '';
    const fixed = (rest ? template.slice(0, -'/{name}'.length) : template).replace(/\{[^}]+\}/g, '[^/]+');
    return new RegExp(`^${fixed}${rest}$`).test(path);
  }).sort((a, b) => a.split('{').length - b.split('{').length);
  const own = candidates.find((template) => document.paths[template][method.toLowerCase()]);
  return own && { place: ['paths', own, method.toLowerCase()], operation: document.paths[own][method.toLowerCase()] };
}

function violation(document, schemas, method, target, answer) {
  const found = operationOf(document, method, target);
  if (!found) return [400, 404, 405, 413].includes(answer.status) ? '' : `answers ${answer.status} without being a route`;
  const response = found.operation.responses[answer.status];
  if (!response) return `answers ${answer.status}, unlisted`;
  const type = (answer.headers.get('content-type') ?? '').split(';')[0];
  if (!response.content) return type ? `has a body in \`${type}\`, unlisted` : '';
  if (!response.content[type]) return `answers in \`${type}\`, unlisted`;
  if (!type.endsWith('json')) return '';
  return schemas.violation([...found.place, 'responses', `${answer.status}`, 'content', type, 'schema'], answer.body);
}

/// Checks answers and keeps what it found; a stack that stops fails with it.
export class Contract {
  constructor(url) {
    Object.assign(this, { url, findings: [], document: null, schemas: null });
  }

  /// `target`: the path from /api on, with its query; `answer`: {status, headers, body}.
  async check(method, target, answer) {
    // What nginx answers itself, as when admind is away, has no number of a request.
    if (!answer.headers.get('x-request-id') || this.findings.length >= MOST_FINDINGS) return;
    this.document ??= await fetch(`${this.url}/api/openapi.json`).then((served) => (served.ok ? served.json() : null)).catch(() => null);
    if (!this.document) return;
    this.schemas ??= new Schemas(this.document);
    const wrong = violation(this.document, this.schemas, method, target, answer);
    if (wrong) this.findings.push(`openapi.json: ${method} ${target}: ${wrong}`);
  }
}
