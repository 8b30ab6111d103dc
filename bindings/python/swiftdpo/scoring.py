"""Scores of whole data sets of stored log-probabilities, batch by batch.

A data set is Parquet files whose columns have the names of a loss's arguments. Rows that break a rule are
named, and left out. A row's results do not depend on the others; the sums are folded over batches in their
order, so that they have the same bits however the files are shared among workers.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise ImportError("swiftdpo.scoring needs pyarrow: pip install 'swiftdpo[arrow]'") from error

from .arrow import is_list, lists, numbers, ragged
from .dpo import LOSS_TYPES, PairMetrics, dpo_loss
from .rankings import plackett_luce_loss
from .unpaired import LOSS_TYPES as UNPAIRED_LOSS_TYPES
from .unpaired import UnpairedLoss, UnpairedMetrics, bco_loss, kto_loss

#: Rows of a batch. Part of what the sums' last digits depend on, therefore fixed.
BATCH_ROWS = 1 << 14
#: Faulty rows that are named for each file. All of them are marked in the file of scores.
MAX_FAULTS = 1000

Array = npt.NDArray[Any]


class RankingMetrics(NamedTuple):
    """Sums and counts over groups: add those of batches or processes, then divide."""

    num_groups: int = 0
    losses: float = 0.0

    def __add__(self, other: object) -> "RankingMetrics":
        """The sums of both."""
        if not isinstance(other, RankingMetrics):
            return NotImplemented
        return RankingMetrics(self.num_groups + other.num_groups, self.losses + other.losses)


Metrics = PairMetrics | RankingMetrics | UnpairedMetrics


class Fault(NamedTuple):
    """A row that breaks a rule."""

    row: int
    """Its position in the file, from 0."""
    reason: str
    """The argument and the rule."""


class Scores(NamedTuple):
    """Results of a batch of rows."""

    table: Any
    """A pyarrow.Table with a line for each row: `row`, `loss`, rewards, and `fault`, null for sound rows."""
    metrics: Metrics
    """Of the sound rows."""
    faults: list[Fault]


class FileScores(NamedTuple):
    """Results of a file."""

    path: str
    num_rows: int
    metrics: list[Metrics]
    """Of each batch."""
    num_faults: int
    faults: list[Fault]
    """The first MAX_FAULTS of them."""


FLOATS = (
    "policy_chosen_logps",
    "policy_rejected_logps",
    "ref_chosen_logps",
    "ref_rejected_logps",
    "beta",
    "margin",
    "weights",
    "soft_labels",
    "reward_gaps",
    "sft_logps",
)
REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")
LENGTHS = {
    "chosen_lengths": "policy_chosen_logps",
    "rejected_lengths": "policy_rejected_logps",
    "sft_lengths": "sft_logps",
}
RESPONSE_FLOATS = ("policy_logps", "ref_logps", "beta", "weights")
RANKING_ITEMS = ("policy_logps", "ref_logps", "rankings", "ranks")


@dataclass(frozen=True)
class Job:
    """What is to be computed, and from which columns. Plain data: workers of other processes can have it."""

    loss_type: tuple[str, ...] = ("sigmoid",)
    """Losses of `swiftdpo.dpo_loss`; or one of "kto", "apo_zero_unpaired", "bco" and "plackett_luce"."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the loss's function, such as beta."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The columns of arguments whose column has another name."""

    @property
    def of_rankings(self) -> bool:
        return self.loss_type == ("plackett_luce",)

    @property
    def of_responses(self) -> bool:
        """Whether rows are single responses, desirable or not."""
        return len(self.loss_type) == 1 and self.loss_type[0] in UNPAIRED_LOSS_TYPES

    @property
    def has_reference(self) -> bool:
        return "odds_ratio" not in self.loss_type and not self.options.get("reference_free")

    @property
    def arguments(self) -> tuple[str, ...]:
        """Those that columns may give."""
        if self.of_rankings:
            return (*RANKING_ITEMS, "beta", "weights")
        return (*RESPONSE_FLOATS, "desirable") if self.of_responses else (*FLOATS, *LENGTHS, "ties")

    def check(self) -> None:
        """Refuses losses that cannot be scored row by row, and options that break a rule."""
        for name in self.loss_type:
            if name in ("aot", "aot_unpaired", "sft"):
                raise ValueError(
                    f"loss_type {name!r} couples the rows of a batch: rows have no score of their own"
                )
            if not self.of_rankings and not self.of_responses and name not in LOSS_TYPES:
                known = ", ".join(("plackett_luce", *UNPAIRED_LOSS_TYPES, *LOSS_TYPES))
                raise ValueError(f"loss_type is {name!r}; expected one of {known}")
        if unknown := self.columns.keys() - set(self.arguments):
            raise ValueError(f"{min(unknown)} is no argument that a column can give")
        row = np.full(1, -1.0)  # a row that breaks no rule
        if self.of_rankings:
            plackett_luce_loss(row[None], **self.options)
        elif self.of_responses:
            self._unpaired_loss(row, row if self.has_reference else None, np.ones(1, bool))
        else:
            columns: dict[str, Any] = dict.fromkeys(LENGTHS, np.ones(1, np.int64))
            columns |= {"sft_logps": row, "reward_gaps": row}
            if "exo_pair" in self.loss_type and not self.options.get("label_smoothing"):
                columns["soft_labels"] = np.full(1, 0.5)
            ref = row if self.has_reference else None
            dpo_loss(row, row, ref, ref, loss_type=self._losses(), **columns, **self.options)

    def _losses(self) -> Any:
        return self.loss_type[0] if len(self.loss_type) == 1 else self.loss_type

    def _unpaired_loss(self, *arguments: Any, **more: Any) -> UnpairedLoss:
        options = {name: value for name, value in self.options.items() if name != "reference_free"} | more
        if self.loss_type == ("bco",):
            return bco_loss(*arguments, **options)
        loss_type: Any = self.loss_type[0]
        return kto_loss(*arguments, loss_type=loss_type, **options)

    def select(self, names: Iterable[str]) -> dict[str, str]:
        """The columns to read out of those that a file has, by argument."""
        names = set(names)
        chosen = {name: self.columns.get(name, name) for name in self.arguments}
        if self.of_rankings:
            required = ["policy_logps"]
        elif self.of_responses:
            required = ["policy_logps", "desirable", *(["ref_logps"] if self.has_reference else [])]
        else:
            required = ["policy_chosen_logps", "policy_rejected_logps"]
            required += REFERENCE if self.has_reference else ()
        for name in (*required, *self.columns):
            if chosen[name] not in names:
                raise ValueError(f"there is no column {chosen[name]!r} for {name}")
        unused = set(self.options) if self.has_reference else {*self.options, *REFERENCE, "ref_logps"}
        return {name: column for name, column in chosen.items() if column in names and name not in unused}


# -- Columns --------------------------------------------------------------------------------------------


def _common_type(arrays: dict[str, Any], names: Iterable[str]) -> None:
    """Floats of one call share one type: single precision only if all have it or less."""
    present = [name for name in names if name in arrays]
    wide = any(arrays[name].dtype not in (np.float32, np.float16) for name in present)
    for name in present:
        arrays[name] = arrays[name].astype(np.float64 if wide else np.float32, copy=False)


def _sums(values: Array, offsets: Array) -> npt.NDArray[np.float64]:
    """The sum of each list, which depends on its own numbers alone."""
    sizes = np.diff(offsets)
    sums = np.zeros(len(sizes))
    if len(values):
        sums[sizes > 0] = np.add.reduceat(values, offsets[:-1][sizes > 0], dtype=np.float64)
    return sums


def _pair_arrays(batch: Any, columns: dict[str, str]) -> dict[str, Array]:
    """The arguments of `dpo_loss`. Lists are a response's tokens: their log-probabilities are summed."""
    arrays: dict[str, Array] = {}
    lengths: dict[str, Array] = {}
    for name, column in columns.items():
        array = batch.column(column)
        if is_list(array.type):
            values, offsets = ragged(array, name)
            arrays[name], lengths[name] = _sums(values, offsets), np.diff(offsets)
        else:
            arrays[name] = numbers(array, name)
    for name, of in LENGTHS.items():
        if name not in arrays and of in lengths:
            arrays[name] = lengths[of]
    _common_type(arrays, FLOATS)
    return arrays


