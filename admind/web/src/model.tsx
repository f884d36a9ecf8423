// /models/NAME: one model (D1–D8). The name is the rest of the path and may hold slashes.
import { useEffect, useState } from 'preact/hooks';
import { ApiError, call, textOf, type PublicModel } from './api';
import { ConsentDialog } from './consent';
import * as format from './format';
import { safeUrl } from './markup';
import { MarkupView } from './markup_view';
import { Fact, isPriced, ModelStatus, otherMeters, Price, yesOrNo } from './model_facts';
import { drawPage } from './shell';
import { wearLastTheme } from './themes';
import { Amount, modelPath, Moment } from './values';
import { welcome, type Visitor } from './visitor';

const prefix = '/models/';
const name = location.pathname.slice(prefix.length).split('/').map(decodeURIComponent).join('/');
const restPath = modelPath(name);

function AccessCard({ model, signedIn, onGiven }: { model: PublicModel; signedIn: boolean; onGiven: () => void }) {
  const [asking, setAsking] = useState(false);
  return (
    <div class="panel">
      <h2>Access</h2>
      {model.status === 'disabled' && <p class="bad">This model is turned off at the moment, so nobody can use it.</p>}
      {!signedIn && (
        <p>
          <a href={`/sign-in?next=${encodeURIComponent(location.pathname)}`}>Sign in</a> to see whether you may use it.
        </p>
      )}
      {model.access === 'blocked' && (
        <p>
          <span class="badge blocked">✕ Blocked</span> This model is not available to you. An administrator can change that.
        </p>
      )}
      {model.access === 'allowed' && (
        <p>
          <span class="badge allowed">✓ Allowed</span>
        </p>
      )}
      {model.access === 'consented' && (
        <p>
          <span class="badge consented">✓ Consented</span>{' '}
          <span class="muted">
            acknowledged <Moment at={model.consented_at ?? null} never="" stop />
          </span>
        </p>
      )}
      {model.access === 'need_consent' && (
        <>
          <p>It wants its notice acknowledged once before you use it.</p>
        </>
      )}
      {asking && (
        <ConsentDialog
          model={model.name}
          noticeHtml={model.notice_html ?? null}
          noticeVersion={model.notice_version ?? 1}
          onClosed={() => setAsking(false)}
          onGiven={() => {
            setAsking(false);
            onGiven();
          }}
        />
      )}
      {signedIn && model.access !== 'blocked' && model.status !== 'disabled' && (
        <div class="buttons">
          {model.access === 'need_consent' && (
            <button class="warn" onClick={() => setAsking(true)}>
              <span aria-hidden="true">⚠</span> Need Consent
            </button>
          )}
          <a class="button primary" href={`/connect?model=${encodeURIComponent(model.name)}`}>
            Use this model
          </a>
        </div>
      )}
    </div>
  );
}

function Availability({ model }: { model: PublicModel }) {
  return (
    <div class="panel">
      <h2>Availability</h2>
      <dl class="facts">
        <Fact name="Status">
          <ModelStatus model={model} />
        </Fact>
        <Fact name="Endpoints">
          {model.healthy} / {model.endpoints}
        </Fact>
        <Fact name="Requests / hour">{format.count(model.requests_1h)}</Fact>
        <Fact name="Requests / 24 h">{format.count(model.requests_24h)}</Fact>
        {model.endpoint_states?.map((endpoint) => (
          <Fact key={endpoint.id} name={endpoint.id}>
            {endpoint.healthy === null ? 'not known' : endpoint.healthy ? 'up' : `down${endpoint.reason ? `: ${endpoint.reason}` : ''}`}
          </Fact>
        ))}
      </dl>
    </div>
  );
}

/** Only what is known (D5). */
function Details({ model }: { model: PublicModel }) {
  const facts = [
    model.context_window !== null && <Fact name="Context">{format.count(model.context_window)} tokens</Fact>,
    model.max_output_tokens !== null && <Fact name="Longest answer">{format.count(model.max_output_tokens)} tokens</Fact>,
    model.input_modalities.length > 0 && <Fact name="Input">{model.input_modalities.join(', ')}</Fact>,
    model.output_modalities.length > 0 && <Fact name="Output">{model.output_modalities.join(', ')}</Fact>,
    model.knowledge_cutoff && <Fact name="Knowledge until">{model.knowledge_cutoff}</Fact>,
    model.supports_reasoning !== null && <Fact name="Reasoning">{yesOrNo(model.supports_reasoning)}</Fact>,
    model.supports_function_calling !== null && <Fact name="Function calling">{yesOrNo(model.supports_function_calling)}</Fact>,
  ].filter(Boolean);
  if (facts.length === 0) return null;
  return (
    <div class="panel">
      <h2>Details</h2>
      <dl class="facts">{facts}</dl>
    </div>
  );
}

