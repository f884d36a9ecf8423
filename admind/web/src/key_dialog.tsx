// "+ New API Key": the server has made the key, it is shown this once, and works only after Save Key (P33–P41). The secret
// lives in the field and nowhere else: no state and no closure holds it, and closing empties the field (B28).
import { useEffect, useRef, useState } from 'preact/hooks';
import { call, textOf, type Draft, type Key } from './api';
import { Dialog } from './dialog';

const maxNameCharacters = 64;
const dayMs = 24 * 3_600_000;

function problemWithName(name: string): string | null {
  const trimmed = name.trim();
  if (!trimmed) return 'Give the key a name.';
  if (Array.from(trimmed).length > maxNameCharacters) return `At most ${maxNameCharacters} characters.`;
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f]/.test(trimmed)) return 'No control characters.';
  return null;
}

function problemWithBudget(coins: string): string | null {
  return coins.trim() === '' || /^\d{1,7}(\.\d{1,9})?$/.test(coins.trim()) ? null : 'A number of coins, such as 5 or 0.25.';
}

interface Options {
  coins: string;
  period: string;
  days: string;
  models: string[];
}
const noOptions: Options = { coins: '', period: 'week', days: '', models: [] };

function wishesOf({ coins, period, days, models }: Options): object {
  return {
    ...(coins.trim() ? { budget: { coins: coins.trim(), period } } : {}),
    ...(days ? { expires_at: new Date(Date.now() + Number(days) * dayMs).toISOString() } : {}),
    ...(models.length > 0 ? { models } : {}),
  };
}

function OptionFields({ options, models, onChange }: { options: Options; models: string[]; onChange: (options: Options) => void }) {
  return (
    <details class="options">
      <summary>Options</summary>
      <div class="fields">
        <label>
          Spends at most
          <input
            inputMode="decimal"
            placeholder="any number of"
            value={options.coins}
            aria-describedby="budget-error"
            onInput={(event) => onChange({ ...options, coins: event.currentTarget.value })}
          />
        </label>
        <label>
          coins
          <select value={options.period} onChange={(event) => onChange({ ...options, period: event.currentTarget.value })}>
            <option value="day">a day</option>
            <option value="week">a week</option>
            <option value="month">in 30 days</option>
            <option value="total">in all</option>
          </select>
        </label>
        <label>
          Expires
          <select value={options.days} onChange={(event) => onChange({ ...options, days: event.currentTarget.value })}>
            <option value="">never</option>
            <option value="30">in 30 days</option>
            <option value="60">in 60 days</option>
            <option value="90">in 90 days</option>
            <option value="365">in a year</option>
          </select>
        </label>
      </div>
      <p id="budget-error" class="bad" role="alert">
        {problemWithBudget(options.coins)}
      </p>
      {models.length > 0 && (
        <label class="models">
          Only these models (none chosen: all)
          <select
            multiple
            size={Math.min(6, models.length)}
            onChange={(event) => onChange({ ...options, models: [...event.currentTarget.selectedOptions].map((option) => option.value) })}
          >
            {models.map((model) => (
              <option key={model} value={model}>
                {model}
              </option>
            ))}
          </select>
        </label>
      )}
    </details>
  );
}

interface Properties {
  /** Names of keys that are there: another of the same name is allowed, with a note. */
  taken: string[];
  /** Names of models a key may be bound to; none: the choice is not offered. */
  models: string[];
  onSaved: (key: Key) => void;
  onClosed: () => void;
}

