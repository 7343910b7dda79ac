"""The model of audit.json: what became of the writes that clients were told are stored, arm by arm.

The file is written as each arm's audit ends; records of targets without an audit don't have it.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import RecordError


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class AckedWrite(_Part):
    """A write by its name, and when a client was first told that it is stored, in seconds since the arm's start."""

    key: str
    acknowledged_s: float = Field(allow_inf_nan=False)


class ArmAudit(_Part):
    """What was found after one arm. `problem` says why nothing was; the lists are complete."""

    acknowledged: int = Field(ge=0, description="different writes that clients were told are stored")
    missing: tuple[AckedWrite, ...] = Field((), description="those that were not there after the arm")
    doubled: tuple[AckedWrite, ...] = Field((), description="those that were there more than once")
    unacknowledged: int | None = Field(
        None, ge=0, description="writes that were there and that no client was told of; null when nobody counted"
    )
    problem: str = ""

    @property
    def wrong(self) -> int:
        """How many writes were not there exactly once."""
        return len({write.key for write in (*self.missing, *self.doubled)})


class AuditInfo(_Part):
    """audit.json. `endpoint` and `key`: whose answers acknowledge a write, and the request header that names it."""

    endpoint: str
    key: str
    arms: dict[str, ArmAudit] = Field(default_factory=dict)


def read_audit(path: Path) -> AuditInfo | None:
    """audit.json of a record; None when there is none. Raises RecordError when it is damaged."""
    try:
        return AuditInfo.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RecordError(f"{path}: cannot be read: {error}", remedy="fetch the record again") from error
