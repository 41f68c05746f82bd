/** Signatures and encryption, over bytes: nothing here uses the network. */

import {
  constants, createCipheriv, createDecipheriv, createHmac, publicEncrypt, randomBytes, sign,
  timingSafeEqual, verify,
} from 'node:crypto';

import { needed, privateKey, secretKey, serverKey } from './credentials.js';
import { UnverifiedError } from './errors.js';

/**
 * How requests are signed: key pair, key pair with an encrypted body, access key and secret key.
 * @typedef {'plain' | 'encrypted' | 'aksk'} Mode
 */

/**
 * A request as it is sent; a retry sends the same one.
 * @typedef {object} SignedRequest
 * @property {string} path
 * @property {Record<string, string>} headers
 * @property {Buffer} body
 * @property {Buffer | undefined} aesKey
 */

/**
 * Signs requests and verifies responses in one mode.
 * @typedef {object} Signer
 * @property {(content: Buffer) => Record<string, string>} headers
 * @property {(header: string, content: Buffer) => boolean} isValid
 */

// Percent-encoded, because some parser on the way reads a bare + as a space.
const headerValue = (/** @type {Buffer} */ bytes) => encodeURIComponent(bytes.toString('base64'));

/**
 * RSASSA-PKCS1-v1_5 with SHA-256.
 * @param {import('node:crypto').KeyObject} own
 * @param {import('node:crypto').KeyObject} server
 * @returns {Signer}
 */
function keyPairSigner(own, server) {
  return {
    headers: (content) => (
      { Signature: `algorithm=RSA256, signature=${headerValue(sign('sha256', content, own))}` }
    ),
    isValid(header, content) {
      const value = /(?:^|[,\s])signature=([^,\s]*)/.exec(header)?.[1] ?? '';
      try {
        return verify('sha256', content, server, Buffer.from(decodeURIComponent(value), 'base64'));
      } catch {
        return false; // not even percent-encoding
      }
    },
  };
}

/**
 * HMAC-SHA-256.
 * @param {string} accessKey
 * @param {Buffer} secret
 * @returns {Signer}
 */
function secretKeySigner(accessKey, secret) {
  const mac = (/** @type {Buffer} */ content) => (
    createHmac('sha256', secret).update(content).digest('base64url')
  );
  return {
    headers: (content) => (
      { 'Auth-Type': 'AKSK', 'Access-Key': accessKey, Signature: mac(content) }
    ),
    isValid(header, content) {
      const [expected, found] = [Buffer.from(mac(content)), Buffer.from(header)];
      return expected.length === found.length && timingSafeEqual(expected, found);
    },
  };
}

/** Makes signed requests out of bodies, and verifies responses. */
export class Protector {
  #clientId;
  #signer;
  #serverKey;
  #aesBytes;
  #freshnessMs;

  /**
   * @param {import('./credentials.js').Credentials} credentials
   * @param {Mode} mode
   * @param {number} aesBits
   * @param {number} freshnessMs
   */
  constructor(credentials, mode, aesBits, freshnessMs) {
    if (!['plain', 'encrypted', 'aksk'].includes(mode)) {
      throw new TypeError(`the mode is ${mode}: use plain, encrypted or aksk`);
    }
    if (![128, 192, 256].includes(aesBits)) {
      throw new TypeError(`an AES key has ${aesBits} bits: use 128, 192 or 256`);
    }
    this.#clientId = needed(credentials, 'clientId');
    this.#aesBytes = mode === 'encrypted' ? aesBits / 8 : 0;
    this.#freshnessMs = freshnessMs;
    if (mode === 'aksk') {
      this.#signer = secretKeySigner(needed(credentials, 'accessKey'), secretKey(credentials));
    } else {
      this.#serverKey = serverKey(credentials);
      this.#signer = keyPairSigner(privateKey(credentials), this.#serverKey);
    }
  }

  /**
   * The body as it is sent: parsed and printed again it would be another text.
   * @param {string} path
   * @param {string} time
   * @param {Buffer} body
   */
  #content(path, time, body) {
    return Buffer.concat([Buffer.from(`POST ${path}\n${this.#clientId}.${time}.`), body]);
  }

  /**
   * Encrypts the body, if this is the mode, and signs it.
   * @param {string} path
   * @param {Buffer} plain
   * @returns {SignedRequest}
   */
  sign(path, plain) {
    const time = new Date().toISOString().replace(/\.\d+Z$/, '+0000');
    const type = this.#aesBytes ? 'text/plain' : 'application/json';
    /** @type {Record<string, string>} */
    const headers = {
      'Client-Id': this.#clientId, 'Request-Time': time, 'Content-Type': `${type}; charset=UTF-8`,
    };
    let [body, aesKey] = [plain, /** @type {Buffer | undefined} */ (undefined)];
    if (this.#serverKey && this.#aesBytes) {
      aesKey = randomBytes(this.#aesBytes);
      const cipher = createCipheriv(cipherOf(aesKey), aesKey, null); // pads by PKCS#7
      const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]);
      body = Buffer.from(encrypted.toString('base64'));
      const padding = constants.RSA_PKCS1_PADDING;
      const wrapped = publicEncrypt({ key: this.#serverKey, padding }, aesKey);
      headers.Encrypt = `algorithm=RSA_AES, symmetricKey=${headerValue(wrapped)}`;
    }
    Object.assign(headers, this.#signer.headers(this.#content(path, time, body)));
    return { path, headers, body, aesKey };
  }

  /**
   * Throws `UnverifiedError` unless the server of these credentials has signed the response for
   * this client and this endpoint recently.
   * @param {SignedRequest} request
   * @param {import('node:http').IncomingHttpHeaders} headers
   * @param {Buffer} body
   */
  verify(request, headers, body) {
    const time = String(headers['response-time'] ?? '');
    const signature = String(headers.signature ?? '');
    const content = this.#content(request.path, time, body);
    // With a shared key, a request that is sent back would verify too.
    if (!this.#signer.isValid(signature, content) || signature === request.headers.Signature) {
      throw new UnverifiedError('the signature of the response is not valid: take Client-Id and '
        + 'keys from one client file, check that the client exists, and look for a proxy that '
        + 'changes responses');
    }
    // NaN, if it is no time, is not within any limit.
    const age = Math.abs(Date.now() - Date.parse(time));
    if (this.#freshnessMs && !(age <= this.#freshnessMs)) {
      throw new UnverifiedError(`the response is of ${time}, which is more than `
        + `${this.#freshnessMs} ms from the clock of this machine: set the clocks; otherwise `
        + 'someone repeats responses');
    }
  }
}

const cipherOf = (/** @type {Buffer} */ aesKey) => `aes-${8 * aesKey.length}-ecb`;

/**
 * The plain text of a response that is encrypted with the key of its request. Visavis always uses
 * that key, which spares unwrapping the response's own copy: Node 20 no longer can, because it
 * refuses RSA_PKCS1_PADDING in privateDecrypt.
 * @param {Buffer} aesKey
 * @param {Buffer} body
 */
export function decrypt(aesKey, body) {
  const decipher = createDecipheriv(cipherOf(aesKey), aesKey, null);
  const encrypted = Buffer.from(body.toString('latin1'), 'base64');
  return Buffer.concat([decipher.update(encrypted), decipher.final()]);
}