export function KeyDialog({ taken, models, onSaved, onClosed }: Properties) {
  const [draftId, setDraftId] = useState<string | null>(null);
  const [name, setName] = useState('');
  const [options, setOptions] = useState(noOptions);
  const [error, setError] = useState<string | null>(null);
  const [copied, setCopied] = useState<'no' | 'yes' | 'by hand'>('no');
  const [asked, setAsked] = useState<'save' | 'discard' | null>(null);
  const [busy, setBusy] = useState(false);
  const keyField = useRef<HTMLInputElement>(null);
  const nameField = useRef<HTMLInputElement>(null);

  useEffect(() => {
    const field = keyField.current;
    let closed = false;
    call<Draft>('POST', '/me/keys/draft').then(
      (draft) => {
        if (closed) {
          void call('DELETE', `/me/keys/draft/${draft.draft_id}`).catch(() => undefined);
        } else if (field) {
          field.value = draft.key;
          field.focus();
          field.select();
          field.scrollLeft = 0;
          setDraftId(draft.draft_id);
        }
        draft.key = '';
      },
      (failure) => setError(textOf(failure)),
    );
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener('beforeunload', warn);
    return () => {
      closed = true;
      if (field) field.value = '';
      removeEventListener('beforeunload', warn);
    };
  }, []);

  async function copy() {
    const field = keyField.current;
    if (!field || !draftId) return;
    try {
      await navigator.clipboard.writeText(field.value);
      setCopied('yes');
    } catch {
      // No permission, or a page without TLS: the person does it by hand.
      field.focus();
      field.select();
      setCopied('by hand');
    }
  }

  async function save(sure: boolean) {
    const problem = problemWithName(name);
    setError(problem);
    if (problem) return nameField.current?.focus();
    if (!draftId || problemWithBudget(options.coins)) return;
    if (copied === 'no' && !sure) return setAsked('save');
    setBusy(true);
    try {
      onSaved(await call<Key>('POST', '/me/keys', { draft_id: draftId, name: name.trim(), ...wishesOf(options) }));
    } catch (failure) {
      setError(textOf(failure));
      setBusy(false);
    }
  }

  async function discard() {
    if (draftId && asked !== 'discard') return setAsked('discard');
    onClosed();
    if (draftId) await call('DELETE', `/me/keys/draft/${draftId}`).catch(() => undefined);
  }

  return (
    <Dialog title="New API Key" onCancel={() => void discard()}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void save(asked === 'save');
        }}
      >
        <label for="new-key">Your new key</label>
        <div class="field">
          <input
            id="new-key"
            ref={keyField}
            class="secret"
            readOnly
            placeholder="Making a key…"
            autocomplete="off"
            spellcheck={false}
            aria-describedby="once"
            onCopy={() => setCopied('yes')}
          />
          <button type="button" disabled={!draftId} onClick={() => void copy()}>
            {copied === 'yes' ? '✓ Copied' : 'Copy'}
          </button>
        </div>
        <p role="status" class="muted">
          {copied === 'yes' && 'Copied'}
          {copied === 'by hand' && 'Press Ctrl+C to copy the selected key'}
        </p>
        <p id="once" class="notice">
          <span aria-hidden="true">⚠ </span>This key is shown only once. Copy it now — it cannot be retrieved later.
        </p>
        <label for="key-name">Name</label>
        <input
          id="key-name"
          ref={nameField}
          value={name}
          placeholder="my-research-script"
          autocomplete="off"
          aria-required="true"
          aria-invalid={error !== null}
          aria-describedby="key-error key-note"
          onInput={(event) => {
            setName(event.currentTarget.value);
            setError(null);
          }}
        />
        <p id="key-error" class="bad" role="alert">
          {error}
        </p>
        <p id="key-note" class="muted">
          {taken.includes(name.trim()) && 'You have another key of this name; the hint tells them apart.'}
        </p>
        <OptionFields options={options} models={models} onChange={setOptions} />
        <p class={asked ? 'notice' : 'visually-hidden'} role="alert">
          {asked === 'save' && 'You have not copied the key, and it will not be shown again. Save it anyway?'}
          {asked === 'discard' && 'The key will be lost: it has not been saved. Discard it?'}
        </p>
        <div class="actions">
          <button type="button" onClick={() => void discard()}>
            {asked === 'discard' ? 'Discard it' : 'Discard'}
          </button>
          <button class="primary" disabled={!draftId || busy}>
            {asked === 'save' ? 'Save it anyway' : 'Save Key'}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
