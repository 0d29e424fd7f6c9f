"""What people are paid for their judgments."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from manyhands.spec.base import Model

#: Money in the requester's currency, to a millionth; read from the file as it is written there, not as a binary float.
Money = Annotated[Decimal, Field(ge=0, le=1_000_000_000, decimal_places=6, allow_inf_nan=False)]


class Rewards(Model):
    """What people are paid; judges that are machines have a price instead."""

    judgment: Money = Field(description="For each judgment.")
    gold: Money = Field(default=Decimal(0), description="On top, for each task of known truth that is judged right.")
    agreement: Money = Field(default=Decimal(0), description="On top, for each judgment that is the accepted answer.")
    penalty: Money = Field(
        default=Decimal(0),
        description="Off, for each task of known truth that is judged wrong; what a suite has earned is the most.",
    )
    per_person: Money | None = Field(default=None, description="The most that one person earns in the job.")
    per_job: Money | None = Field(
        default=None, description="The most that all earn: no judgment is asked for that could go beyond it."
    )
    floor: Money | None = Field(
        default=None, description="An hourly wage; there is an alert for whoever comes to earn less by the hour."
    )
    share: float | None = Field(
        default=None, gt=0, le=1, description="The largest share of the judgments by people that one gives."
    )

    @property
    def most(self) -> Decimal:
        """What one judgment may come to."""
        return self.judgment + max(self.gold, self.agreement)

    @model_validator(mode="after")
    def _holds(self) -> Rewards:
        most = self.most
        for name, cap in (("per_person", self.per_person), ("per_job", self.per_job)):
            if cap is not None and cap < most:
                raise ValueError(f"{name} does not pay for one judgment, which may come to {most}")
        if self.per_person is not None and self.per_job is not None and self.per_person > self.per_job:
            raise ValueError("per_person must not be greater than per_job")
        return self
