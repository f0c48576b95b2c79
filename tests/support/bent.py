"""Texts that are nearly right."""

from __future__ import annotations

from hypothesis import strategies as st


def bent(text: str, letters: str) -> st.SearchStrategy[str]:
    """The text with one of its letters changed into one of these, or left out, or with one of these added."""

    def bend(place: int, letter: str) -> st.SearchStrategy[str]:
        before, behind = text[:place], text[place:]
        return st.sampled_from([before + letter + behind[1:], before + behind[1:], before + letter + behind])

    return st.tuples(st.integers(0, len(text)), st.sampled_from(letters)).flatmap(lambda drawn: bend(*drawn))
