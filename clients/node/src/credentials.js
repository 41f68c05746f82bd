/** Ids and keys of a client, in every form that they are kept in. */

import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';

import { CredentialsError } from './errors.js';

/**
 * What `visavis client add NAME --out FILE` writes. Keys are PEM, base64 of DER, or base64 of PEM.
 * @typedef {object} Credentials
 * @property {string} clientId
 * @property {string} [merchantPrivateKey]
 * @property {string} [serverPublicKey]
 * @property {string} [accessKey]
 * @property {string} [secretKey]
 */

/**
 * Reads such a file. If the app keeps its own key pair, add its private key to the result.
 * @param {string | URL} path
 * @returns {Promise<Credentials>}
 */
export async function readCredentials(path) {
  try {
    const credentials = JSON.parse(await readFile(path, 'utf8'));
    if (typeof credentials.clientId !== 'string') throw new Error('clientId is missing');
    return credentials;
  } catch (cause) {
    throw new CredentialsError(
      `${path} is not a file of visavis client add --out: ${reason(cause)}`, { cause },
    );
  }
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export const reason = (error) => (error instanceof Error ? error.message : String(error));

/**
 * The DER of a key: the text is PEM, with or without line breaks, base64 of DER, or base64 of PEM.
 * @param {string} text
 * @returns {Buffer}
 */
function keyDer(text) {
  const found = /-----BEGIN ([A-Z ]+)-----([^-]*)-----END/.exec(text);
  if (found && `${found[1]}${found[2]}`.includes('ENCRYPTED')) {
    throw new Error('the key has a passphrase: remove it with openssl pkey');
  }
  const base64 = (found?.[2] ?? text).replace(/\s/g, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) throw new Error('the text is not base64');
  const der = Buffer.from(base64, 'base64');
  return der.toString('latin1').startsWith('-----BEGIN') ? keyDer(der.toString()) : der;
}

/**
 * @param {Credentials} credentials
 * @param {keyof Credentials} name
 * @returns {string}
 */
export function needed(credentials, name) {
  const value = credentials[name];
  if (typeof value === 'string' && value.trim()) return value;
  throw new CredentialsError(`${name} is missing: this mode needs it`);
}

/**
 * @template {import('node:crypto').KeyObject} Key
 * @param {Credentials} credentials
 * @param {keyof Credentials} name
 * @param {((der: Buffer) => Key)[]} forms
 * @returns {Key}
 */
function key(credentials, name, forms) {
  const text = needed(credentials, name);
  /** @type {unknown} */
  let cause;
  try {
    const der = keyDer(text);
    for (const form of forms) {
      try {
        const found = form(der);
        if (found.asymmetricKeyType !== 'rsa') throw new Error('the key is not an RSA key');
        return found;
      } catch (error) {
        cause ??= error;
      }
    }
  } catch (error) {
    cause = error;
  }
  throw new CredentialsError(
    `${name} is not an RSA key as PEM or base64: copy it whole (${reason(cause)})`, { cause },
  );
}

/** @param {Credentials} credentials */
export const privateKey = (credentials) => key(credentials, 'merchantPrivateKey', [
  (der) => createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }),
  (der) => createPrivateKey({ key: der, format: 'der', type: 'pkcs1' }),
]);

/** @param {Credentials} credentials */
export const serverKey = (credentials) => key(credentials, 'serverPublicKey', [
  (der) => createPublicKey({ key: der, format: 'der', type: 'spki' }),
  (der) => createPublicKey({ key: der, format: 'der', type: 'pkcs1' }),
]);

/** @param {Credentials} credentials */
export function secretKey(credentials) {
  const secret = needed(credentials, 'secretKey').trim();
  if (/^[A-Za-z0-9_-]+={0,2}$/.test(secret)) return Buffer.from(secret, 'base64url');
  throw new CredentialsError('secretKey is not base64url: copy it whole');
}
