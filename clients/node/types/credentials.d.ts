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
export function readCredentials(path: string | URL): Promise<Credentials>;
/**
 * @param {Credentials} credentials
 * @param {keyof Credentials} name
 * @returns {string}
 */
export function needed(credentials: Credentials, name: keyof Credentials): string;
/** @param {Credentials} credentials */
export function secretKey(credentials: Credentials): Buffer<ArrayBuffer>;
export function reason(error: unknown): string;
export function privateKey(credentials: Credentials): import("crypto").KeyObject;
export function serverKey(credentials: Credentials): import("crypto").KeyObject;
/**
 * What `visavis client add NAME --out FILE` writes. Keys are PEM, base64 of DER, or base64 of PEM.
 */
export type Credentials = {
    clientId: string;
    merchantPrivateKey?: string | undefined;
    serverPublicKey?: string | undefined;
    accessKey?: string | undefined;
    secretKey?: string | undefined;
};
