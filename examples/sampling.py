"""Responses drawn from the language model, byte by byte."""

import numpy as np

from byte_lm import ByteLM
from features import END, LAGS, NOTHING, Memory, encode
from pairs import PROMPT_BYTES


def sample(
    model: ByteLM, prompts: list[bytes], max_bytes: int, rng: np.random.Generator
) -> tuple[list[bytes], list[bool]]:
    """One response to each prompt, and whether it came to its END within `max_bytes`."""
    memories = [Memory(prompt[-PROMPT_BYTES:]) for prompt in prompts]
    last_bytes = np.full((len(prompts), LAGS), NOTHING)
    responses = [bytearray() for _ in prompts]
    running = np.arange(len(prompts))
    for length in range(max_bytes):
        recalled = np.array([memories[i].recall() for i in running])
        logits, _ = model(encode(last_bytes[running], np.full(len(running), length), recalled))
        tokens = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # draws from softmax(logits)
        running, tokens = running[tokens != END], tokens[tokens != END]
        if not len(running):
            break
        last_bytes[running] = np.column_stack([tokens, last_bytes[running, :-1]])
        for i, token in zip(running, tokens.tolist(), strict=True):
            responses[i].append(token)
            memories[i].read(token)
    return [bytes(response) for response in responses], [i not in running for i in range(len(prompts))]
