// The one-time acknowledgment of a model's notice (P59, D3).
import { useState } from 'preact/hooks';
import { call, textOf } from './api';
import { Dialog } from './dialog';
import { MarkupView } from './markup_view';

interface Properties {
  model: string;
  noticeHtml: string | null;
  noticeVersion: number;
  onGiven: () => void;
  onClosed: () => void;
}

export function ConsentDialog({ model, noticeHtml, noticeVersion, onGiven, onClosed }: Properties) {
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  async function accept() {
    setBusy(true);
    try {
      await call('POST', '/me/consents', { model, notice_version: noticeVersion });
      onGiven();
    } catch (failure) {
      setError(textOf(failure));
      setBusy(false);
    }
  }
  return (
    <Dialog
      title={
        <>
          Enable <bdi>{model}</bdi>
        </>
      }
      onCancel={onClosed}
    >
      {noticeHtml ? <MarkupView html={noticeHtml} /> : <p>This model asks to be acknowledged once before use.</p>}
      <p class="muted">You are asked one time only. Your acknowledgment is kept with its date.</p>
      <p class="bad" role="alert">
        {error}
      </p>
      <div class="actions">
        <button onClick={onClosed}>Cancel</button>
        <button class="primary" disabled={busy} onClick={() => void accept()}>
          Accept
        </button>
      </div>
    </Dialog>
  );
}
