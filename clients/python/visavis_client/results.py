"""Results of calls. Members of a response that have no field here are in `members`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

from .errors import ResponseError


@dataclass(frozen=True)
class Quality:
    """The quality check of one photo."""

    passed: bool
    #: Failures first; a photo that passed may have warnings.
    reasons: Tuple[str, ...] = ()
    #: 0 to 100; None if the model pack has none.
    score: Optional[int] = None
    #: Faces in the photo; None if the client has no extras.
    faces: Optional[int] = None
    #: Box of the face that was compared, in the form of `rect`.
    box: Optional[str] = None


@dataclass(frozen=True)
class Comparison:
    """The outcome of a transaction."""

    transaction_id: str
    #: The decision: the score is at or above the threshold, and both photos pass the quality check.
    same_person: bool
    score: float
    #: None if the client has no extras and the outcome is that of `compare`.
    face1: Optional[Quality]
    face2: Optional[Quality]
    threshold: Optional[float]
    model: Optional[str]
    calibration: Optional[str]
    #: The whole response.
    members: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> "Comparison":
        """Reads a finished response."""
        transaction_id, same, score = (
            members.get(name) for name in ("transactionId", "samePerson", "score")
        )
        if not isinstance(transaction_id, str) or not isinstance(same, bool):
            raise ResponseError("the response has no verdict: compare the version of the server")
        if isinstance(score, bool) or not isinstance(score, (int, float)):
            raise ResponseError("the response has no score: compare the version of the server")
        return cls(
            transaction_id=transaction_id,
            same_person=same,
            score=float(score),
            face1=_quality(members, "face1"),
            face2=_quality(members, "face2"),
            threshold=members.get("threshold"),
            model=members.get("model"),
            calibration=members.get("calibration"),
            members=members,
        )


def _quality(members: Mapping[str, Any], face: str) -> Optional[Quality]:
    result = members.get(f"{face}ImageQualityResult")
    if result is None:
        return None
    return Quality(
        passed=result == "PASS",
        reasons=tuple(members.get(f"{face}ImageQualityReasons") or ()),
        score=members.get(f"{face}ImageQualityScore"),
        faces=members.get(f"{face}Faces"),
        box=members.get(f"{face}Box"),
    )