# -- Rows -----------------------------------------------------------------------------------------------


def _sound_parts(
    call: Callable[[int, int], Any], start: int, stop: int, faults: list[Fault]
) -> Iterator[tuple[int, int, Any]]:
    """Calls over ranges of rows that together are all sound ones. The library says why the others are not."""
    if start == stop:
        return
    try:
        yield start, stop, call(start, stop)
    except ValueError as error:
        if stop - start == 1:
            faults.append(Fault(start, str(error).replace("[0]", "", 1)))
            return
        middle = (start + stop) // 2
        yield from _sound_parts(call, start, middle, faults)
        yield from _sound_parts(call, middle, stop, faults)


def _pair_scores(batch: Any, columns: dict[str, str], job: Job) -> Scores:
    count = batch.num_rows
    faults: list[Fault] = []

    def call(start: int, stop: int) -> Any:
        arrays: dict[str, Any] = dict.fromkeys(REFERENCE)
        arrays |= _pair_arrays(batch.slice(start, stop - start), columns)
        return dpo_loss(loss_type=job._losses(), reduction="sum", more=True, **arrays, **job.options)

    parts = list(_sound_parts(call, 0, count, faults))
    results = {name: np.full(count, np.nan) for name in ("loss", "chosen_reward", "rejected_reward")}
    for start, stop, out in parts:
        results["loss"][start:stop] = out.losses
        results["chosen_reward"][start:stop] = out.chosen_rewards
        results["rejected_reward"][start:stop] = out.rejected_rewards
    metrics = reduce(PairMetrics.__add__, (out.metrics for _, _, out in parts), PairMetrics())
    return Scores(pa.table(results), metrics, faults)


