"""One run: its parts, made from the configuration, and their joint state."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents import AGENTS, FOR_IMAGES, Agent, forced_options
from buffers import NStep
from envs import SharedSpace, Stage, TaskEnvs, parse_sequence
from envs.errors import one_line
from experiments.checkpoint import SUFFIX, checkpoint_files, save_checkpoint
from experiments.clock import Clock
from experiments.compiling import compiles, compiles_acting
from experiments.config import Config
from experiments.evaluation import Evaluator
from experiments.history import History
from experiments.memories import Memories, View, columns_of
from experiments.needs import check_memory, peak_memory
from experiments.seeding import Use, episode_seed, stream

CHOSEN = ("action", "exploring")  # names of `Run.chosen` in a checkpoint


class Run:
    """The parts of a run, and nothing that a checkpoint would miss.

    Args:
        config: What to train, and how; `run.config` says it of the agent as it is.
        folder: Where the run's files go.

    Attributes:
        fixed: Fields of the configuration that the agent could not leave as they were given.
        memory_needed: What all members will take, in words.
        stepped_by: What steps each task's environments, in words.
        chosen: Actions of the step that is being made, and which of them explore; None between two
            steps. If a step fails they are saved: they are drawn already.
    """

    def __init__(self, config: Config, folder: Path = Path()) -> None:
        self.fixed = forced_options(config.agent, config)
        self.config = config = dataclasses.replace(config, **self.fixed)
        self.folder = folder
        self.sequence = parse_sequence(config.envs, config.steps)
        self.space = SharedSpace.of(self.sequence.tasks)
        self.stepped_by = self._stepped_by()  # refused now, not when a task's turn comes
        self._check_network()
        one = self._agent([config.seed])
        columns = columns_of(config, self.space, one.needs_q)
        needed = config.seeds * one.nbytes
        self.memory_needed = check_memory(config, len(self.sequence.tasks), columns, needed)
        self.seeds = [config.seed + member for member in range(config.seeds)]
        self.agent = one if config.seeds == 1 else self._agent(self.seeds)
        if compiles(config, self.total_steps):
            self.agent.compile(acting=compiles_acting(config, self.total_steps))
        self.memories = Memories.make(config, self.space, self.agent)
        self.nstep = NStep(config.n_step, config.discount, config.seeds * config.num_envs)
        native = config.vectorization in ("auto", "native")
        self.evaluator = Evaluator(self.sequence, self.space, self.seeds, native)
        self.clock, self.history = Clock(), History()
        self.envs: TaskEnvs | None = None
        self.chosen: tuple[np.ndarray, np.ndarray] | None = None
        self.episode_return = np.zeros(config.seeds * config.num_envs)

    @property
    def stage(self) -> Stage:
        """The stage being trained."""
        return self.sequence.stages[self.clock.stage]

    @property
    def task_name(self) -> str:
        """The task being trained."""
        return self.sequence.names[self.stage.task]

    def length(self, stage: Stage) -> int:
        """Environment steps of each member in a stage: as many as all environments make at once."""
        return -(-stage.steps // self.config.num_envs) * self.config.num_envs

    def first_step(self, stage: int) -> int:
        """Environment steps of each member before a stage."""
        return sum(self.length(each) for each in self.sequence.stages[:stage])

    @property
    def total_steps(self) -> int:
        """Environment steps of each member over the whole sequence."""
        return sum(stage.steps for stage in self.sequence.stages)

    @property
    def in_stage(self) -> bool:
        """Whether the current stage is being trained, and not about to begin."""
        return self.envs is not None

    @property
    def compiled(self) -> bool:
        """Whether updates run compiled."""
        return self.agent.compiled

    @property
    def peak_memory(self) -> int:
        """Largest resident size so far, in bytes."""
        return peak_memory()

    def view(self) -> View | None:
        """What the first member's memory holds; None where that is not known."""
        return self.memories.view()

    @property
    def scales_move(self) -> bool:
        """Whether this stage may still move scales: labels of ended tasks must stay comparable."""
        if self.config.task_identity == "hidden":  # one scale for all tasks
            return self.clock.stage == 0
        return not self.sequence.is_revisit(self.clock.stage)

    @property
    def fraction(self) -> float:
        """How much of the schedules' span has passed: of this stage, or of the sequence."""
        if self.config.restart_schedules:
            return self.clock.step / self.stage.steps
        return self.clock.total / self.total_steps

    def open_envs(self) -> TaskEnvs:
        """The environments of this stage, at the beginning of their first episodes."""
        stage, num_envs = self.clock.stage, self.config.num_envs

        def seed(env: int, episode: int) -> int:
            member, own = divmod(env, num_envs)
            return episode_seed(self.seeds[member], Use.EPISODE, stage, own, episode)

        task = self.sequence.tasks[self.stage.task]
        backend = self.config.vectorization
        return TaskEnvs(task, self.space, seed, self._all_envs, self.stage.task, backend)

    def per_member(self, flat: np.ndarray) -> np.ndarray:
        """[members * envs, ...] -> [members, envs, ...]."""
        return flat.reshape(self.config.seeds, self.config.num_envs, *flat.shape[1:])

    def state_dict(self) -> dict[str, Any]:
        """Everything that training changed."""
        return {
            "config": self.config.deciding(),
            "clock": dataclasses.asdict(self.clock),
            "history": self.history.state_dict(),
            "agent": self.agent.state_dict(),
            "memories": self.memories.state_dict(),
            "nstep": self.nstep.state_dict(),
            "episode_return": self.episode_return.copy(),
            "envs": self.envs.state_dict() if self.envs else None,
            "chosen": dict(zip(CHOSEN, self.chosen, strict=True)) if self.chosen else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            ValueError: The state is of another configuration.
        """
        self.config.check_deciding(state["config"])
        self.clock = Clock(**state["clock"])
        self.history = History(**state["history"])
        self.agent.load_state_dict(state["agent"])
        self.memories.load_state_dict(state["memories"])
        self.nstep.load_state_dict(state["nstep"])
        self.episode_return = state["episode_return"].copy()
        if state["envs"] is not None:
            self.envs = self.open_envs()
            self.envs.load_state_dict(state["envs"])
        if chosen := state.get("chosen"):  # which earlier versions did not save
            action, exploring = (chosen[name].copy() for name in CHOSEN)
            self.chosen = action, exploring

    def save(self) -> Path:
        """Writes a checkpoint of now; keeps those of switches and the newest two others."""
        at_switch = self.envs is None and len(self.history.scores) > self.clock.stage
        begin = "" if self.history.scores else "-0-begin"
        kind = f"-after-stage-{self.clock.stage}" if at_switch else begin
        path = self.folder / "checkpoints" / f"{self.clock.total:010d}{kind}{SUFFIX}"
        save_checkpoint(path, self.state_dict())
        between = [p for p in checkpoint_files(self.folder) if "-after-" not in p.name]
        for old in between[:-2]:
            old.unlink()
        return path

    def close(self) -> None:
        """Closes every environment."""
        if self.envs:
            self.envs.close()
        self.evaluator.close()

    def _agent(self, seeds: Sequence[int]) -> Agent:
        rngs = [stream(seed, Use.AGENT) for seed in seeds]
        try:
            return AGENTS[self.config.agent](self.space, self.config, rngs, self.config.num_envs)
        except (MemoryError, RuntimeError) as error:  # PyTorch has no name for its own
            if isinstance(error, RuntimeError) and "alloc" not in str(error):
                raise
            reason = one_line(error).rpartition("Allocator: ")[2]
            raise ValueError(f"the agent does not fit into memory: {reason}") from error

    @property
    def _all_envs(self) -> int:
        """Environments of all members."""
        return self.config.seeds * self.config.num_envs

    def _stepped_by(self) -> str:
        asked, tasks = self.config.vectorization, self.sequence.tasks
        count = self.config.members_per_process * self.config.num_envs
        found = (f"{each.name} {each.backend(count, asked)}" for each in tasks)
        return f"environments, {count} at a time: {', '.join(found)}"

    def _check_network(self) -> None:
        if (self.config.network in FOR_IMAGES) != self.space.is_image:
            fitting = "cnn" if self.space.is_image else "mlp"
            shown = "images" if self.space.is_image else "vectors"
            own = "" if self.config.network in ("mlp", "cnn") else ", or see agents.FOR_IMAGES"
            raise ValueError(f"{self.config.envs} shows {shown}: use --network {fitting}{own}")
        if self.space.is_image and min(self.space.shape[1:]) < 3:
            size = "x".join(map(str, self.space.shape[1:]))
            raise ValueError(f"images of {size} are too small: the network needs 3x3 or more")
