#!/usr/bin/env node
// Compares two photos: a signed and, if wanted, encrypted call to Visavis in Node.js 20 or later.
//
//     node call.mjs A.jpg B.jpg [--encrypt]
//
// The keys come from the environment, see ../README.md. The response's JSON goes to stdout. Exit
// code: 0 when resultStatus is S, 1 when it is F or U, 2 if no valid response arrived.

import {
  constants, createCipheriv, createDecipheriv, createPrivateKey, createPublicKey, publicEncrypt,
  randomBytes, randomUUID, sign, verify,
} from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';

const URI = '/api/v1/zoloz/facecompare/compare';
const TIMEOUT_MS = 30_000;

/** No valid response; the text names the remedy. */
class CallError extends Error {}

function setting(name, fallback) {
  const value = process.env[name] || fallback;
  if (value) return value;
  throw new CallError(`${name} is not set: export it from the client file, see README.md`);
}

function key(name, create, type) {
  const text = setting(name);
  try {
    return create({ key: text, format: 'der', type, encoding: 'base64' });
  } catch (cause) {
    throw new CallError(`${name} is no key: copy it whole from the client file`, { cause });
  }
}

async function face(path) {
  try {
    return { content: await readFile(path, 'base64') };
  } catch (cause) {
    throw new CallError(`${path} cannot be read (${cause.code}): check the path`, { cause });
  }
}

async function requestJson([photo1, photo2]) {
  // At most 32 bytes by the documents: a UUID without hyphens.
  const bizId = randomUUID().replaceAll('-', '');
  const [face1, face2] = await Promise.all([face(photo1), face(photo2)]);
  return Buffer.from(JSON.stringify({ bizId, face1, face2 }));
}

// The body as bytes, exactly as on the wire: parsed and printed again it would be another text.
function contentToBeSigned(clientId, time, body) {
  return Buffer.concat([Buffer.from(`POST ${URI}\n${clientId}.${time}.`), body]);
}

// Percent-encoded, because some parser on the way reads a bare + as a space and loses a bare =.
const headerValue = (bytes) => encodeURIComponent(bytes.toString('base64'));

const signatureHeader = (privateKey, content) =>
  `algorithm=RSA256, signature=${headerValue(sign('sha256', content, privateKey))}`;

function isSigned(publicKey, header, content) {
  const value = /signature=([^,]*)/.exec(header ?? '')?.[1] ?? '';
  try {
    return verify('sha256', content, publicKey, Buffer.from(decodeURIComponent(value), 'base64'));
  } catch {
    return false; // not even percent-encoding
  }
}

function wrap(publicKey, aesKey) {
  const padding = constants.RSA_PKCS1_PADDING;
  return `algorithm=RSA_AES, symmetricKey=${headerValue(publicEncrypt({ key: publicKey, padding }, aesKey))}`;
}

function encrypt(aesKey, plain) {
  const cipher = createCipheriv('aes-256-ecb', aesKey, null); // pads by PKCS#7
  return Buffer.from(Buffer.concat([cipher.update(plain), cipher.final()]).toString('base64'));
}

function decrypt(aesKey, body) {
  const decipher = createDecipheriv('aes-256-ecb', aesKey, null);
  const encrypted = Buffer.from(body.toString(), 'base64');
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}

async function post(url, headers, body) {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(url, { method: 'POST', headers, body, signal });
    if (response.status !== 200) throw new Error(`HTTP ${response.status}, is a proxy in between?`);
    return { headers: response.headers, body: Buffer.from(await response.arrayBuffer()) };
  } catch (cause) {
    const reason = cause.cause?.message || cause.cause?.code || cause.message;
    throw new CallError(`${url} gives no response (${reason}): check VISAVIS_URL and the server`, { cause });
  }
}

async function call(photos, encrypted) {
  const url = setting('VISAVIS_URL', 'http://127.0.0.1:8080').replace(/\/+$/, '') + URI;
  const clientId = setting('VISAVIS_CLIENT_ID');
  const merchantKey = key('VISAVIS_MERCHANT_PRIVATE_KEY', createPrivateKey, 'pkcs8');
  const serverKey = key('VISAVIS_SERVER_PUBLIC_KEY', createPublicKey, 'spki');

  let body = await requestJson(photos);
  const time = new Date().toISOString().replace(/\.\d+Z$/, '+0000');
  const type = `${encrypted ? 'text/plain' : 'application/json'}; charset=UTF-8`;
  const headers = { 'Client-Id': clientId, 'Request-Time': time, 'Content-Type': type };
  const aesKey = randomBytes(32);
  if (encrypted) { // first, so that the signature covers what is sent
    body = encrypt(aesKey, body);
    headers.Encrypt = wrap(serverKey, aesKey);
  }
  headers.Signature = signatureHeader(merchantKey, contentToBeSigned(clientId, time, body));

  const response = await post(url, headers, body);
  const content = contentToBeSigned(clientId, response.headers.get('Response-Time') ?? '', response.body);
  if (!isSigned(serverKey, response.headers.get('Signature'), content)) {
    throw new CallError("the response's signature does not verify: take VISAVIS_CLIENT_ID and "
      + 'VISAVIS_SERVER_PUBLIC_KEY from the same client file');
  }
  try {
    // A refusal can be in clear even if the request was not. What is encrypted is so under the key
    // that was sent: Visavis always reuses it. That spares unwrapping the response's own copy,
    // which Node no longer supports: RSA_PKCS1_PADDING is disabled in privateDecrypt.
    const plain = response.headers.has('Encrypt') ? decrypt(aesKey, response.body) : response.body;
    const text = plain.toString();
    return { text, status: JSON.parse(text).result.resultStatus };
  } catch (cause) {
    throw new CallError("the response is signed but no result: compare the server's version", { cause });
  }
}

async function main() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true, options: { encrypt: { type: 'boolean', default: false } },
    });
    if (positionals.length !== 2) throw new CallError('usage: node call.mjs A.jpg B.jpg [--encrypt]');
    const { text, status } = await call(positionals, values.encrypt);
    console.log(text);
    return status === 'S' ? 0 : 1;
  } catch (error) {
    console.error(`call.mjs: ${error.message}`);
    return 2;
  }
}

process.exitCode = await main();
