// What `./lumen up` prints at its end.
const plain = !process.stdout.isTTY || process.env.NO_COLOR !== undefined || process.env.TERM === 'dumb';
const bold = (text) => (plain ? text : `\x1b[1m${text}\x1b[0m`);
const faint = (text) => (plain ? text : `\x1b[2m${text}\x1b[0m`);

const WIDTH = 76;

/// Words in lines of at most WIDTH, the later ones below the first.
function wrap(text, indent) {
  const lines = [''];
  for (const word of text.split(/\s+/)) {
    const last = lines[lines.length - 1];
    if (last === '') lines[lines.length - 1] = word;
    else if (indent + last.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join(`\n${' '.repeat(indent)}`);
}

const facts = (pairs) => pairs.map(([name, value]) => `    ${faint(name.padEnd(10))}${wrap(value, 14)}\n`).join('');

/// A row as `psql -x` shows it.
function expanded(row) {
  const width = Math.max(...Object.keys(row).map((name) => name.length));
  return Object.entries(row).map(([name, value]) => `    ${faint(name.padEnd(width))} | ${value ?? ''}\n`).join('');
}

export function describe(instance, { report, key, email }) {
  return `
${bold(`Lumen is running at ${instance.url}`)}

  One chat completion went through the gate:

${facts([
    ['question', report.question],
    ['answer', report.answer],
    ['model', report.model],
    ['tokens', `${report.tokensIn} in, ${report.tokensOut} out`],
    ['price', `${report.cost} coins (${report.tokensIn} × ${report.priceIn} + ${report.tokensOut} × ${report.priceOut} per million tokens)`],
    ['balance', `${report.before} → ${report.after} coins`],
  ])}
  Its row in the ledger, as Postgres has it (amounts in nano-coins):

${expanded(report.row)}
  Profile page  ${instance.url}/profile  ${faint(`(this machine signs you in as ${email})`)}

  Try it yourself:

    curl ${instance.url}/v1/chat/completions \\
      -H 'Authorization: Bearer ${key}' \\
      -H 'Content-Type: application/json' \\
      -d '{"model": "${report.model}", "messages": [{"role": "user", "content": "Hello!"}]}'

  ${faint('eval "$(./lumen env)"')}  names it all in your shell; ${faint('./lumen down')}  stops it.
`;
}
