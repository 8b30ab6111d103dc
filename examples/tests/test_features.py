from dataclasses import astuple

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from features import BYTE_FEATURES, CONTROL_FEATURES, END, NGRAM_BUCKETS, NOTHING, VOCABULARY, of_response

texts = st.binary(max_size=60) | st.text("ab ", max_size=60).map(str.encode)


@given(texts, texts)
@example(b"", b"")
@example(b"aaaa", b"a" * 5000)
def test_each_feature_stays_in_its_rows(prompt, response):
    features = of_response(prompt, response)
    for rows, sizes in (features.bytes, BYTE_FEATURES), (features.controls, CONTROL_FEATURES):
        ends = np.cumsum(sizes)
        assert rows.shape == (len(response) + 1, len(sizes))
        assert ((rows >= ends - sizes) & (rows < ends)).all()
    assert ((features.ngrams >= 0) & (features.ngrams < NGRAM_BUCKETS)).all()
    assert ((features.targets >= 0) & (features.targets < VOCABULARY)).all()


@given(texts, texts, texts)
def test_features_see_no_byte_that_is_still_to_come(prompt, response, more):
    whole, part = of_response(prompt, response + more), of_response(prompt, response)
    seen = np.arange(len(response) + 1)
    for ahead, here in zip(astuple(whole[seen]), astuple(part), strict=True):
        np.testing.assert_array_equal(ahead, here)


def test_candidates_go_on_from_the_last_occurrence():
    features = of_response(b"one two one ten", b"one two")
    end, copy, repeat = features.targets.T
    assert (end == END).all()
    assert copy[:4].tolist() == [NOTHING] * 4  # four bytes find the place
    assert bytes(copy[4:7].tolist()) == b"teo"  # the "te" of "one ten" came last
    assert (repeat == NOTHING).all()
    assert (
        features.present[:, 0].all() and not features.present[:4, 1].any() and features.present[4:7, 1].all()
    )
    assert of_response(b"", b"ababab").targets[:, 2].tolist() == [NOTHING] * 6 + [ord("a")]


def test_summary_counts_what_is_covered_copied_and_repeated():
    starts = np.cumsum(CONTROL_FEATURES) - CONTROL_FEATURES
    covered, copied, repeated = (of_response(b"abcdefgh", b"abcdabcd").controls - starts)[-1, 1:4]
    # Five keys: abcd, twice, of the prompt's four keys with a next byte; three that are new.
    assert (covered, copied, repeated) == (int(15 * (1 / 5) ** 0.5), int(15 * 2 / 5), int(15 * 1 / 5))
