"""What the documentation tells people to type works.

Every line of every ```bash and ```console block in README.md and docs/ is a command that is checked
here: training and evaluation run for real, only shorter, and a benchmark until it has understood
its arguments; of the others it is checked that what they name exists. A line that this file does
not understand fails, so that nothing goes untested unnoticed. ```python blocks are compiled, and
run where `<!-- run -->` stands above them.
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
import textwrap
from argparse import ArgumentParser
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

import gymnasium as gym
import pytest

from agents import compiling
from experiments.tracking import Tracker

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
# Blocks in these languages show something: a result, a file, a formula.
SHOWN = {"", "text", "json", "math", "mermaid", "diff", "ini", "toml", "yaml", "bibtex"}

FENCE = re.compile(
    r"^(?P<run> *<!-- run -->\n+)?^(?P<indent> *)```(?P<language>\S*)[^\n]*\n"
    r"(?P<body>.*?)^(?P=indent)```\s*$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    where: str
    language: str
    body: str
    run: bool


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        where = f"{page.relative_to(ROOT)}:{line}"
        body = textwrap.dedent(match["body"])
        found.append(Block(where, match["language"], body, bool(match["run"])))
    return found


def commands(block: Block) -> list[list[str]]:
    """The commands of a block as lists of words, without comments and, in console, output."""
    lines = block.body.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    found = []
    for line in lines:
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # OMP_NUM_THREADS=1 python ...
                del words[0]
            if words:
                found.append(words)
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
# Once each, however often the documentation repeats it.
COMMANDS = {
    shlex.join(words): block.where
    for block in reversed(BLOCKS)
    if block.language in ("bash", "console")
    for words in commands(block)
}
PYTHON_BLOCKS = [block for block in BLOCKS if block.language == "python"]


# --- shrinking: adapt this part when a flag of train.py or evaluate.py changes ------------------

TINY = {
    "train.py": {
        "--steps": "120",
        "--eval-episodes": "1",
        "--eval-interval": "120",
        "--learning-starts": "40",
    },
    "evaluate.py": {"--episodes": "1"},
}
LONGEST_EPISODE = 60
MEMBERS = 2  # at most, of a command that asks for more
# With all that a run does; the others leave out what takes longest and is the same for all.
WHOLE = ["train.py", "--envs", "CartPole,Acrobot"]


def shrink(words: list[str], logdir: Path, trained: Path) -> list[str]:
    """The same command, but done in seconds, writing under `logdir` and reading a run that exists.

    Each flag of TINY replaces the one that the documentation gives.
    """
    script, *arguments = words
    tiny = TINY[script] | ({"--logdir": str(logdir)} if script == "train.py" else {})
    kept: list[str] = []
    skip_value = False
    for word in arguments:
        if skip_value:
            skip_value = False
        elif kept[-1:] == ["--seeds"]:
            kept.append(str(min(int(word), MEMBERS)))
        elif word.split("=")[0] in tiny:
            skip_value = "=" not in word
        elif word.startswith("runs/"):
            kept.append(str(trained))
        else:
            kept.append(re.sub(r"(?<=\w):\d[\d_]*", "", word))  # CartPole:30000 is CartPole
    return [script, *kept, *(word for flag in tiny.items() for word in flag)]


# -------------------------------------------------------------------------------------------------


def check_python(program: str, cwd: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{program}\n{done.stdout}\n{done.stderr}"


def run_here(words: list[str], cwd: Path, whole: bool = False) -> None:
    """Runs a program with its arguments in this process, with short episodes.

    Calls are recorded, here after a few, and pictures drawn only if it is to be the whole.
    test_train.py and test_evaluate.py start processes as somebody who types does.
    """
    script, *arguments = words
    with pytest.MonkeyPatch.context() as patch:
        for spec in gym.registry.values():
            if (spec.max_episode_steps or 0) > LONGEST_EPISODE:
                patch.setattr(spec, "max_episode_steps", LONGEST_EPISODE)
        patch.setattr(compiling, "PLAIN_CALLS", 5 if whole else float("inf"))
        if not whole:
            patch.setattr(Tracker, "pictures", lambda *arguments: None)
        patch.chdir(cwd)
        patch.setattr(sys, "argv", [str(ROOT / script), *arguments])
        patch.syspath_prepend((ROOT / script).parent)
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as left:
            assert not left.code, f"exit code {left.code}: {shlex.join(words)}"


class Understood(Exception):
    """A program has parsed its arguments."""


def check_arguments(words: list[str], cwd: Path) -> None:
    """The program starts, and knows the arguments and the values that it is given."""
    parse = ArgumentParser.parse_args

    def parse_and_stop(parser: ArgumentParser) -> None:
        parse(parser)
        raise Understood

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Understood):
        patch.setattr(ArgumentParser, "parse_args", parse_and_stop)
        run_here(words, cwd)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A run for the commands that need one: to evaluate, to resume."""
    folder = tmp_path_factory.mktemp("trained")
    run_here(shrink([*WHOLE, "--name", "tiny"], folder, folder), folder)
    return folder / "tiny"


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def check_make(words: list[str]) -> None:
    named = {word for word in words if "=" not in word}
    assert named, "make without a target trains: say so"
    assert named <= targets(), f"the Makefile has no target {named - targets()}"


