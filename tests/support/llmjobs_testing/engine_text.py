"""The scripted engine's text: a pure function of the token index.

Every token's text names its index, so a lost, repeated or reordered token shows in the text.
Some characters span two tokens, as in real tokenizers: the first of the two yields no text yet.
"""

from collections.abc import Sequence

FIRST_GENERATED_ID = 100_000
"""Ids from here on are generated tokens; prompt tokens are below."""
EOS_ID = 2
_SPLIT_EVERY = 16
BROKEN = "\ufffd"


def token_text(index: int, seed: int | None = None) -> str:
    """Return what token *index* adds to the text; empty when its character is not whole yet."""
    if index % _SPLIT_EVERY == _SPLIT_EVERY - 2:
        return ""
    name = f"t{index}" if seed is None else f"s{seed}.t{index}"
    return f"é🙂{name} " if index % _SPLIT_EVERY == _SPLIT_EVERY - 1 else f"{name} "


def is_inside_character(count: int) -> bool:
    """Whether *count* tokens end in the middle of a character."""
    return count > 0 and (count - 1) % _SPLIT_EVERY == _SPLIT_EVERY - 2


def build_text(count: int, seed: int | None = None) -> str:
    """Return the exact text of the first *count* tokens."""
    return "".join(token_text(index, seed) for index in range(count))


def build_prompt_ids(text: str) -> list[int]:
    """Return one id a word, the same for the same word."""
    return [10 + sum(word.encode()) % (FIRST_GENERATED_ID - 10) for word in text.split()]


def parse_position_of_ids(ids: Sequence[int]) -> tuple[list[int], int]:
    """Return the prompt's ids and how many generated tokens follow.

    Raises ValueError if the generated ids are not exactly the first ones in order.
    """
    at = next((i for i, value in enumerate(ids) if value >= FIRST_GENERATED_ID), len(ids))
    generated = list(ids[at:])
    if generated != [FIRST_GENERATED_ID + i for i in range(len(generated))]:
        raise ValueError("generated token ids are lost, repeated or out of order")
    return list(ids[:at]), len(generated)


def parse_position_of_text(text: str, seed: int | None = None) -> tuple[int, str]:
    """Return how many tokens *text* holds, and what is left to say of the next one.

    Raises ValueError if *text* is not a beginning of the scripted text.
    """
    count, rest = 0, text
    while rest:
        piece = token_text(count, seed)
        if not rest.startswith(piece):
            if piece.startswith(rest):
                return count + 1, piece[len(rest) :]
            raise ValueError("the text to continue is not a beginning of what was generated")
        rest = rest[len(piece) :]
        count += 1
    return count, ""


def find_generated_text(prompt: str, seed: int | None = None) -> str:
    """Return the tail of *prompt* that is generated text, found by its first token."""
    at = prompt.find(token_text(0, seed))
    return "" if at < 0 else prompt[at:]
