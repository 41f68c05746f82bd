/** One HTTP exchange, within a time limit. */

import http from 'node:http';
import https from 'node:https';

import { reason } from './credentials.js';
import { TransportError } from './errors.js';

// Responses have a few hundred bytes; that of authentication/test has those of its request, twice.
const MAX_RESPONSE_BYTES = 1 << 20;

/**
 * @typedef {object} Received
 * @property {http.IncomingHttpHeaders} headers
 * @property {Buffer} body
 */

/**
 * Sends a request to a server.
 * @param {string} server
 * @param {string | Buffer | undefined} ca
 * @param {import('./protocol.js').SignedRequest} request
 * @param {number} timeoutMs
 * @returns {Promise<Received>}
 */
export async function post(server, ca, request, timeoutMs) {
  const url = server + request.path;
  try {
    return await exchange(new URL(url), ca, request, AbortSignal.timeout(timeoutMs));
  } catch (cause) {
    const timedOut = cause instanceof Error && cause.name === 'AbortError';
    throw new TransportError(`${url} gives no response (${timedOut ? 'timed out' : reason(cause)}): `
      + 'check the address, that the server runs, and proxies in between', { cause });
  }
}

/**
 * @param {URL} url
 * @param {string | Buffer | undefined} ca
 * @param {import('./protocol.js').SignedRequest} request
 * @param {AbortSignal} signal
 * @returns {Promise<Received>}
 */
function exchange(url, ca, { headers, body }, signal) {
  return new Promise((resolve, reject) => {
    const options = {
      method: 'POST', headers: { ...headers, 'Content-Length': body.length }, signal, ca,
    };
    const request = (url.protocol === 'https:' ? https : http).request(url, options, (response) => {
      if (response.statusCode !== 200) {
        response.resume();
        reject(new Error(`HTTP status ${response.statusCode}`));
        return;
      }
      /** @type {Buffer[]} */
      const parts = [];
      let length = 0;
      response.on('data', (/** @type {Buffer} */ part) => {
        parts.push(part);
        length += part.length;
        if (length > MAX_RESPONSE_BYTES) {
          response.destroy(new Error(`it has more than ${MAX_RESPONSE_BYTES} bytes`));
        }
      });
      response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(parts) }));
      // A body that ends early is `aborted`.
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}
