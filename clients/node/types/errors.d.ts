/** What a call throws. Every message is what is wrong, and what to do. */
/** The base class of all errors of this package. */
export class VisavisError extends Error {
    /**
     * @param {string} message
     * @param {{ cause?: unknown }} [options]
     */
    constructor(message: string, options?: {
        cause?: unknown;
    });
}
/** A key or an id is missing or malformed. Nothing was sent. */
export class CredentialsError extends VisavisError {
}
/** No response arrived, or none of the API: a broken connection, a timeout, a proxy's error. */
export class TransportError extends VisavisError {
}
/** A response arrived whose signature is not valid. Nothing in it was used. */
export class UnverifiedError extends VisavisError {
}
/** A response was verified, but it is not one that this client understands. */
export class ResponseError extends VisavisError {
}
/** The time limit has passed and the transaction has no outcome yet. */
export class NotFinishedError extends VisavisError {
    /**
     * @param {string} transactionId
     * @param {number} limitMs
     * @param {ErrorOptions} [options]
     */
    constructor(transactionId: string, limitMs: number, options?: ErrorOptions);
    transactionId: string;
}
/** A verified response with `resultStatus` F or U. */
export class RefusedError extends VisavisError {
    /**
     * @param {import('./results.js').Response} members
     * @param {number | undefined} retryAfterMs
     */
    constructor(members: import("./results.js").Response, retryAfterMs: number | undefined);
    code: string;
    status: string;
    /** The message of the response, without the code. */
    resultMessage: string;
    /**
     * The transaction that failed for good; undefined if no outcome was stored.
     * @type {string | undefined}
     */
    transactionId: string | undefined;
    /** Milliseconds until a retry makes sense, if the server named them. */
    retryAfterMs: number | undefined;
    /** The whole response. */
    members: import("./results.js").Response;
}
