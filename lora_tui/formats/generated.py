"""What is wrong with a generated text: it repeats itself, is the question again, or was cut in the middle.

Every test looks at a bounded part of a text and mostly in compiled code, so that a file of 100 MB takes seconds.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

GRAM, TIMES = 8, 5
"""So many words (or characters) so often are a loop, not a figure of speech."""
LOOKED_AT = 6000
"""Characters of a text that are looked at for repetition: a loop goes on to the end."""
PROBES, HITS = 12, 2
"""A text is probed at so many places, evenly spaced; so many must be in the loop. A phrase that belongs to the subject
(the name of a court in a judgment) is met by one at most."""
RUN = 40
"""This often one character in a row is a loop too ("!!!!!!", which broken weights like to say)."""
ECHO = 8
"""A shorter prediction may stand at the end of a prompt by chance."""
TEMPLATE = 120
"""Characters of a chat template that may follow the question in a prompt."""

_ENDS = frozenset(".!?。！？…\"'”’」』）)]}】》>`*|~～;；:：")
_BEFORE = frozenset("\n>]:：")
_AFTER = re.compile(
    r"(?:<[^<>\n]{1,40}>|\[/?[A-Z]{1,8}\]|#|\s|assistant|response|model|gpt|助手|回答|[:：])*", re.IGNORECASE
)
"""What templates write between a question and its answer."""
_SAME = re.compile(rf"(\S)\1{{{RUN - 1}}}")


class Ending(NamedTuple):
    """How long a text is and whether it ends in the middle of a sentence."""

    bucket: int
    """Estimated tokens, rounded to 5 %."""
    is_open: bool


def repeats(text: str) -> bool:
    """The same eight words (or characters) stand in the text five times, or one character forty times in a row."""
    text = text[-LOOKED_AT:]
    if len(text) < RUN:
        return False
    if _SAME.search(text):
        return True
    words = text.split()
    # Chinese and Japanese have no spaces; nor does a loop without any.
    by_word = len(words) * 12 > len(text)
    size, joint = (len(words), " ") if by_word else (len(text), "")
    if size < GRAM * TIMES:
        return False
    plain = " ".join(words) if by_word else text
    last, hits = size - GRAM, 0
    for probe in range(PROBES):
        start = last * probe // (PROBES - 1)
        gram = joint.join(words[start : start + GRAM]) if by_word else text[start : start + GRAM]
        # Lines of a table and rulers of dashes repeat as well.
        if sum(map(str.isalnum, gram)) >= GRAM // 2 and plain.count(gram) >= TIMES:
            hits += 1
    return hits >= HITS


def echoes(text: str, prompt: str, label: str) -> bool:
    """The text is what the prompt ends with (but for the template behind it), and not what was asked for."""
    text = text.strip()
    if len(text) < ECHO or not prompt:
        return False
    at = prompt.rfind(text, max(0, len(prompt) - len(text) - TEMPLATE))
    if at < 0 or text == label.strip():
        return False
    before = prompt[:at].rstrip(" ")[-1:]
    return (not before or before in _BEFORE) and _AFTER.fullmatch(prompt, at + len(text)) is not None


def ending(text: str) -> Ending:
    """Length and end of a text that is not blank."""
    text = text.rstrip()
    wide = (len(text.encode("utf-8", "replace")) - len(text)) // 2
    tokens = max(1.0, 0.65 * wide + 0.25 * (len(text) - wide))
    return Ending(bucket(tokens), text[-1:] not in _ENDS)


def bucket(tokens: float) -> int:
    """A number of tokens rounded to 5 %, so that a count by length stays small whatever the texts."""
    return round(1.05 ** round(math.log(max(1.0, tokens), 1.05)))
