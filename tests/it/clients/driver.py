"""Makes the calls of its argument with the Python client, and prints what came of each."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Dict, List, Optional

from visavis_client import Client, Comparison, Credentials, Quality, RefusedError, VisavisError


def quality(found: Optional[Quality]) -> Any:
    if found is None:
        return None
    return {**asdict(found), "reasons": list(found.reasons)}


def shown(value: Any) -> Any:
    if not isinstance(value, Comparison):
        return value
    return {
        "transactionId": value.transaction_id,
        "samePerson": value.same_person,
        "score": value.score,
        "face1": quality(value.face1),
        "face2": quality(value.face2),
        "threshold": value.threshold,
        "model": value.model,
        "calibration": value.calibration,
        "members": value.members,
    }


def call(client: Client, name: str, arguments: List[Any]) -> Any:
    if name in ("compare", "submit"):
        face1, face2 = arguments[:2]
        options = arguments[2] if len(arguments) > 2 else {}
        named = {
            "biz_id": options.get("bizId"),
            "user_id": options.get("userId"),
            "source_of_face2": options.get("sourceOfFace2"),
            "rect1": options.get("rect1"),
        }
        return client.compare(face1, face2, **named) if name == "compare" else client.submit(
            face1, face2, **named
        )
    if name == "wait":
        return client.wait(arguments[0], limit=arguments[1] if len(arguments) > 1 else None)
    if name == "check":
        return client.check(arguments[0])
    if name == "delete":
        return client.delete(arguments[0])
    return client.test(*arguments)


def steps(client: Client, plan: Dict[str, Any]) -> List[Any]:
    outcomes, last = [], ""
    for name, *arguments in plan["steps"]:
        arguments = [last if argument == "$" else argument for argument in arguments]
        try:
            value = shown(call(client, name, arguments))
            outcomes.append({"value": value})
            last = value if name == "submit" else last
        except VisavisError as error:
            outcome: Dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
            if isinstance(error, RefusedError):
                outcome.update(
                    code=error.code, status=error.status, reason=error.message,
                    transactionId=error.transaction_id, retryAfter=error.retry_after,
                )
            outcomes.append(outcome)
    return outcomes


def main() -> None:
    plan = json.loads(sys.argv[1])
    try:
        client = Client(plan["url"], Credentials.from_file(plan["client"]), **plan["options"])
    except VisavisError as error:
        print(json.dumps([{"error": type(error).__name__, "message": str(error)}]))
        return
    threads = plan.get("threads", 1)
    with ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda _: steps(client, plan), range(threads))
    print(json.dumps([outcome for outcomes in found for outcome in outcomes]))


if __name__ == "__main__":
    main()
