// Coins Available and Refill Rate: every state of a pool (P14–P24, F1–F5), and how long it lasts.
import { useEffect, useState } from 'preact/hooks';
import type { Budget, Forecast } from './api';
import * as format from './format';
import type { ServerClock } from './server_clock';
import { Amount } from './values';

const hourMs = 3_600_000n;

/** Share of `limit`, 0…1, for the width of a bar only. */
function share(part: bigint, limit: bigint): number {
  if (limit <= 0n || part <= 0n) return 0;
  return part >= limit ? 1 : Number((part * 10_000n) / limit) / 10_000;
}

/** There is a bar if there is a limit above zero: free coins solid, held ones hatched (P23). */
function Meter({ budget }: { budget: Budget }) {
  if (!format.isPositive(budget.limit) || !budget.available) return null;
  const limit = BigInt(budget.limit.nano);
  const available = BigInt(budget.available.nano);
  const free = BigInt((budget.free ?? budget.available).nano);
  const clamped = available < 0n ? '0' : available > limit ? budget.limit.coins : budget.available.coins;
  return (
    <div
      class="meter"
      role="meter"
      aria-label="Coins available"
      aria-valuemin={0}
      aria-valuemax={Number(budget.limit.coins)}
      aria-valuenow={Number(clamped)}
      aria-valuetext={`${format.coins(budget.available)} of ${format.spoken(budget.limit)} coins`}
    >
      <span class="held" style={{ width: `${share(available, limit) * 100}%` }} />
      <span class="free" style={{ width: `${share(free, limit) * 100}%` }} />
    </div>
  );
}

/** When the first refill that lifts the balance above zero comes; null: none does. */
export function nextPossibleAt(budget: Budget): number | null {
  const { available, refill_per_hour: rate, limit, next_refill_at: next } = budget;
  if (!available || !next || !format.isPositive(rate) || !format.isPositive(limit)) return null;
  const missing = -BigInt(available.nano);
  const refills = missing / BigInt(rate.nano) + 1n;
  return Date.parse(next) + Number((refills - 1n) * hourMs);
}

function Exhausted({ budget, now }: { budget: Budget; now: number }) {
  const at = nextPossibleAt(budget);
  return (
    <p class="state bad">
      <strong>Budget exhausted.</strong> {at === null ? 'Ask an admin for more coins.' : `Next request possible in ${format.wait(at - now)}.`}
    </p>
  );
}

function Holds({ budget }: { budget: Budget }) {
  const running = budget.running === null ? 'running requests' : format.plural(budget.running, 'running request');
  if (!format.isPositive(budget.free)) return <p class="state warn">all held by {running}</p>;
  if (!format.isPositive(budget.held)) return null;
  return (
    <p class="state">
      <Amount value={budget.free} /> free · <Amount value={budget.held} /> held by {running}
    </p>
  );
}

/** `now`: the server's time, in ms. */
export function Balance({ budget, now }: { budget: Budget; now: number }) {
  if (budget.state === 'unlimited') return <p class="big">Unlimited</p>;
  if (budget.state === 'none' || !budget.available) {
    return (
      <p class="big" role="img" aria-label="No budget has been set up for your account" title="No budget has been set up for your account">
        —
      </p>
    );
  }
  const exhausted = budget.state === 'blocked' || !format.isPositive(budget.available);
  const low = !exhausted && budget.limit !== null && BigInt(budget.available.nano) * 5n <= BigInt(budget.limit.nano);
  return (
    <>
      <p class="big">
        <Amount value={budget.available} stop />
        {budget.limit && (
          <span class="of">
            {' / '}
            <Amount value={budget.limit} />
          </span>
        )}
        {low && <span class="badge degraded">low</span>}
      </p>
      <Meter budget={budget} />
      {exhausted ? <Exhausted budget={budget} now={now} /> : <Holds budget={budget} />}
    </>
  );
}

/** Ticks every second by the server's clock; at zero `onDue` asks for what the refill has made of it (P15, P16). */
export function useNow(clock: ServerClock, due: string | null, onDue: () => void): number {
  const [now, setNow] = useState(clock);
  useEffect(() => {
    let told = false;
    const timer = setInterval(() => {
      const at = clock();
      setNow(at);
      if (due === null || at < Date.parse(due) || told) return;
      told = true;
      onDue();
    }, 1000);
    return () => clearInterval(timer);
  }, [clock, due]);
  return now;
}

export function Refill({ budget, now }: { budget: Budget; now: number }) {
  if (budget.state !== 'limited' || !format.isPositive(budget.refill_per_hour)) return <p class="big">—</p>;
  return (
    <>
      <p class="big">
        +<Amount value={budget.refill_per_hour} stop /> <span class="of">/ hour</span>
      </p>
      {budget.next_refill_at && (
        <p class="state" role="timer">
          next in <span class="number">{format.countdown(Date.parse(budget.next_refill_at) - now)}</span>
        </p>
      )}
    </>
  );
}

function Why({ forecast, budget }: { forecast: Forecast; budget: Budget }) {
  if (!forecast.burn_per_hour) return null;
  const window = forecast.window_hours === 24 ? '24 hours' : '7 days';
  return (
    <details class="why">
      <summary>why?</summary>
      <p>
        In the last {window} you used <Amount value={forecast.window_coins} /> coins: ÷ {forecast.window_hours} h ={' '}
        <Amount value={forecast.burn_per_hour} /> an hour.{' '}
        {forecast.refill_per_hour && format.isPositive(forecast.refill_per_hour) ? (
          <>
            The refill brings <Amount value={forecast.refill_per_hour} /> an hour.
          </>
        ) : (
          'There is no refill.'
        )}{' '}
        {budget.available && forecast.runs_out_at && (
          <>
            Lasts for balance ÷ (use − refill): <Amount value={budget.available} /> ÷ (<Amount value={forecast.burn_per_hour} /> −{' '}
            {forecast.refill_per_hour ? <Amount value={forecast.refill_per_hour} /> : '0'}).
          </>
        )}
      </p>
    </details>
  );
}

/** How long it lasts at this pace (F4, F5). */
export function Outlook({ forecast, budget }: { forecast: Forecast; budget: Budget }) {
  const { burn_per_hour: burn, refill_per_hour: refill } = forecast;
  const rates = burn && (
    <>
      (using <Amount value={burn} />
      /h
      {refill && format.isPositive(refill) && (
        <>
          , refill <Amount value={refill} />
          /h
        </>
      )}
      )
    </>
  );
  switch (forecast.state) {
    case 'no_limit':
    case 'exhausted':
      return null;
    case 'not_enough_use':
      return <p class="state">Not enough use yet for a forecast</p>;
    case 'refill_covers':
      return (
        <div class="state outlook">
          Refill covers your use {rates} <Why forecast={forecast} budget={budget} />
        </div>
      );
    case 'beyond':
      return (
        <div class="state outlook">
          At this pace lasts more than 90 days {rates} <Why forecast={forecast} budget={budget} />
        </div>
      );
    case 'runs_out':
      return (
        <div class="state outlook">
          At this pace lasts until <strong>{forecast.runs_out_at && format.toTheHour(forecast.runs_out_at)}</strong> {rates}{' '}
          <Why forecast={forecast} budget={budget} />
        </div>
      );
  }
}
