/** The client: endpoints, retries and polling. */

import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

import { reason } from './credentials.js';
import {
  NotFinishedError, RefusedError, ResponseError, TransportError, UnverifiedError,
} from './errors.js';
import { Protector, decrypt } from './protocol.js';
import { comparison } from './results.js';
import { post } from './transport.js';

const COMPARE = '/api/v1/zoloz/facecompare/compare';
const ASYNC_COMPARE = '/api/v1/zoloz/facecompare/asynccompare';
const ASYNC_CHECK_RESULT = '/api/v1/zoloz/facecompare/asynccheckresult';
const TEST = '/api/v1/zoloz/authentication/test';
const DELETE = '/api/v1/zoloz/privacyinfo/delete';

// Pauses between polls: every second, after ten polls every five.
const [POLL_PAUSE_MS, MANY_POLLS, LONG_POLL_PAUSE_MS] = [1_000, 10, 5_000];
// Pauses between attempts double from the first to the last.
const [FIRST_PAUSE_MS, LAST_PAUSE_MS] = [500, 8_000];
// Limits and errors of the server, which pass. Everything else is in the request.
const PASSING = ['REQUEST_TRAFFIC_EXCEED_LIMIT', 'PROCESS_TIMEOUT', 'SYSTEM_ERROR'];

/** @typedef {import('./results.js').Comparison} Comparison */
/** @typedef {import('./results.js').Response} Response */

/**
 * The bytes of a photo, or the path of its file.
 * @typedef {Uint8Array | string | URL} Photo
 */

/**
 * @typedef {object} ClientOptions
 * @property {string} url Scheme, host and port of the server.
 * @property {import('./credentials.js').Credentials} credentials Those that `visavis client add`
 *   has written; `readCredentials` reads them.
 * @property {import('./protocol.js').Mode} [mode] `plain` by default.
 * @property {number} [timeoutMs] For one attempt, 30,000 by default.
 * @property {number} [limitMs] For a call with all its attempts, pauses and polls, 120,000 by
 *   default.
 * @property {number} [retries] Attempts after the first one, 5 by default.
 * @property {number} [freshnessMs] How old Request-Time and Response-Time may be, 900,000 by
 *   default, as `http.freshness_s` of the server; 0 disables the check of responses.
 * @property {128 | 192 | 256} [aesBits] Length of the AES keys in mode `encrypted`, 256 by default.
 * @property {string | Buffer} [ca] Certificates to trust, PEM, instead of those of Node.
 */

/**
 * @typedef {object} CompareOptions
 * @property {string} [bizId] Your own id for tracing, a random one by default.
 * @property {string} [userId]
 * @property {string} [sourceOfFace2]
 * @property {string} [rect1] `left,top,width,height` of the face in the first photo.
 * @property {string} [rect2]
 */

/**
 * Calls the API of one server as one client.
 *
 * A call that gets no response, or is refused by a limit or an error of the server, is sent again
 * with the same bytes and headers: one signed request is one transaction, however often it arrives.
 */
export class Client {
  #url;
  #ca;
  #protector;
  #timeoutMs;
  #limitMs;
  #retries;
  #signatureAgeMs;

  /** @param {ClientOptions} options */
  constructor({
    url, credentials, mode = 'plain', timeoutMs = 30_000, limitMs = 120_000, retries = 5,
    freshnessMs = 900_000, aesBits = 256, ca,
  }) {
    if (!/^https?:\/\//.test(url)) {
      throw new TypeError(`${url} has no scheme: begin it with https:// or http://`);
    }
    this.#url = url.replace(/\/+$/, '');
    this.#ca = ca;
    this.#protector = new Protector(credentials, mode, aesBits, freshnessMs);
    this.#timeoutMs = timeoutMs;
    this.#limitMs = limitMs;
    this.#retries = retries;
    // Long enough before the request would be refused, for its transfer and for other clocks.
    this.#signatureAgeMs = freshnessMs ? freshnessMs * 2 / 3 : Infinity;
  }

