/** What a call throws. Every message is what is wrong, and what to do. */

/** The base class of all errors of this package. */
export class VisavisError extends Error {
  /**
   * @param {string} message
   * @param {{ cause?: unknown }} [options]
   */
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** A key or an id is missing or malformed. Nothing was sent. */
export class CredentialsError extends VisavisError {}

/** No response arrived, or none of the API: a broken connection, a timeout, a proxy's error. */
export class TransportError extends VisavisError {}

/** A response arrived whose signature is not valid. Nothing in it was used. */
export class UnverifiedError extends VisavisError {}

/** A response was verified, but it is not one that this client understands. */
export class ResponseError extends VisavisError {}

/** The time limit has passed and the transaction has no outcome yet. */
export class NotFinishedError extends VisavisError {
  /**
   * @param {string} transactionId
   * @param {number} limitMs
   * @param {ErrorOptions} [options]
   */
  constructor(transactionId, limitMs, options) {
    super(`transaction ${transactionId} is not finished after ${limitMs} ms: raise the limit, or `
      + 'call wait again later', options);
    this.transactionId = transactionId;
  }
}

/** A verified response with `resultStatus` F or U. */
export class RefusedError extends VisavisError {
  /**
   * @param {import('./results.js').Response} members
   * @param {number | undefined} retryAfterMs
   */
  constructor(members, retryAfterMs) {
    const { resultCode, resultStatus, resultMessage } = members.result;
    super(`${resultCode}: ${resultMessage}`);
    this.code = resultCode;
    this.status = resultStatus;
    /** The message of the response, without the code. */
    this.resultMessage = resultMessage;
    /**
     * The transaction that failed for good; undefined if no outcome was stored.
     * @type {string | undefined}
     */
    this.transactionId = typeof members.transactionId === 'string' ? members.transactionId : undefined;
    /** Milliseconds until a retry makes sense, if the server named them. */
    this.retryAfterMs = retryAfterMs;
    /** The whole response. */
    this.members = members;
  }
}
