// A program that uses the types that openapi-typescript makes of the API document. It is compiled,
// not run.

import type { components, paths } from "./made";

type Schemas = components["schemas"];
type Exchange = paths["/api/v1/zoloz/facecompare/compare"]["post"];

/** The response is narrowed by a member, and every verdict has a score. */
export function score(response: Schemas["CompareResponse"]): number | string {
  if ("score" in response) return response.score;
  if ("resultCode" in response.result && response.result.resultCode === "PROCESSING") return "later";
  const failure: Schemas["FailureResult"] = (response as Schemas["Failure"]).result;
  return failure.resultCode;
}

/** Quality results are always in an response of asynccheckresult. */
export function passes(checked: Schemas["CheckFinished"]): boolean {
  return checked.face1ImageQualityResult === "PASS";
}

/** A request is body and, for encryption, one header: a transport adds those of the signature. */
export const request: Exchange["requestBody"]["content"]["application/json"] = {
  bizId: "order-1",
  face1: { content: "…", rect: "1,2,30,40" },
  face2: { content: "…" },
};
export const parameters: Exchange["parameters"] = {};

/** Codes are literal types. */
export const blurred: Schemas["QualityReason"] = "BLURRED";
// @ts-expect-error: not a code
export const misspelt: Schemas["QualityReason"] = "BLURED";