def check_pip(words: list[str]) -> None:
    """The extras that are named exist."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extras in re.findall(r"(?:^\.|retain-rl)\[(.*?)\]", "\n".join(words), re.MULTILINE):
        unknown = set(extras.split(",")) - set(setup["options.extras_require"])
        assert not unknown, f"setup.cfg has no extra {unknown}"
    if "-c" in words:
        assert (ROOT / words[words.index("-c") + 1]).exists()


def check(words: list[str], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    words = [
        {"retain-train": "train.py", "retain-evaluate": "evaluate.py"}.get(w, w) for w in words
    ]
    if words[0] in ("python", "python3"):
        del words[0]
    match words:
        case ["train.py" | "evaluate.py", *_]:
            reads_a_run = any(word.startswith("runs/") for word in words)
            trained = request.getfixturevalue("trained") if reads_a_run else tmp_path
            run_here(shrink(words, tmp_path, trained), tmp_path, words == WHOLE)
        case [script, *_] if script.startswith("benchmarks/"):
            check_arguments(words, tmp_path)
        case [script, *_] if script.startswith("examples/"):
            compile((ROOT / script).read_text(), script, "exec")  # run by their own test
        case ["make", *rest]:
            check_make(rest)
            if "train" in rest:
                extra = [word.removeprefix("ARGS=") for word in rest if word.startswith("ARGS=")]
                check(
                    ["train.py", "--envs", "CartPole", *shlex.split("".join(extra))],
                    tmp_path,
                    request,
                )
        case ["pip", "install", *rest] | ["-m", "pip", "install", *rest]:
            check_pip(rest)
        case ["-m", "venv", _] | ["git", "clone", *_] | ["cd", _] | ["tensorboard", "--logdir", _]:
            pass  # other people's programs, used as everybody uses them
        case _:
            raise AssertionError("unknown command: teach check() what to do with it")


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, tmp_path, request):
    try:
        check(shlex.split(command), tmp_path, request)
    except AssertionError as error:
        error.add_note(f"{COMMANDS[command]}: {command}")
        raise


def test_every_block_has_a_language_that_is_checked_or_only_shown():
    known = SHOWN | {"bash", "console", "python"}
    assert not [f"{b.where}: {b.language}" for b in BLOCKS if b.language not in known]


def test_commands_are_not_hidden_in_shown_blocks():
    for block in BLOCKS:
        if block.language in SHOWN:
            assert not re.search(r"^\s*(\$ |python |make |pip )", block.body, re.M), block.where


@pytest.mark.parametrize("block", PYTHON_BLOCKS, ids=lambda block: block.where)
def test_python_block(block, tmp_path):
    compile(block.body, block.where, "exec")
    if block.run:
        check_python(block.body, tmp_path)


def test_the_test_command_is_marked():
    """.ci/run runs the block after this marker."""
    assert "\n<!-- test -->\n```bash\nmake " in (ROOT / "README.md").read_text()


def test_shrink():
    words = shlex.split(
        "train.py --envs CartPole:30000,Acrobot --steps 9 --eval-episodes=5 --resume runs/a"
    )
    assert shrink(words, Path("L"), Path("T/t")) == shlex.split(
        "train.py --envs CartPole,Acrobot --resume T/t --steps 120 --eval-episodes 1 "
        "--eval-interval 120 --learning-starts 40 --logdir L"
    )


@pytest.mark.parametrize(
    "line",
    [
        *("python tain.py", "curl x", "make train | tee log", "make tarin"),
        *("python train.py --envz CartPole", "python benchmarks/memories.py --row 5 --lines"),
    ],
)
def test_an_unknown_line_fails(line, tmp_path, request):
    with pytest.raises(AssertionError):
        check(shlex.split(line), tmp_path, request)