  /**
   * Checks keys, clock and encryption: returns the members that were sent.
   * @param {Record<string, unknown>} [members]
   * @returns {Promise<Record<string, unknown>>}
   */
  async test(members = {}) {
    const { result: _, ...echo } = await this.#call(TEST, members, this.#deadline());
    return echo;
  }

  /**
   * Compares two photos, face1 being the one to verify, and waits for the outcome.
   * @param {Photo} face1
   * @param {Photo} face2
   * @param {CompareOptions} [options]
   * @returns {Promise<Comparison>}
   */
  async compare(face1, face2, options = {}) {
    const deadline = this.#deadline();
    const response = await this.#call(COMPARE, await faces(face1, face2, options), deadline);
    if (response.result.resultCode === 'PROCESSING') {
      // A front end without workers had no outcome in time.
      return this.#wait(transactionIdOf(response), deadline, this.#limitMs);
    }
    return comparison(response);
  }

  /**
   * `asynccompare`: stores the job and returns its transaction id.
   * @param {Photo} face1
   * @param {Photo} face2
   * @param {CompareOptions} [options]
   * @returns {Promise<string>}
   */
  async submit(face1, face2, options = {}) {
    const body = await faces(face1, face2, options);
    return transactionIdOf(await this.#call(ASYNC_COMPARE, body, this.#deadline()));
  }

  /**
   * `asynccheckresult`: the outcome of a transaction, undefined if it has none yet.
   * @param {string} transactionId
   * @returns {Promise<Comparison | undefined>}
   */
  check(transactionId) {
    return this.#check(transactionId, this.#deadline());
  }

  /**
   * Polls until the transaction has an outcome, for `limitMs` at most.
   * @param {string} transactionId
   * @param {{ limitMs?: number }} [options]
   * @returns {Promise<Comparison>}
   */
  wait(transactionId, { limitMs = this.#limitMs } = {}) {
    return this.#wait(transactionId, performance.now() + limitMs, limitMs);
  }

  /**
   * `privacyinfo/delete`: deletes a transaction with its outcome.
   * @param {string} transactionId
   * @returns {Promise<void>}
   */
  async delete(transactionId) {
    await this.#call(DELETE, { transactionId }, this.#deadline());
  }

  #deadline() {
    return performance.now() + this.#limitMs;
  }

  /**
   * @param {string} transactionId
   * @param {number} deadline
   */
  async #check(transactionId, deadline) {
    const response = await this.#call(ASYNC_CHECK_RESULT, { transactionId }, deadline);
    if (response.result.resultCode === 'PROCESSING') return undefined;
    const outcome = comparison(response);
    if (outcome.transactionId !== transactionId) {
      throw new ResponseError('the response is about another transaction: do not use it');
    }
    return outcome;
  }

