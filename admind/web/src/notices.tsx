// Who wants to hear of a wallet that runs empty, and how: only the ways that this site has.
import { useState } from 'preact/hooks';
import { call, textOf, type Me } from './api';

type Way = 'mail' | 'webhook';

export function Notices({ me, onChanged }: { me: Me; onChanged: () => Promise<void> }) {
  const [status, setStatus] = useState('');
  const [error, setError] = useState('');
  /** What was just chosen, until the page has been read again. */
  const [chosen, setChosen] = useState<Partial<Record<Way, boolean>>>({});
  const { notices } = me;
  const ways: { way: Way; offered: boolean; label: string }[] = [
    { way: 'mail', offered: notices.offers_mail, label: `by mail to ${me.email}` },
    { way: 'webhook', offered: notices.offers_webhook, label: 'through the webhook of this site' },
  ];
  const offered = ways.filter((each) => each.offered || notices[each.way]);
  if (offered.length === 0) return null;
  async function choose(way: Way, wanted: boolean) {
    setError('');
    setChosen({ [way]: wanted });
    try {
      await call('PATCH', '/me', { notices: { [way]: wanted } });
      setStatus(wanted ? 'Notices are on' : 'Notices are off');
    } catch (failure) {
      setError(textOf(failure));
    }
    await onChanged().catch(() => undefined);
    setChosen({});  // also after a failure: the box shows what holds
  }
  return (
    <section aria-labelledby="notices-title">
      <div class="heading">
        <h2 id="notices-title">Notices</h2>
      </div>
      <fieldset class="notices">
        <legend>Tell me when at most {notices.low_balance_percent} % of the limit are left, and when nothing is:</legend>
        {offered.map(({ way, label }) => (
          <label class="check" key={way}>
            <input type="checkbox" checked={chosen[way] ?? notices[way]} onChange={(event) => void choose(way, event.currentTarget.checked)} />
            <bdi>{label}</bdi>
          </label>
        ))}
      </fieldset>
      <p role="status" class="visually-hidden">
        {status}
      </p>
      <p class="bad" role="alert">
        {error}
      </p>
    </section>
  );
}
