/** Client of Visavis, the self-hosted face compare service with the ZOLOZ Face Compare API. */

export { Client } from './client.js';
export { readCredentials } from './credentials.js';
export {
  CredentialsError, NotFinishedError, RefusedError, ResponseError, TransportError, UnverifiedError,
  VisavisError,
} from './errors.js';

/** @typedef {import('./client.js').ClientOptions} ClientOptions */
/** @typedef {import('./client.js').CompareOptions} CompareOptions */
/** @typedef {import('./client.js').Photo} Photo */
/** @typedef {import('./credentials.js').Credentials} Credentials */
/** @typedef {import('./protocol.js').Mode} Mode */
/** @typedef {import('./results.js').Comparison} Comparison */
/** @typedef {import('./results.js').Quality} Quality */
/** @typedef {import('./results.js').Response} Response */
