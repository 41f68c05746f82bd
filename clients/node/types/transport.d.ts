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
export function post(server: string, ca: string | Buffer | undefined, request: import("./protocol.js").SignedRequest, timeoutMs: number): Promise<Received>;
export type Received = {
    headers: http.IncomingHttpHeaders;
    body: Buffer;
};
import http from 'node:http';
