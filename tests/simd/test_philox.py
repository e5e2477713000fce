import numpy as np
import pytest

# Random123, examples/kat_vectors, "philox4x32 10".
KNOWN = [
    ([0, 0, 0, 0, 0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 6, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize("lanes", [1, 16])
def test_known_answers(kernels, level, lanes):
    inputs, texts, expected = {}, [], {}
    for case, (arguments, answer) in enumerate(KNOWN):
        for index, number in enumerate(arguments):
            value = np.uint32(number)
            inputs[f"v{case}_{index}"] = value if lanes == 1 else np.full(lanes, value)
        given = ", ".join(f"v{case}_{index}" for index in range(6))
        for which in range(4):
            texts.append(f"philox({given}, {which})")
            expected[texts[-1]] = answer[which]
        texts.append(f"philox({given}, u32(2))")
        expected[texts[-1]] = answer[2]
    got = kernels.evaluate(texts, inputs, level)
    for text in texts:
        assert np.all(got[text] == expected[text]), text


def test_word_chosen_by_lane(kernels, level):
    which = np.arange(16, dtype=np.uint32) % 4
    zero = np.zeros(16, np.uint32)
    got = kernels.evaluate(["philox(z, z, z, z, z, z, w)"], {"z": zero, "w": which}, level)
    assert got["philox(z, z, z, z, z, z, w)"].tolist() == KNOWN[0][1] * 4
