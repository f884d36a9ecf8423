// "+ New API Key": the server has made the key, it is shown this once, and works only after Save Key (P33–P41).
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, call, type Draft, type Key } from './api';
import { Dialog } from './dialog';

const maxNameCharacters = 64;

function problemWithName(name: string): string | null {
  const trimmed = name.trim();
  if (!trimmed) return 'Give the key a name.';
  if (Array.from(trimmed).length > maxNameCharacters) return `At most ${maxNameCharacters} characters.`;
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(trimmed)) return 'No control characters.';
  return null;
}

export function KeyDialog({ onSaved, onClosed }: { onSaved: (key: Key) => void; onClosed: () => void }) {
  const [draft, setDraft] = useState<Draft | null>(null);
  const [name, setName] = useState('');
  const [error, setError] = useState<string | null>(null);
  const [copied, setCopied] = useState<'no' | 'yes' | 'by hand'>('no');
  const [askBefore, setAskBefore] = useState<'save' | 'discard' | null>(null);
  const [busy, setBusy] = useState(false);
  const keyField = useRef<HTMLInputElement>(null);
  const nameField = useRef<HTMLInputElement>(null);

  useEffect(() => {
    call<Draft>('POST', '/me/keys/draft').then(setDraft, (problem: ApiError) => setError(problem.message));
  }, []);
  useEffect(() => keyField.current?.select(), [draft]);
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener('beforeunload', warn);
    return () => removeEventListener('beforeunload', warn);
  }, []);

  async function copy() {
    if (!draft) return;
    try {
      await navigator.clipboard.writeText(draft.key);
      setCopied('yes');
    } catch {
      keyField.current?.focus();
      keyField.current?.select();
      setCopied('by hand');
    }
  }

  async function save(evenIfNotCopied: boolean) {
    const problem = problemWithName(name);
    setError(problem);
    if (problem) return nameField.current?.focus();
    if (!draft) return;
    if (copied === 'no' && !evenIfNotCopied) return setAskBefore('save');
    setBusy(true);
    try {
      onSaved(await call<Key>('POST', '/me/keys', { draft_id: draft.draft_id, name: name.trim() }));
    } catch (failure) {
      setError((failure as ApiError).message);
      setBusy(false);
    }
  }

  async function discard(sure: boolean) {
    if (draft && !sure) return setAskBefore('discard');
    if (draft) await call('DELETE', `/me/keys/draft/${draft.draft_id}`).catch(() => undefined);
    onClosed();
  }

  return (
    <Dialog title="New API Key" onCancel={() => void discard(askBefore === 'discard')}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void save(false);
        }}
      >
        <label for="new-key">Your new key</label>
        <div class="field">
          <input
            id="new-key"
            ref={keyField}
            class="secret"
            readOnly
            value={draft?.key ?? ''}
            placeholder="Making a key…"
            autocomplete="off"
            spellcheck={false}
            aria-describedby="once"
          />
          <button type="button" disabled={!draft} onClick={() => void copy()}>
            Copy
          </button>
        </div>
        <p id="once" class="notice">
          ⚠ This key is shown only once. Copy it now — it cannot be retrieved later.
        </p>
        <p role="status" class="muted">
          {copied === 'yes' && 'Copied'}
          {copied === 'by hand' && 'Press Ctrl+C to copy the selected key'}
        </p>
        <label for="key-name">Name</label>
        <input
          id="key-name"
          ref={nameField}
          value={name}
          placeholder="my-research-script"
          autocomplete="off"
          aria-invalid={error !== null}
          aria-describedby="key-error"
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <p id="key-error" class="bad" role="alert">
          {error}
        </p>
        {askBefore && (
          <p class="notice" role="alert">
            {askBefore === 'save'
              ? 'You have not copied the key, and it will not be shown again. Save it anyway?'
              : 'The key will be lost: it has not been saved. Discard it?'}
          </p>
        )}
        <div class="actions">
          <button type="button" class="quiet" onClick={() => void discard(askBefore === 'discard')}>
            {askBefore === 'discard' ? 'Discard it' : 'Discard'}
          </button>
          {askBefore === 'save' ? (
            <button type="button" class="primary" disabled={busy} onClick={() => void save(true)}>
              Save it anyway
            </button>
          ) : (
            <button class="primary" disabled={!draft || busy}>
              Save Key
            </button>
          )}
        </div>
      </form>
    </Dialog>
  );
}
