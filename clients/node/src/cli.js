#!/usr/bin/env node
// Compares two photos. `visavis-client --help` describes the arguments.

import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';

import { Client, CredentialsError, RefusedError, readCredentials } from './index.js';
import { reason } from './credentials.js';

const USAGE = `usage: visavis-client PHOTO PHOTO [--client FILE] [--url URL] [--encrypt | --aksk]
                      [--async] [--ca FILE] [--limit SECONDS]

Compares two photos and prints the JSON of the response. Exit code: 0 if resultStatus is S, 1 if it
is F or U, 2 without a valid response.

  --client FILE    file of visavis client add --out; without it the keys come from the variables
                   VISAVIS_CLIENT_ID, VISAVIS_MERCHANT_PRIVATE_KEY and VISAVIS_SERVER_PUBLIC_KEY
  --url URL        scheme, host and port of the server [default: VISAVIS_URL, or
                   http://127.0.0.1:8080]
  --encrypt        encrypt request and response
  --aksk           sign with access key and secret key
  --async          submit the photos, then poll
  --ca FILE        PEM file of the certificates to trust
  --limit SECONDS  time for everything [default: 120]`;

function credentialsFromEnvironment() {
  const {
    VISAVIS_CLIENT_ID: clientId, VISAVIS_MERCHANT_PRIVATE_KEY: merchantPrivateKey,
    VISAVIS_SERVER_PUBLIC_KEY: serverPublicKey,
  } = process.env;
  if (!clientId) throw new CredentialsError('no client: give --client FILE, or set VISAVIS_CLIENT_ID');
  return { clientId, merchantPrivateKey, serverPublicKey };
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      aksk: { type: 'boolean' },
      async: { type: 'boolean' },
      ca: { type: 'string' },
      client: { type: 'string' },
      encrypt: { type: 'boolean' },
      help: { type: 'boolean' },
      limit: { type: 'string', default: '120' },
      url: { type: 'string', default: process.env.VISAVIS_URL || 'http://127.0.0.1:8080' },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [face1, face2] = positionals;
  const limitMs = 1_000 * Number(values.limit);
  if (!face1 || !face2 || positionals.length > 2 || (values.encrypt && values.aksk) || !(limitMs > 0)) {
    throw new Error(USAGE);
  }
  const client = new Client({
    url: /** @type {string} */ (values.url),
    credentials: values.client ? await readCredentials(values.client) : credentialsFromEnvironment(),
    mode: values.encrypt ? 'encrypted' : values.aksk ? 'aksk' : 'plain',
    limitMs,
    ca: values.ca ? await readFile(values.ca) : undefined,
  });
  const { members } = values.async
    ? await client.wait(await client.submit(face1, face2))
    : await client.compare(face1, face2);
  console.log(JSON.stringify(members));
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof RefusedError) console.log(JSON.stringify(error.members));
  else console.error(`visavis-client: ${reason(error)}`);
  process.exitCode = error instanceof RefusedError ? 1 : 2;
}