function Pricing({ model }: { model: PublicModel }) {
  const same = (meter: string, base: string) => model.prices[meter]?.nano === model.prices[base]?.nano;
  const usual: Record<string, string> = {
    cached_per_million: 'input_per_million',
    cache_write_per_million: 'input_per_million',
    reasoning_per_million: 'output_per_million',
  };
  return (
    <div class="panel">
      <h2>Price in coins</h2>
      <dl class="facts">
        <Fact name="1M input tokens">
          <Price of={model.prices.input_per_million} />
        </Fact>
        <Fact name="1M output tokens">
          <Price of={model.prices.output_per_million} />
        </Fact>
        {isPriced(model, 'audio_per_hour') && (
          <Fact name="An hour of audio">
            <Price of={model.prices.audio_per_hour} />
          </Fact>
        )}
        {otherMeters
          .filter(([meter]) => isPriced(model, meter) && !same(meter, usual[meter] ?? ''))
          .map(([meter, label]) => (
            <Fact key={meter} name={label}>
              <Price of={model.prices[meter]} />
            </Fact>
          ))}
      </dl>
    </div>
  );
}

function MyUse({ model }: { model: PublicModel }) {
  const { use } = model;
  if (!use || use.requests === 0) return null;
  return (
    <div class="panel">
      <h2>Your use</h2>
      <dl class="facts">
        <Fact name="Requests">{format.count(use.requests)}</Fact>
        <Fact name="Tokens">{format.count(use.tokens)}</Fact>
        <Fact name="Coins">
          <Amount value={use.coins} stop />
        </Fact>
        <Fact name="Last used">
          <Moment at={use.last_used_at} never="—" stop />
        </Fact>
      </dl>
    </div>
  );
}

/** Fetched by the server from Hugging Face, when the model comes from there (D2). */
function Readme({ model }: { model: PublicModel }) {
  const [html, setHtml] = useState<string | null>(null);
  const [missing, setMissing] = useState(false);
  const there = /^https:\/\/huggingface\.co\//.test(model.url);
  useEffect(() => {
    if (!there) return;
    call<{ html: string | null }>('GET', `/readmes${restPath.slice('/models'.length)}`).then(
      (answer) => (answer.html === null ? setMissing(true) : setHtml(answer.html)),
      () => setMissing(true),
    );
  }, []);
  if (!there) return null;
  return (
    <section class="readme" aria-labelledby="readme-title">
      <h2 id="readme-title">README</h2>
      {missing && <p class="muted">README unavailable.</p>}
      {html === null && !missing && <p class="muted">Fetching it…</p>}
      {html !== null && <MarkupView html={html} />}
    </section>
  );
}

function Page({ first, visitor }: { first: PublicModel; visitor: Visitor }) {
  const [model, setModel] = useState(first);
  const load = () => call<PublicModel>('GET', restPath).then(setModel, () => undefined);
  const url = safeUrl(model.url);
  return (
    <>
      <a class="back" href="/models">
        ← Models
      </a>
      <h1>
        <bdi>{model.name}</bdi>{' '}
        {url && (
          <a class="external" href={url} rel="noreferrer">
            its page ↗
          </a>
        )}
      </h1>
      <div class="columns">
        <div>
          <p>{model.description || 'No description available.'}</p>
          <Readme model={model} />
        </div>
        <div>
          <AccessCard model={model} signedIn={visitor.session.user !== null} onGiven={() => void load()} />
          <Availability model={model} />
          <Details model={model} />
          <Pricing model={model} />
          <MyUse model={model} />
        </div>
      </div>
    </>
  );
}

function Failed({ failure }: { failure: unknown }) {
  const unknown = failure instanceof ApiError && failure.status === 404;
  return (
    <>
      <a class="back" href="/models">
        ← Models
      </a>
      <h1>{unknown ? 'No such model' : 'Model'}</h1>
      <p role="alert" class={unknown ? '' : 'bad'}>
        {unknown ? `There is no model called “${name}”, or it is not for you to see.` : textOf(failure)}
      </p>
    </>
  );
}

wearLastTheme();
document.title = document.title.replace('Model', name);
const visitor = welcome();
Promise.all([call<PublicModel>('GET', restPath), visitor]).then(
  ([model, who]) => drawPage(<Page first={model} visitor={who} />),
  (failure) => drawPage(<Failed failure={failure} />),
);
