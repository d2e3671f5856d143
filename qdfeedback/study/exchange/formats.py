"""The names of formats that go out and come in; the command reads them without loading what writes them."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal[
    "jsonl", "csv", "parquet", "jspsych", "label-studio", "potato", "trl", "hf-triplets", "nights", "things"
]
ImportFormat = Literal["jsonl", "csv", "parquet", "jspsych", "label-studio", "potato"]
RecordFormat = Literal["jsonl", "csv", "parquet"]
TrainingFormat = Literal["trl", "hf-triplets", "nights", "things"]
FORMATS: tuple[Format, ...] = get_args(Format)
IMPORT_FORMATS: tuple[ImportFormat, ...] = get_args(ImportFormat)
RECORD_FORMATS: tuple[RecordFormat, ...] = get_args(RecordFormat)
TRAINING_FORMATS: tuple[TrainingFormat, ...] = get_args(TrainingFormat)
