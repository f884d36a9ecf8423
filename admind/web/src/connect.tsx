// /connect: everything ready to copy, for the models that the viewer may use (N1–N7).
import { all, textOf, type PublicModel } from './api';
import { CopyBlock } from './copy_block';
import { drawPage, Failed } from './shell';
import * as snippets from './snippets';
import { Tabs } from './tabs';
import { wearLastTheme } from './themes';
import { useUrlState } from './url_state';
import { welcome, type Visitor } from './visitor';

const nobodys: PublicModel = {
  name: 'MODEL',
  description: '',
  url: '',
  prices: {},
  context_window: null,
  max_output_tokens: null,
  knowledge_cutoff: null,
  supports_reasoning: null,
  supports_function_calling: null,
  input_modalities: [],
  output_modalities: [],
  status: 'ok',
  healthy: 0,
  endpoints: 0,
  last_checked_at: null,
  needs_ack: false,
  requests_1h: 0,
  requests_24h: 0,
};

function download(text: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
  link.download = 'opencode.json';
  link.click();
  URL.revokeObjectURL(link.href);
}

function OpenCode({ config }: { config: string }) {
  return (
    <>
      <CopyBlock id="opencode" caption="opencode.json" text={config} />
      <p>
        <button onClick={() => download(config)}>Download opencode.json</button>
      </p>
      <dl class="facts places">
        <dt>One project</dt>
        <dd>
          <code>opencode.json</code> in its folder
        </dd>
        <dt>All projects, macOS and Linux</dt>
        <dd>
          <code>~/.config/opencode/opencode.json</code>
        </dd>
        <dt>All projects, Windows</dt>
        <dd>
          <code>%USERPROFILE%\.config\opencode\opencode.json</code>
        </dd>
      </dl>
    </>
  );
}

function Program({ id, caption, text, model }: { id: string; caption: string; text: string; model: snippets.Called }) {
  const note = snippets.placeholderNote(snippets.callOf(model));
  return (
    <>
      <CopyBlock id={id} caption={caption} text={text} />
      {note && <p class="notice">{note}</p>}
    </>
  );
}

function Page({ usable, visitor }: { usable: PublicModel[]; visitor: Visitor }) {
  const { site, session } = visitor;
  const [wanted, setWanted] = useUrlState('model');
  const [tab, setTab] = useUrlState('tab');
  const base = `${site.public_url}/v1`;
  const model = usable.find(({ name }) => name === wanted) ?? usable[0] ?? nobodys;
  return (
    <>
      <h1>Connect your tools</h1>
      {!session.user && (
        <p class="notice">
          <a href={`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`}>Sign in</a> to see your models here. Until then MODEL stands
          for the name of one.
        </p>
      )}
      {session.user && usable.length === 0 && <p class="notice">No model is open to you yet; the profile page says why. MODEL stands for the name of one.</p>}
      <section aria-labelledby="needs-title">
        <h2 id="needs-title">Two things that every tool needs</h2>
        <CopyBlock id="base" caption="Base URL" text={base} />
        <p>
          An API key: <a href="/profile">make one on your profile</a>, and keep it in the environment instead of in your code.
        </p>
        <CopyBlock id="env-unix" caption="macOS and Linux" text={'export LUMEN_API_KEY="sk_..."'} />
        <CopyBlock id="env-windows" caption="Windows, PowerShell" text={'$env:LUMEN_API_KEY = "sk_..."'} />
      </section>
      <section aria-labelledby="examples-title">
        <div class="heading">
          <h2 id="examples-title">Ready to copy</h2>
          {usable.length > 0 && (
            <span>
              <label for="model">Model</label>{' '}
              <select id="model" value={model.name} onChange={(event) => setWanted(event.currentTarget.value)}>
                {usable.map(({ name }) => (
                  <option key={name} value={name}>
                    {name}
                  </option>
                ))}
              </select>
            </span>
          )}
        </div>
        <Tabs
          label="Tool"
          chosen={tab}
          onChoose={setTab}
          tabs={[
            { id: 'opencode', label: 'OpenCode', content: <OpenCode config={snippets.openCode(site.name, base, usable.length > 0 ? usable : [nobodys])} /> },
            { id: 'curl', label: 'curl', content: <Program id="curl" caption="In a terminal" text={snippets.curl(base, model)} model={model} /> },
            { id: 'python', label: 'Python', content: <Program id="python" caption="hello.py" text={snippets.python(base, model)} model={model} /> },
            { id: 'node', label: 'Node', content: <Program id="node" caption="hello.mjs" text={snippets.node(base, model)} model={model} /> },
          ]}
        />
      </section>
      <p>
        More about each of them: <a href="/help/connect">the guide</a>.
      </p>
    </>
  );
}

wearLastTheme();
Promise.all([all<PublicModel>('/models'), welcome()]).then(
  ([models, visitor]) => {
    const usable = visitor.session.user ? models.filter(({ access }) => access === 'allowed' || access === 'consented') : [];
    drawPage(<Page usable={usable} visitor={visitor} />);
  },
  (failure) => drawPage(<Failed title="Connect your tools" text={textOf(failure)} />),
);