def _response_scores(batch: Any, columns: dict[str, str], job: Job) -> Scores:
    count = batch.num_rows
    faults: list[Fault] = []

    def call(start: int, stop: int) -> Any:
        rows = batch.slice(start, stop - start)
        arrays: dict[str, Any] = {}
        for name, column in columns.items():
            array = rows.column(column)
            arrays[name] = _sums(*ragged(array, name)) if is_list(array.type) else numbers(array, name)
        _common_type(arrays, RESPONSE_FLOATS)
        first = arrays.pop("policy_logps"), arrays.pop("ref_logps", None), arrays.pop("desirable")
        return job._unpaired_loss(*first, reduction="sum", **arrays)

    parts = list(_sound_parts(call, 0, count, faults))
    results = {name: np.full(count, np.nan) for name in ("loss", "reward")}
    for start, stop, out in parts:
        results["loss"][start:stop] = out.losses
        results["reward"][start:stop] = out.rewards
    metrics = reduce(UnpairedMetrics.__add__, (out.metrics for _, _, out in parts), UnpairedMetrics())
    return Scores(pa.table(results), metrics, faults)


def _ranking_scores(batch: Any, columns: dict[str, str], job: Job) -> Scores:
    count = batch.num_rows
    faults: list[Fault] = []

    def call(start: int, stop: int) -> Any:
        rows = batch.slice(start, stop - start)
        arrays: dict[str, Any] = {}
        offsets = None
        for name, column in columns.items():
            array = rows.column(column)
            if name not in RANKING_ITEMS:
                arrays[name] = numbers(array, name)
                continue
            arrays[name], own = ragged(array, name)
            offsets = own if offsets is None else offsets
            if not np.array_equal(own, offsets):
                raise ValueError(f"{name}: the list is not as long as that of policy_logps")
        _common_type(arrays, ("policy_logps", "ref_logps", "beta", "weights"))
        return plackett_luce_loss(offsets=offsets, reduction="sum", **arrays, **job.options), offsets

    parts = list(_sound_parts(call, 0, count, faults))
    losses = np.full(count, np.nan)
    sizes = np.zeros(count, np.int64)
    for start, stop, (out, offsets) in parts:
        losses[start:stop] = out.losses
        sizes[start:stop] = np.diff(offsets)
    rewards = np.concatenate([np.empty(0), *(out.rewards for _, _, (out, _) in parts)])
    table = pa.table({"loss": losses, "rewards": lists(rewards, np.concatenate([[0], np.cumsum(sizes)]))})
    sums = (RankingMetrics(stop - start, float(out.loss)) for start, stop, (out, _) in parts)
    return Scores(table, reduce(RankingMetrics.__add__, sums, RankingMetrics()), faults)


