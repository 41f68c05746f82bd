/** Results of calls. Members of a response that have no field here are in `members`. */

import { ResponseError } from './errors.js';

/**
 * A verified response.
 * @typedef {{ result: { resultCode: string, resultStatus: string, resultMessage: string },
 *   [member: string]: unknown }} Response
 */

/**
 * The quality check of one photo.
 * @typedef {object} Quality
 * @property {boolean} passed
 * @property {string[]} reasons Failures first; a photo that passed may have warnings.
 * @property {number | undefined} score 0 to 100; undefined if the model pack has none.
 * @property {number | undefined} faces Faces in the photo; undefined if the client has no extras.
 * @property {string | undefined} box Box of the face that was compared, in the form of `rect`.
 */

/**
 * The outcome of a transaction.
 * @typedef {object} Comparison
 * @property {string} transactionId
 * @property {boolean} samePerson The decision: the score is at or above the threshold, and both
 *   photos pass the quality check.
 * @property {number} score
 * @property {Quality | undefined} face1 Undefined if the client has no extras and the outcome is
 *   that of `compare`.
 * @property {Quality | undefined} face2
 * @property {number | undefined} threshold
 * @property {string | undefined} model
 * @property {string | undefined} calibration
 * @property {Response} members The whole response.
 */

/**
 * Reads a finished response.
 * @param {Response} members
 * @returns {Comparison}
 */
export function comparison(members) {
  const { transactionId, samePerson, score } = members;
  if (typeof transactionId !== 'string' || typeof samePerson !== 'boolean' || typeof score !== 'number') {
    throw new ResponseError('the response has no verdict: compare the version of the server');
  }
  return {
    transactionId,
    samePerson,
    score,
    face1: quality(members, 'face1'),
    face2: quality(members, 'face2'),
    threshold: numberOf(members.threshold),
    model: textOf(members.model),
    calibration: textOf(members.calibration),
    members,
  };
}

/**
 * @param {Response} members
 * @param {string} face
 * @returns {Quality | undefined}
 */
function quality(members, face) {
  const result = members[`${face}ImageQualityResult`];
  if (result === undefined) return undefined;
  const reasons = members[`${face}ImageQualityReasons`];
  return {
    passed: result === 'PASS',
    reasons: Array.isArray(reasons) ? reasons.map(String) : [],
    score: numberOf(members[`${face}ImageQualityScore`]),
    faces: numberOf(members[`${face}Faces`]),
    box: textOf(members[`${face}Box`]),
  };
}

const numberOf = (/** @type {unknown} */ value) => (typeof value === 'number' ? value : undefined);
const textOf = (/** @type {unknown} */ value) => (typeof value === 'string' ? value : undefined);
