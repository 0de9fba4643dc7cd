"""Names that a user typed, looked up among those there are."""

import difflib
from collections.abc import Collection


def check_known(what: str, name: str, known: Collection[str]) -> None:
    """Raise ValueError, with the nearest name or else all of them, unless `name` is known."""
    if name in known:
        return
    lowered = {each.lower(): each for each in known}
    close = difflib.get_close_matches(str(name).lower(), lowered, n=1)
    hint = f"did you mean {lowered[close[0]]}?" if close else f"known are {', '.join(known)}"
    raise ValueError(f"unknown {what} {name!r}; {hint}")
