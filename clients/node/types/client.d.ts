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
    /** @param {ClientOptions} options */
    constructor({ url, credentials, mode, timeoutMs, limitMs, retries, freshnessMs, aesBits, ca, }: ClientOptions);
    /**
     * Checks keys, clock and encryption: returns the members that were sent.
     * @param {Record<string, unknown>} [members]
     * @returns {Promise<Record<string, unknown>>}
     */
    test(members?: Record<string, unknown>): Promise<Record<string, unknown>>;
    /**
     * Compares two photos, face1 being the one to verify, and waits for the outcome.
     * @param {Photo} face1
     * @param {Photo} face2
     * @param {CompareOptions} [options]
     * @returns {Promise<Comparison>}
     */
    compare(face1: Photo, face2: Photo, options?: CompareOptions): Promise<Comparison>;
    /**
     * `asynccompare`: stores the job and returns its transaction id.
     * @param {Photo} face1
     * @param {Photo} face2
     * @param {CompareOptions} [options]
     * @returns {Promise<string>}
     */
    submit(face1: Photo, face2: Photo, options?: CompareOptions): Promise<string>;
    /**
     * `asynccheckresult`: the outcome of a transaction, undefined if it has none yet.
     * @param {string} transactionId
     * @returns {Promise<Comparison | undefined>}
     */
    check(transactionId: string): Promise<Comparison | undefined>;
    /**
     * Polls until the transaction has an outcome, for `limitMs` at most.
     * @param {string} transactionId
     * @param {{ limitMs?: number }} [options]
     * @returns {Promise<Comparison>}
     */
    wait(transactionId: string, { limitMs }?: {
        limitMs?: number;
    }): Promise<Comparison>;
    /**
     * `privacyinfo/delete`: deletes a transaction with its outcome.
     * @param {string} transactionId
     * @returns {Promise<void>}
     */
    delete(transactionId: string): Promise<void>;
    #private;
}
export type Comparison = import("./results.js").Comparison;
export type Response = import("./results.js").Response;
/**
 * The bytes of a photo, or the path of its file.
 */
export type Photo = Uint8Array | string | URL;
export type ClientOptions = {
    /**
     * Scheme, host and port of the server.
     */
    url: string;
    /**
     * Those that `visavis client add`
     * has written; `readCredentials` reads them.
     */
    credentials: import("./credentials.js").Credentials;
    /**
     * `plain` by default.
     */
    mode?: import("./protocol.js").Mode | undefined;
    /**
     * For one attempt, 30,000 by default.
     */
    timeoutMs?: number | undefined;
    /**
     * For a call with all its attempts, pauses and polls, 120,000 by
     * default.
     */
    limitMs?: number | undefined;
    /**
     * Attempts after the first one, 5 by default.
     */
    retries?: number | undefined;
    /**
     * How old Request-Time and Response-Time may be, 900,000 by
     * default, as `http.freshness_s` of the server; 0 disables the check of responses.
     */
    freshnessMs?: number | undefined;
    /**
     * Length of the AES keys in mode `encrypted`, 256 by default.
     */
    aesBits?: 128 | 256 | 192 | undefined;
    /**
     * Certificates to trust, PEM, instead of those of Node.
     */
    ca?: string | Buffer<ArrayBufferLike> | undefined;
};
export type CompareOptions = {
    /**
     * Your own id for tracing, a random one by default.
     */
    bizId?: string | undefined;
    userId?: string | undefined;
    sourceOfFace2?: string | undefined;
    /**
     * `left,top,width,height` of the face in the first photo.
     */
    rect1?: string | undefined;
    rect2?: string | undefined;
};