  /**
   * @param {string} transactionId
   * @param {number} deadline
   * @param {number} limitMs
   */
  async #wait(transactionId, deadline, limitMs) {
    for (let polls = 0; ; polls += 1) {
      const pause = polls < MANY_POLLS ? POLL_PAUSE_MS : LONG_POLL_PAUSE_MS;
      if (performance.now() + pause >= deadline) throw new NotFinishedError(transactionId, limitMs);
      await sleep(pause);
      try {
        const outcome = await this.#check(transactionId, deadline);
        if (outcome) return outcome;
      } catch (error) {
        // If the server did respond before, this poll had no time left.
        const isLate = polls > 0 && performance.now() + LAST_PAUSE_MS >= deadline;
        if (isLate && error instanceof TransportError) {
          throw new NotFinishedError(transactionId, limitMs, { cause: error });
        }
        throw error;
      }
    }
  }

  /**
   * Sends a request, and again as API.md describes under "Retries".
   * @param {string} path
   * @param {Record<string, unknown>} body
   * @param {number} deadline
   * @returns {Promise<Response>}
   */
  async #call(path, body, deadline) {
    const plain = Buffer.from(JSON.stringify(body));
    let [request, signedAt] = [this.#protector.sign(path, plain), performance.now()];
    let pause = FIRST_PAUSE_MS;
    for (let left = this.#retries; ; left -= 1) {
      try {
        return await this.#attempt(request, deadline);
      } catch (error) {
        const wait = waitBeforeRetry(error, pause);
        const again = performance.now() + (wait ?? 0);
        if (wait === undefined || left <= 0 || again >= deadline) throw error;
        await sleep(wait);
        if (again - signedAt > this.#signatureAgeMs) {
          [request, signedAt] = [this.#protector.sign(path, plain), performance.now()];
        }
        pause = Math.min(2 * pause, LAST_PAUSE_MS);
      }
    }
  }

  /**
   * @param {import('./protocol.js').SignedRequest} request
   * @param {number} deadline
   * @returns {Promise<Response>}
   */
  async #attempt(request, deadline) {
    const timeout = Math.max(1, Math.min(this.#timeoutMs, deadline - performance.now()));
    const { headers, body } = await post(this.#url, this.#ca, request, Math.ceil(timeout));
    this.#protector.verify(request, headers, body);
    const isEncrypted = Boolean(headers.encrypt);
    const response = parsed(request, body, isEncrypted);
    if (response.result.resultStatus !== 'S') {
      throw new RefusedError(response, milliseconds(headers['retry-after']));
    }
    if (request.aesKey && !isEncrypted) {
      // Refusals may be plain. A verdict is not: someone repeats that of another request.
      throw new UnverifiedError('the response to an encrypted request is plain: look for a proxy '
        + 'that changes responses');
    }
    return response;
  }
}

/**
 * @param {import('./protocol.js').SignedRequest} request
 * @param {Buffer} body
 * @param {boolean} isEncrypted
 * @returns {Response}
 */
function parsed(request, body, isEncrypted) {
  try {
    const plain = isEncrypted && request.aesKey ? decrypt(request.aesKey, body) : body;
    const response = JSON.parse(plain.toString());
    for (const name of ['resultCode', 'resultStatus', 'resultMessage']) {
      if (typeof response.result[name] !== 'string') throw new Error(`it has no ${name}`);
    }
    return response;
  } catch (cause) {
    throw new ResponseError(`the response is signed, but it is not a result (${reason(cause)}): `
      + 'compare the version of the server', { cause });
  }
}

/** @param {Response} response */
function transactionIdOf({ transactionId }) {
  if (typeof transactionId === 'string') return transactionId;
  throw new ResponseError('the response has no transactionId: compare the version of the server');
}

/**
 * Milliseconds until the same request makes sense again; undefined if it never does.
 * @param {unknown} error
 * @param {number} pause
 */
function waitBeforeRetry(error, pause) {
  if (error instanceof TransportError) return pause;
  // With a transaction id, it has failed for good.
  if (!(error instanceof RefusedError) || error.transactionId !== undefined) return undefined;
  return PASSING.includes(error.code) ? Math.max(pause, error.retryAfterMs ?? 0) : undefined;
}

/** @param {string | undefined} header */
const milliseconds = (header) => (/^\d+$/.test(header ?? '') ? 1_000 * Number(header) : undefined);

/**
 * @param {Photo} face1
 * @param {Photo} face2
 * @param {CompareOptions} options
 */
async function faces(face1, face2, { bizId, userId, sourceOfFace2, rect1, rect2 }) {
  const [one, two] = await Promise.all([content(face1), content(face2)]);
  return {
    // A unique id: two plain requests with the same bytes in one second are one transaction. 32
    // bytes, the documented length.
    bizId: bizId ?? randomUUID().replaceAll('-', ''),
    userId,
    face1: { content: one, rect: rect1 },
    face2: { content: two, rect: rect2 },
    sourceOfFace2,
  };
}

/** @param {Photo} photo */
async function content(photo) {
  if (photo instanceof Uint8Array) return Buffer.from(photo).toString('base64');
  return readFile(photo, 'base64');
}
