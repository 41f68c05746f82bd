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
export function comparison(members: Response): Comparison;
/**
 * A verified response.
 */
export type Response = {
    result: {
        resultCode: string;
        resultStatus: string;
        resultMessage: string;
    };
    [member: string]: unknown;
};
/**
 * The quality check of one photo.
 */
export type Quality = {
    passed: boolean;
    /**
     * Failures first; a photo that passed may have warnings.
     */
    reasons: string[];
    /**
     * 0 to 100; undefined if the model pack has none.
     */
    score: number | undefined;
    /**
     * Faces in the photo; undefined if the client has no extras.
     */
    faces: number | undefined;
    /**
     * Box of the face that was compared, in the form of `rect`.
     */
    box: string | undefined;
};
/**
 * The outcome of a transaction.
 */
export type Comparison = {
    transactionId: string;
    /**
     * The decision: the score is at or above the threshold, and both
     * photos pass the quality check.
     */
    samePerson: boolean;
    score: number;
    /**
     * Undefined if the client has no extras and the outcome is
     * that of `compare`.
     */
    face1: Quality | undefined;
    face2: Quality | undefined;
    threshold: number | undefined;
    model: string | undefined;
    calibration: string | undefined;
    /**
     * The whole response.
     */
    members: Response;
};
