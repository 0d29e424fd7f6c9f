"""Where the items of a job come from, and which truths are known of them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from manyhands.spec.base import Model


class Source(Model):
    """Where the items come from."""

    path: str = Field(description="A file or folder, relative to the job file, or any fsspec URL.")
    format: Literal["csv", "jsonl", "parquet", "folder"] | None = Field(
        default=None, description="Taken from the path's ending when not given."
    )
    id: str | None = Field(default=None, description="The column with the item's own id; else the position is the id.")
    input: str | list[str] | None = Field(
        default=None,
        description="The column that judges see, or a list of columns (they get a map). "
        "All columns but the id and the gold column when not given.",
    )
    pattern: str = Field(default="*", description="For a folder: which files, as a glob; ** goes into subfolders.")
    payload: Literal["bytes", "reference"] = Field(
        default="bytes", description="For a folder: files travel as bytes, or as {url, sha256, size}."
    )
    on_bad_row: Literal["stop", "set-aside"] = Field(
        default="stop", description="What a row that cannot be read does: end the job, or count as failed."
    )


class Gold(Model):
    """Tasks whose truth is known; judges never see it. Accuracy is measured on them."""

    path: str | None = Field(default=None, description="A CSV or JSON Lines file with the columns id and answer.")
    column: str | None = Field(default=None, description="The column of the source that holds the truth.")
    share: float | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="The file has items of its own, with the columns of the source and answer (of a folder: file and "
        "answer); they are mixed in, so that this share of all tasks is gold. Each is used once; they are no answers "
        "of the job.",
    )

    @model_validator(mode="after")
    def _one(self) -> Gold:
        if (self.path is None) == (self.column is None):
            raise ValueError("give either path or column")
        if self.share is not None and self.path is None:
            raise ValueError("share mixes in the items of a path; what is in a column is in the source already")
        return self
