"""A small byte-level language model in NumPy, with its own backward pass.

    hidden  = tanh(sum of the byte embeddings + n-gram embedding)     logits = hidden @ output + bias
    control = tanh(sum of the control embeddings) @ control_output + control_bias

The three controls are added to the logits of three tokens: END, the byte that would go on copying from the
prompt, and the byte that would repeat the response. So a few parameters decide when to stop and when to copy,
given a summary of the state, and many learn the bytes.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from features import BYTE_FEATURES, CONTROL_FEATURES, NGRAM_BUCKETS, VOCABULARY, Features

HIDDEN, CONTROL_HIDDEN, CONTROLS = 64, 16, 3

Parameters = dict[str, np.ndarray]


class ByteLM:
    def __init__(self, rng: np.random.Generator, dtype: type = np.float32) -> None:
        def normal(scale: float, *shape: int) -> np.ndarray:
            return (scale * rng.standard_normal(shape)).astype(dtype)

        self.dtype = dtype
        self.parameters: Parameters = {
            "byte_embeddings": normal(0.3, sum(BYTE_FEATURES), HIDDEN),
            "ngram_embeddings": np.zeros((NGRAM_BUCKETS, HIDDEN), dtype),  # what was never seen says nothing
            "output": normal(0.05, HIDDEN, VOCABULARY),
            "bias": np.zeros(VOCABULARY, dtype),
            "control_embeddings": normal(0.3, sum(CONTROL_FEATURES), CONTROL_HIDDEN),
            "control_output": normal(0.05, CONTROL_HIDDEN, CONTROLS),
            "control_bias": np.zeros(CONTROLS, dtype),
        }

    def __call__(self, features: Features) -> tuple[np.ndarray, Callable[[np.ndarray], Parameters]]:
        """Logits [N, VOCABULARY], and the backward pass: from their gradient to that of the parameters."""
        p = self.parameters
        bytes_ = self.bag(features.bytes, "byte_embeddings")
        ngrams = self.bag(features.ngrams, "ngram_embeddings")
        controls = self.bag(features.controls, "control_embeddings")

        hidden = np.tanh(bytes_ @ p["byte_embeddings"] + ngrams @ p["ngram_embeddings"])
        control_hidden = np.tanh(controls @ p["control_embeddings"])
        control = (control_hidden @ p["control_output"] + p["control_bias"]) * features.present
        logits = hidden @ p["output"]
        logits += p["bias"]
        for k in range(CONTROLS):  # one by one, for two of them may raise the same token
            logits[np.arange(len(logits)), features.targets[:, k]] += control[:, k]

        def backward(grad_logits: np.ndarray) -> Parameters:
            grad_hidden = (grad_logits @ p["output"].T) * (1 - hidden**2)
            grad_control = np.take_along_axis(grad_logits, features.targets, axis=1) * features.present
            grad_control_hidden = (grad_control @ p["control_output"].T) * (1 - control_hidden**2)
            return {
                "byte_embeddings": bytes_.T @ grad_hidden,
                "ngram_embeddings": ngrams.T @ grad_hidden,
                "output": hidden.T @ grad_logits,
                "bias": grad_logits.sum(0),
                "control_embeddings": controls.T @ grad_control_hidden,
                "control_output": control_hidden.T @ grad_control,
                "control_bias": grad_control.sum(0),
            }

        return logits, backward

    def bag(self, rows: np.ndarray, table: str) -> csr_array:
        """Times the table it sums each position's rows; transposed, it scatters a gradient back to them."""
        ones = np.ones(rows.size, self.dtype)
        starts = np.arange(0, rows.size + 1, rows.shape[1], np.int32)
        return csr_array((ones, rows.ravel(), starts), shape=(len(rows), len(self.parameters[table])))

    def copy(self) -> "ByteLM":
        twin = object.__new__(ByteLM)
        twin.dtype = self.dtype
        twin.parameters = {name: value.copy() for name, value in self.parameters.items()}
        return twin


class Adam:
    """Kingma and Ba (2015). The gradient's norm is clipped to 1; the rates warm up, then fall linearly."""

    def __init__(self, model: ByteLM, rates: dict[str, float], total_steps: int) -> None:
        self.parameters, self.rates = model.parameters, rates
        self.steps, self.total_steps = 0, total_steps
        self.mean = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self.square = {name: np.zeros_like(value) for name, value in self.parameters.items()}

    def step(self, gradients: Parameters) -> None:
        schedule = min(1, (self.steps + 1) / 20) * max(0.05, 1 - self.steps / self.total_steps)
        self.steps += 1
        unbias = np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        norm = np.sqrt(sum(float(np.vdot(g, g)) for g in gradients.values()))
        for name, gradient in gradients.items():
            gradient /= max(norm, 1)
            mean, square = self.mean[name], self.square[name]
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            rate = float(self.rates[name] * schedule * unbias)
            self.parameters[name] -= rate * mean / (np.sqrt(square) + 1e-8)