def score_batch(batch: Any, job: Job, first_row: int = 0) -> Scores:
    """Scores of a pyarrow.RecordBatch, whose first row is `first_row` of its file."""
    columns = job.select(batch.schema.names)
    score = _pair_scores
    if job.of_rankings:
        score = _ranking_scores
    elif job.of_responses:
        score = _response_scores
    scores = score(batch, columns, job)
    faults = [Fault(first_row + row, reason) for row, reason in scores.faults]
    reasons: list[str | None] = [None] * batch.num_rows
    for fault in scores.faults:
        reasons[fault.row] = fault.reason
    rows = pa.array(np.arange(first_row, first_row + batch.num_rows))
    table = scores.table.add_column(0, "row", rows).append_column("fault", pa.array(reasons, pa.string()))
    return Scores(table, scores.metrics, faults)


# -- Files ----------------------------------------------------------------------------------------------


def batches(path: str | Path, job: Job) -> Iterator[Scores]:
    """Scores of a Parquet file, batch by batch: memory is that of one batch."""
    with pq.ParquetFile(path) as file:
        columns = job.select(file.schema_arrow.names)
        first_row = 0
        for batch in file.iter_batches(BATCH_ROWS, columns=sorted(set(columns.values()))):
            yield score_batch(batch, job, first_row)
            first_row += batch.num_rows


def score_file(
    path: str | Path,
    job: Job,
    out: str | Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> FileScores:
    """Scores of a Parquet file.

    Parameters
    ----------
    path : path
        The file.
    job : Job
        What is to be computed.
    out : path, optional
        A Parquet file for the scores of each row.
    progress : callable, optional
        Called with the number of rows of each batch behind it.
    """
    metrics: list[Metrics] = []
    faults: list[Fault] = []
    num_rows, num_faults, writer = 0, 0, None
    try:
        for scores in batches(path, job):
            if out is not None:
                writer = writer or pq.ParquetWriter(out, scores.table.schema)
                writer.write_table(scores.table)
            metrics.append(scores.metrics)
            num_faults += len(scores.faults)
            faults += scores.faults[: MAX_FAULTS - len(faults)]
            num_rows += scores.table.num_rows
            if progress is not None:
                progress(scores.table.num_rows)
    finally:
        if writer is not None:
            writer.close()
    return FileScores(str(path), num_rows, metrics, num_faults, faults)


def total(files: Iterable[FileScores]) -> Metrics | None:
    """The sums over files, folded in their order; None without a batch."""
    every: list[Any] = [metrics for file in files for metrics in file.metrics]
    return reduce(operator.add, every) if every else None


def summary(files: Iterable[FileScores]) -> dict[str, float | int]:
    """Counts, and means over the sound rows."""
    files = list(files)
    result: dict[str, float | int] = {
        "rows": sum(file.num_rows for file in files),
        "faulty_rows": sum(file.num_faults for file in files),
    }
    sums = total(files)
    if isinstance(sums, PairMetrics):
        result |= {
            "loss": sums.mean("losses"),
            "accuracy": sums.accuracy,
            "ties": sums.num_tied,
            "reward_margin": sums.reward_margin,
            "chosen_reward": sums.mean("chosen_rewards"),
            "rejected_reward": sums.mean("rejected_rewards"),
            "chosen_log_ratio": sums.mean("chosen_kl_k1"),
            "rejected_log_ratio": sums.mean("rejected_kl_k1"),
        }
    elif isinstance(sums, UnpairedMetrics):
        classes = (
            ("desirable", sums.num_desirable, sums.desirable_rewards),
            ("undesirable", sums.num_undesirable, sums.undesirable_rewards),
        )
        count = sums.num_desirable + sums.num_undesirable
        result["loss"] = sums.losses / count if count else float("nan")
        result["reward_margin"] = sums.reward_margin
        for name, number, rewards in classes:
            result[f"{name}_rows"] = number
            result[f"{name}_reward"] = rewards / number if number else float("nan")
    elif isinstance(sums, RankingMetrics):
        result["loss"] = sums.losses / sums.num_groups if sums.num_groups else float("nan")
    return result
