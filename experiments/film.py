"""An episode of a run's checkpoint at every task, as a film."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import gymnasium as gym
import numpy as np

from envs.errors import one_line
from experiments.evaluation import LONGEST_EPISODE
from experiments.folders import find_run
from experiments.playback import load_run, parts_of
from experiments.run import Run
from experiments.seeding import Use, episode_seed


def film_run(name: str, logdir: str, checkpoint: Path | None, seed: int) -> list[Path]:
    """One greedy episode of the first member at every task, as MP4 files in the run's `videos/`.

    Raises:
        ValueError: A task cannot be drawn, or the extra `video` is not installed.
    """
    run = load_run(str(parts_of(name, logdir, checkpoint)[0]), logdir, checkpoint, quiet=True)
    files, videos = [], find_run(name, logdir) / "videos"
    for task, name_of in enumerate(run.sequence.names):
        file = videos / f"{name_of.replace('/', '_')}-{run.clock.total}.mp4"
        env = _drawable(run, task)
        with closing(env):
            fps = int(env.metadata.get("render_fps") or 30)
            _write_video(file, _play(run, task, env, seed), fps)
        files.append(file)
    run.close()
    return files


def _drawable(run: Run, task: int) -> gym.Env:
    """An environment of a task that gives pictures."""
    plain, name = run.sequence.tasks[task].make_env(), run.sequence.names[task]
    plain.close()
    if "rgb_array" not in plain.metadata.get("render_modes", []):
        raise ValueError(f"{name} cannot be drawn: it has no rgb_array mode")
    with _drawing(name):
        return run.sequence.tasks[task].make_env(render_mode="rgb_array")


def _play(run: Run, task: int, env: gym.Env, seed: int) -> Iterator[np.ndarray]:
    """The pictures of an episode, one at a time: all of them may take gigabytes."""
    obs, _ = env.reset(seed=episode_seed(run.seeds[0], Use.EVALUATION, task, 3, seed))
    first = _frame(env, run.sequence.names[task])
    yield first
    for _ in range(LONGEST_EPISODE):
        seen = run.space.encode_one(task, obs)
        shared = np.broadcast_to(seen, (run.config.seeds, 1, *seen.shape)).copy()
        action = int(run.agent.greedy(shared, task)[0, 0]) + int(run.space.first_action[task])
        obs, _, terminated, truncated, _ = env.step(action)
        yield _frame(env, run.sequence.names[task], first.shape)
        if terminated or truncated:
            break


def _frame(env: gym.Env, name: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A picture `[height, width, 3]`, of the given shape."""
    with _drawing(name):
        frame = np.asarray(env.render())
    if frame.ndim == 3 and frame.shape[2] == 4:
        frame = frame[..., :3]  # the fourth says what shines through
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != (shape or frame.shape):
        wanted = shape or "(height, width, 3)"
        raise ValueError(f"{name} cannot be drawn: a picture is {frame.shape}, not {wanted}")
    return frame.astype(np.uint8)


@contextmanager
def _drawing(name: str) -> Iterator[None]:
    """Makes one line of what an environment raises where there is nothing to draw with."""
    try:
        yield
    except gym.error.DependencyNotInstalled:
        raise ValueError("drawing needs an extra: pip install 'retain-rl[video]'") from None
    except Exception as error:  # each has its own: pygame's, OpenGL's, MuJoCo's
        kind = type(error).__name__
        raise ValueError(f"{name} cannot be drawn: {kind}: {one_line(error)}") from error


def _write_video(file: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    try:
        from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter
    except ImportError:
        raise ValueError("videos need an extra: pip install 'retain-rl[video]'") from None
    first = next(frames)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part.mp4")
    try:
        with FFMPEG_VideoWriter(str(unfinished), first.shape[1::-1], fps) as writer:
            process = writer.proc
            for frame in chain([first], frames):
                writer.write_frame(frame)
        if process.returncode:  # of a film's end nobody else asks whether it could be written
            raise OSError(f"{file} could not be finished: is the disk full?")
        unfinished.replace(file)
    finally:  # half of a film is none
        unfinished.unlink(missing_ok=True)
