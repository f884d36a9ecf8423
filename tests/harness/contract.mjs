// What admind answers, held against the OpenAPI document that it serves (spec/rest.md §1): an unlisted path, status, media
// type or field is a finding. tests/admind/private_contract.h does the same for the C++ tests.

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const MOST_FINDINGS = 20;

const TYPES = {
  null: (value) => value === null,
  string: (value) => typeof value === 'string',
  integer: (value) => Number.isInteger(value),
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  array: Array.isArray,
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
};

/// What is wrong with `value`, or '' if nothing is. The document uses no more of JSON Schema than this.
function schemaViolation(document, schema, value, place) {
  const within = (part, member, where) => schemaViolation(document, part, member, where);
  if (schema.$ref) return within(document.components.schemas[schema.$ref.split('/').at(-1)], value, place);
  for (const part of schema.allOf ?? []) {
    const wrong = within(part, value, place);
    if (wrong) return wrong;
  }
  if (schema.anyOf && schema.anyOf.every((part) => within(part, value, place))) return `${place} is none of its types`;
  if (schema.type && ![schema.type].flat().some((type) => TYPES[type](value))) return `${place} is no ${schema.type}`;
  if (schema.enum && !schema.enum.includes(value)) return `${place} is not one of ${schema.enum}`;
  if (typeof value === 'string') {
    if (schema.format === 'date-time' && !TIME.test(value)) return `${place} is no time`;
    if (schema.pattern && !new RegExp(schema.pattern, 'u').test(value)) return `${place} does not match`;
  }
  if (Array.isArray(value)) {
    for (const [i, item] of (schema.items ? value : []).entries()) {
      const wrong = within(schema.items, item, `${place}[${i}]`);
      if (wrong) return wrong;
    }
  } else if (TYPES.object(value)) {
    const lacking = (schema.required ?? []).find((name) => !Object.hasOwn(value, name));
    if (lacking) return `${place} lacks \`${lacking}\``;
    for (const [name, member] of Object.entries(value)) {
      const listed = Object.hasOwn(schema.properties ?? {}, name) ? schema.properties[name] : schema.additionalProperties;
      if (listed === false) return `${place} has an unlisted field \`${name}\``;
      const wrong = listed && listed !== true ? within(listed, member, `${place}.${name}`) : '';
      if (wrong) return wrong;
    }
  }
  return '';
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
  return own && document.paths[own][method.toLowerCase()];
}

function violation(document, method, target, answer) {
  const operation = operationOf(document, method, target);
  if (!operation) return [400, 404, 405, 413].includes(answer.status) ? '' : `answers ${answer.status} without being a route`;
  const response = operation.responses[answer.status];
  if (!response) return `answers ${answer.status}, unlisted`;
  const type = (answer.headers.get('content-type') ?? '').split(';')[0];
  if (!response.content) return type ? `has a body in \`${type}\`, unlisted` : '';
  if (!response.content[type]) return `answers in \`${type}\`, unlisted`;
  return type.endsWith('json') ? schemaViolation(document, response.content[type].schema, answer.body, 'body') : '';
}

/// Checks answers and keeps what it found; a stack that stops fails with it.
export class Contract {
  constructor(url) {
    Object.assign(this, { url, findings: [], document: null });
  }

  /// `target`: the path from /api on, with its query; `answer`: {status, headers, body}.
  async check(method, target, answer) {
    // What nginx answers itself, as when admind is away, has no number of a request.
    if (!answer.headers.get('x-request-id') || this.findings.length >= MOST_FINDINGS) return;
    this.document ??= await fetch(`${this.url}/api/openapi.json`).then((served) => (served.ok ? served.json() : null)).catch(() => null);
    const wrong = this.document && violation(this.document, method, target, answer);
    if (wrong) this.findings.push(`openapi.json: ${method} ${target}: ${wrong}`);
  }
}
