"""Recorded functions: what a pure function does to tensors, done again without its Python.

On small networks an update is dispatch, not arithmetic. A function of tensors alone does the same
operations for all inputs of one shape. So they are recorded, and from then on either replayed by
PyTorch's interpreter, with the same bits; or compiled into one piece of C++, which is faster still,
with other last bits, after some seconds of compiling. docs/performance.md has the times.
"""

import logging
import re
from operator import is_

from agents.recording import Function, Recording, Tree, first_line

LOG = logging.getLogger("retain")
PLAIN_CALLS = 50  # before a function is recorded, which takes as long as some hundred calls


class Compiler:
    """What compiles an agent's functions.

    Attributes:
        works: Whether its C++ compiler does, as far as is known.
    """

    works = True


class Recorded:
    """A pure function, recorded for each shape of its arguments; where it cannot be, run as it is.

    Args:
        function: Takes dicts of tensors and returns a tuple of such. It writes into none of them,
            draws no random numbers, and its operations depend on nothing but shapes.
        what: Its name in the one line that says that it could not be recorded or compiled.
        compiler: Compiles it, at its first call; may be that of other functions too, so that none
            tries again what has failed. None: it is replayed, after PLAIN_CALLS calls as it is,
            whose results are the same bit for bit.

    Attributes:
        recordings: How often it was recorded: once, unless shapes changed.
    """

    def __init__(self, function: Function, what: str, compiler: Compiler | None = None) -> None:
        self._function, self._what, self._compiler = function, what, compiler
        self._found: list[Recording] = []
        self._fitting: tuple[Tree, ...] = ()  # what the first of these is known to fit
        self._waiting: float = 0 if compiler else PLAIN_CALLS
        self.recordings = 0

    @property
    def compiled(self) -> bool:
        """Whether it is compiled, or will be at its first call: not if that has failed."""
        return self._compiler is not None and self._compiler.works

    def __call__(self, *trees: Tree) -> tuple[Tree, ...]:
        """What the function returns. No dict given or returned may be changed afterwards."""
        fitting = self._fitting
        if len(trees) == len(fitting) and all(map(is_, trees, fitting)):
            recording: Recording | None = self._found[0]
        else:
            recording = self._recording_of(trees)
        if recording is None:
            return self._function(*trees)
        results = recording.play(trees)
        # A new state usually comes back as the next call's, beside what was given before.
        self._fitting = (results[0], *trees[1:]) if recording.result_fits_again else trees
        return results

    def _recording_of(self, trees: tuple[Tree, ...]) -> Recording | None:
        """The recording that fits, moved to the front; None while the function runs as it is."""
        known, self._fitting = self._fitting, ()  # nothing, should a call be interrupted
        for number, recording in enumerate(self._found):
            if recording.fits(trees, known):
                self._found.insert(0, self._found.pop(number))
                return recording
            known = ()  # to the others
        if self._waiting > 0:
            self._waiting -= 1
            return None
        return self._record(trees)

    def _record(self, trees: tuple[Tree, ...]) -> Recording | None:
        compiler = self._compiler
        if compiler and not compiler.works:  # as another function found out
            self._compiler, self._waiting = None, PLAIN_CALLS
            return None
        try:
            recording = Recording(self._function, trees)
            if compiler:
                recording.compile(trees)
            else:
                recording.interpret(trees)
        except Exception as error:  # what PyTorch raises differs between its versions
            self._function(*trees)  # raises by itself if the function is to blame
            self._complain(error)
            # A failed compilation leaves replaying; a failed recording leaves nothing.
            self._compiler, self._waiting = None, PLAIN_CALLS if compiler else float("inf")
            return None
        self._found.insert(0, recording)
        self.recordings += 1
        return recording

    def _complain(self, error: Exception) -> None:
        if self._compiler and "CppCompileError" in repr(error):  # which is private to PyTorch
            self._compiler.works = False
            LOG.warning("nothing can be compiled here, so the run is slower: %s", _reason(error))
            return
        how = "compiled" if self._compiler else "recorded"
        LOG.warning("%s cannot be %s and runs slower: %s", self._what, how, _reason(error))


def _reason(error: Exception) -> str:
    """An error's first line, and of a C++ compiler's long one the first thing that it found."""
    what, rest = first_line(error), str(error).strip().splitlines()[1:]
    found = (line.strip() for line in rest if re.search(r"\berror: ", line))
    return ": ".join([what, *found][:2])


def missing_compiler() -> str | None:
    """Why nothing can be compiled here, in a few words; None where a C++ compiler is found."""
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()
    except Exception as error:  # what it raises differs between versions of PyTorch
        return first_line(error)
    return None
