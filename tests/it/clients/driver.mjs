// Makes the calls of its argument with the Node client, and prints what came of each.

import { Client, RefusedError, VisavisError, readCredentials } from 'visavis-client';

const plan = JSON.parse(process.argv[2]);

// Seconds, as the plan has them.
const TIMES = ['freshness', 'limit', 'timeout'];
const options = Object.fromEntries(Object.entries(plan.options).map(([name, value]) => {
  if (TIMES.includes(name)) return [`${name}Ms`, 1_000 * value];
  return name === 'aes_bits' ? ['aesBits', value] : [name, value];
}));

function call(client, name, [first, second, third]) {
  switch (name) {
    case 'compare': return client.compare(first, second, third);
    case 'submit': return client.submit(first, second, third);
    case 'wait': return client.wait(first, second && { limitMs: 1_000 * second });
    case 'check': return client.check(first);
    case 'delete': return client.delete(first);
    default: return client.test(first);
  }
}

function failure(error) {
  if (!(error instanceof VisavisError)) throw error;
  const outcome = { error: error.name, message: error.message };
  if (!(error instanceof RefusedError)) return outcome;
  const { code, status, resultMessage, transactionId = null, retryAfterMs } = error;
  const retryAfter = retryAfterMs === undefined ? null : retryAfterMs / 1_000;
  return { ...outcome, code, status, reason: resultMessage, transactionId, retryAfter };
}

// What is undefined here is null in the plan's results.
const shown = (value) => JSON.parse(JSON.stringify(value ?? null, (_, v) => v ?? null));

async function steps(client) {
  const outcomes = [];
  let last = '';
  for (const [name, ...given] of plan.steps) {
    try {
      const value = shown(await call(client, name, given.map((one) => (one === '$' ? last : one))));
      outcomes.push({ value });
      if (name === 'submit') last = value;
    } catch (error) {
      outcomes.push(failure(error));
    }
  }
  return outcomes;
}

try {
  const client = new Client({ url: plan.url, credentials: await readCredentials(plan.client), ...options });
  const all = await Promise.all(Array.from({ length: plan.threads ?? 1 }, () => steps(client)));
  console.log(JSON.stringify(all.flat()));
} catch (error) {
  console.log(JSON.stringify([failure(error)]));
}
