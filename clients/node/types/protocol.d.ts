/**
 * The plain text of a response that is encrypted with the key of its request. Visavis always uses
 * that key, which spares unwrapping the response's own copy: Node 20 no longer can, because it
 * refuses RSA_PKCS1_PADDING in privateDecrypt.
 * @param {Buffer} aesKey
 * @param {Buffer} body
 */
export function decrypt(aesKey: Buffer, body: Buffer): Buffer<ArrayBuffer>;
/** Makes signed requests out of bodies, and verifies responses. */
export class Protector {
    /**
     * @param {import('./credentials.js').Credentials} credentials
     * @param {Mode} mode
     * @param {number} aesBits
     * @param {number} freshnessMs
     */
    constructor(credentials: import("./credentials.js").Credentials, mode: Mode, aesBits: number, freshnessMs: number);
    /**
     * Encrypts the body, if this is the mode, and signs it.
     * @param {string} path
     * @param {Buffer} plain
     * @returns {SignedRequest}
     */
    sign(path: string, plain: Buffer): SignedRequest;
    /**
     * Throws `UnverifiedError` unless the server of these credentials has signed the response for
     * this client and this endpoint recently.
     * @param {SignedRequest} request
     * @param {import('node:http').IncomingHttpHeaders} headers
     * @param {Buffer} body
     */
    verify(request: SignedRequest, headers: import("node:http").IncomingHttpHeaders, body: Buffer): void;
    #private;
}
/**
 * How requests are signed: key pair, key pair with an encrypted body, access key and secret key.
 */
export type Mode = "plain" | "encrypted" | "aksk";
/**
 * A request as it is sent; a retry sends the same one.
 */
export type SignedRequest = {
    path: string;
    headers: Record<string, string>;
    body: Buffer;
    aesKey: Buffer | undefined;
};
/**
 * Signs requests and verifies responses in one mode.
 */
export type Signer = {
    headers: (content: Buffer) => Record<string, string>;
    isValid: (header: string, content: Buffer) => boolean;
};
