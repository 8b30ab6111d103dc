"""Writes Tests/Golden as C initialisers, digit for digit, so that no number is copied by hand."""

import json
import math
import sys
from decimal import Decimal
from pathlib import Path

GOLDEN = Path(__file__).parent.parent / "Golden"


def load(name):
    return json.loads((GOLDEN / name).read_text(), parse_float=Decimal)


def initialiser(values):
    return "{" + ", ".join(str(value) for value in values) + "}"


def table(declaration, rows):
    return "\n".join([f"static const {declaration}[] = {{", *(f"  {row}," for row in rows), "};"])


def dpo_batches():
    """Each published batch at each label smoothing or beta: a row for each pair, and a published mean."""
    pairs, batches = [], []
    for name, source in load("dpo_reference.json").items():
        for setting, expected in source.items():
            key, _, value = setting.partition("=")
            if key not in ("eps", "beta") or not value:
                continue
            beta = value if key == "beta" else source["beta"]
            smoothing = value if key == "eps" else 0
            mean = source.get(f"mean_{setting}", "NAN")
            title = f'"{name}, {setting}"'
            batches.append(initialiser([title, len(pairs), len(expected), beta, smoothing, mean]))
            for i, pair in enumerate(expected):
                inputs = [source[key][i] for key in ("pc", "pr", "rc", "rr")]
                results = [
                    pair[key]
                    for key in ("z", "loss", "dL_dpc", "chosen_reward", "rejected_reward", "reffree")
                ]
                pairs.append(initialiser(inputs + results))
    yield table("golden_pair golden_pairs", pairs)
    yield table("golden_batch golden_batches", batches)


def tshirt_rankings():
    """Full rankings of one set of items, with log-likelihood and gradient at two vectors of log-worths."""
    data, expected = load("tshirts.json"), load("pl_reference.json")["tshirt"]
    items = len(data["items"])
    fixed = [repr(0.5 * math.sin(i + 1)) for i in range(items)]
    yield f"enum {{ TSHIRTS = {items}, TSHIRT_RANKINGS = {len(data['orders'])} }};"
    yield table("int64_t tshirt_rankings", (", ".join(map(str, order)) for order in data["orders"]))
    yield f"static const double tshirt_theta_mle[] = {initialiser(expected['theta_mle_zero_mean'])};"
    yield f"static const double tshirt_loglik_mle = {expected['loglik_mle']};"
    yield f"static const double tshirt_theta_fixed[] = {initialiser(fixed)};"
    yield f"static const double tshirt_loglik_fixed = {expected['fixed_theta']['loglik']};"
    yield f"static const double tshirt_gradient_fixed[] = {initialiser(expected['fixed_theta']['grad'])};"


def published_lists():
    """Single lists of at most three items, with the loss that ListMLE's public tests expect."""
    rows = []
    for case in load("listmle_published.json"):
        scores, ranking = initialiser(case["scores"]), initialiser(case["ranking"])
        rows.append(initialiser([len(case["scores"]), scores, ranking, case["loss"]]))
    yield table("golden_list golden_lists", rows)


if __name__ == "__main__":
    parts = [*dpo_batches(), *tshirt_rankings(), *published_lists()]
    Path(sys.argv[1]).write_text("\n\n".join(parts) + "\n")
