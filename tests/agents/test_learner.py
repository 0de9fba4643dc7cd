"""One gradient step: textbook DQN, and nothing else where nothing else is asked for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

VALUES = {
    "huber": {"distribution": "expectation", "huber_delta": 1.0},
    "square": {"distribution": "expectation", "huber_delta": 0.0},
    "quantiles": {"distribution": "quantiles", "huber_delta": 1.0},
    "categories": {"distribution": "categories"},
}
ALL_VALID = np.ones((2, 3), bool)
LR = 2**-10  # the same number in float32 and float64


@pytest.fixture(params=VALUES)
def values(request):
    return VALUES[request.param]


def theta_of(agent) -> np.ndarray:
    return agent.state["theta"].numpy().copy()


class Textbook:
    """Double DQN or DQN in plain PyTorch: modules, torch.optim, no line of ours.

    In float64, since in float32 a ReLU now and then falls on the other side of zero.
    """

    def __init__(self, theta, double: bool, interval: int, rate: float, clip: float) -> None:
        self.online, self.target = (
            nn.Sequential(
                nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
            ).double()
            for _ in range(2)
        )
        for module in (self.online, self.target):
            nn.utils.vector_to_parameters(torch.tensor(theta), module.parameters())
        self.optimizer = torch.optim.Adam(self.online.parameters(), lr=LR, eps=1e-5)
        self.double, self.interval, self.rate, self.clip = double, interval, rate, clip
        self.updates = 0

    def update(self, data: dict[str, np.ndarray]) -> None:
        row = {name: torch.from_numpy(column[0]) for name, column in data.items()}
        with torch.no_grad():
            chooser = self.online if self.double else self.target
            best = chooser(row["next_state"]).argmax(1, keepdim=True)
            following = self.target(row["next_state"]).gather(1, best).squeeze(1)
            goal = row["reward"] + 0.9 * (1 - row["done"].float()) * following
        q = self.online(row["state"]).gather(1, row["action"][:, None]).squeeze(1)
        self.optimizer.zero_grad()
        F.huber_loss(q, goal, delta=1.0).backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), self.clip)
        self.optimizer.step()
        self.updates += 1
        if self.updates % self.interval == 0:
            pairs = zip(self.target.parameters(), self.online.parameters(), strict=True)
            for slow, fast in pairs:
                slow.data.mul_(1 - self.rate).add_(fast.data, alpha=self.rate)

    @property
    def theta(self) -> np.ndarray:
        return nn.utils.parameters_to_vector(self.online.parameters()).detach().numpy()


@pytest.mark.parametrize(
    ("double", "interval", "rate", "clip"),
    [(True, 7, 1.0, 10.0), (False, 7, 1.0, 10.0), (True, 1, 0.05, 10.0), (True, 7, 1.0, 0.1)],
    ids=["double", "plain", "soft target", "clipped"],
)
def test_without_methods_it_is_the_dqn_of_the_textbook(
    agent, rows, learn, double, interval, rate, clip
):
    ours = agent(
        hidden=(64, 64),
        valid=ALL_VALID,
        double=double,
        target_update_interval=interval,
        target_rate=rate,
        gradient_clip=clip,
    )
    ours.state = {name: tensor.double() for name, tensor in ours.state.items()}
    start = theta_of(ours)
    reference = Textbook(start[0], double, interval, rate, clip)
    norms = []
    for step in range(50):
        data = {
            name: column.astype(np.float64) if column.dtype == np.float32 else column
            for name, column in rows((step,), n=32).items()
        }
        data["discount"][:] = 0.9
        _, info = learn(ours, data, lr=LR)
        reference.update(data)
        norms.append(info["gradient_norm"][0])
    assert np.abs(theta_of(ours)[0] - reference.theta).max() < 1e-8
    assert np.abs(theta_of(ours) - start).max() > 1e-2
    assert (max(norms) > clip) == (clip == 0.1)


def test_actions_that_a_task_lacks_change_nothing_however_good_they_look(
    agent, rows, learn, values
):
    for double in (True, False):
        plain, tempted = agent(double=double, **values), agent(double=double, **values)
        network = plain.learner.model.network
        bias = network.unflatten(tempted.state["theta"][0])["advantage.bias"]
        slow = network.unflatten(tempted.state["target"][0])["advantage.bias"]
        atoms = len(bias) // 3
        ramp = torch.linspace(1, 10, atoms) if values["distribution"] == "categories" else 1e4
        for view in (bias, slow):
            view[-atoms:] += ramp  # the last action, which task 0 does not have
        data = rows((1,), n=64, task=0)
        (errors, info), (tempted_errors, tempted_info) = (
            learn(each, data) for each in (plain, tempted)
        )
        assert np.allclose(errors, tempted_errors, atol=1e-6)
        for name in ("loss", "gradient_norm", "action_gap"):
            assert np.allclose(info[name], tempted_info[name], atol=1e-5), name
        moved = np.abs(theta_of(plain) - theta_of(tempted))[0]
        assert moved[:-atoms].max() < 1e-6
        # A task that has the action is tempted.
        far = [learn(each, rows((1,), n=64, task=1))[0] for each in (plain, tempted)]
        assert np.abs(far[0] - far[1]).max() > 0.1


def test_an_action_that_a_task_lacks_is_never_chosen(agent):
    tempted = agent(num_envs=50)
    tempted.state["theta"][0, -1] = 1e6
    obs = np.random.default_rng(0).normal(size=(1, 50, 3)).astype(np.float32)
    for epsilon in (0.0, 0.5, 1.0):
        assert tempted.act(obs, 0, epsilon).max() == 1
    assert tempted.greedy(obs, 0).max() == 1
    assert (tempted.act(obs, 1, 0.0) == 2).all()
    assert np.isneginf(tempted.q(obs, np.zeros((1, 50), int))[..., 2]).all()


def test_a_terminal_row_does_not_bootstrap_and_a_truncated_one_does(agent, rows, learn, values):
    data = rows((0,), n=60)
    done, truncated = data["done"][0], data["truncated"][0]
    assert (done & truncated).any()
    elsewhere = data | {"next_state": data["next_state"] + 1}
    errors, other = (learn(agent(**values), each)[0][0] for each in (data, elsewhere))
    changed = np.abs(errors - other) > 1e-6
    assert not changed[done].any()
    assert changed[~done].all()
    assert changed[truncated & ~done].any()


def test_the_td_error_and_the_loss_by_hand(agent, rows, learn):
    mine = agent(scale_rewards=True, huber_delta=0.0)
    mine.state["return_max"][:] = torch.tensor([6.0, 0.5])  # reward scales 1/2 and 6
    data, weight = rows((0,), n=2), np.float32([[1, 3]])
    data |= {"task": np.int32([[0, 1]]), "done": np.array([[False, True]])}
    data |= {"discount": np.float32([[0.5, 0.5]]), "action": np.array([[1, 2]])}
    q, following = (mine.q(data[name], data["task"])[0] for name in ("state", "next_state"))
    by_hand = [
        data["reward"][0, 0] / 2 + 0.5 * following[0, :2].max() - q[0, 1],
        data["reward"][0, 1] * 6 - q[1, 2],
    ]
    errors, info = learn(mine, data, weight)
    assert np.allclose(errors[0], by_hand, atol=1e-6)
    loss = (0.5 * by_hand[0] ** 2 + 3 * 0.5 * by_hand[1] ** 2) / 2
    assert info["loss"][0] == pytest.approx(loss, rel=1e-5)
    assert info["td_loss"][0] == info["loss"][0]


def test_zero_weights_give_a_zero_gradient(agent, rows, learn, values):
    mine = agent(**values)
    before = theta_of(mine)
    errors, info = learn(mine, rows(n=16), np.zeros((1, 16), np.float32))
    assert info["gradient_norm"] == 0
    assert np.array_equal(theta_of(mine), before)
    assert np.abs(errors).min() > 0


def test_a_rows_weight_multiplies_its_own_loss_and_gradient(agent, rows, learn, values):
    data = rows(n=2)

    def gradient(*weight: float) -> np.ndarray:
        mine = agent(gradient_clip=0.0, **values)
        learn(mine, data, np.float32([weight]))
        return mine.state["adam_mean"][0].numpy() * 10  # after one step: a tenth of the gradient

    first, second = gradient(1, 0), gradient(0, 1)
    assert np.abs(first - second).max() > 1e-3
    assert np.allclose(gradient(3, 0.5), 3 * first + 0.5 * second, atol=1e-6)


def test_the_gradient_is_the_mean_over_the_rows(agent, rows, learn, values):
    once, twice = agent(**values), agent(**values)
    data = rows(n=8)
    learn(once, data)
    learn(twice, {name: np.concatenate([c, c], axis=1) for name, c in data.items()})
    assert np.allclose(once.state["adam_mean"], twice.state["adam_mean"], atol=1e-6)


def test_the_target_is_copied_at_multiples_of_the_interval_and_untouched_between(
    agent, rows, learn
):
    mine = agent(target_update_interval=5, target_rate=1.0)
    target = theta_of(mine)
    for update in range(1, 16):
        learn(mine, rows((update,)))
        target = theta_of(mine) if update % 5 == 0 else target
        assert np.array_equal(mine.state["target"].numpy(), target)
        assert not np.array_equal(theta_of(mine), target) or update % 5 == 0


def test_a_target_updated_after_every_step_is_never_behind(agent, rows, learn):
    mine = agent(target_update_interval=1, target_rate=1.0)
    for update in range(3):
        learn(mine, rows((update,)))
        assert np.array_equal(mine.state["target"].numpy(), theta_of(mine))


@pytest.mark.parametrize("interval", [1, 2])
def test_a_soft_target_goes_part_of_the_way(agent, rows, learn, interval):
    mine = agent(target_update_interval=interval, target_rate=0.25)
    target = theta_of(mine)
    for update in range(1, 5):
        learn(mine, rows((update,)), lr=0.1)
        if update % interval == 0:
            target = target + 0.25 * (theta_of(mine) - target)
        assert np.allclose(mine.state["target"], target, atol=1e-6)


def test_a_head_per_task_leaves_the_other_tasks_head_alone(agent, rows, learn):
    mine = agent(head="per_task", valid=ALL_VALID)
    unflatten = mine.learner.model.network.unflatten
    before = unflatten(mine.state["theta"][0].clone())["advantage.weight"].view(2, -1)
    for step in range(3):
        learn(mine, rows((step,), task=1))
    after = unflatten(mine.state["theta"][0])["advantage.weight"].view(2, -1)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_three_draws_of_noise_serve_the_network_its_choice_and_its_target(agent, rows):
    mine = agent(noisy=True, target_rate=0.5)
    learner, size = mine.learner, mine.learner.model.network.noise_size
    batch = {name: torch.from_numpy(column) for name, column in rows(n=16).items()}
    batch |= {"weight": torch.ones(1, 16), "lr": torch.tensor([1e-3])}
    batch |= {name: batch[name].long() for name in ("action", "task")}

    def td_error(*loud: int) -> torch.Tensor:
        noise = torch.zeros(1, 3, size)
        noise[:, list(loud)] = torch.randn(size, generator=torch.Generator().manual_seed(0))
        return learner.update(mine.state, batch | {"noise": noise})[1]["td_error"]

    silent = td_error()
    assert not torch.equal(td_error(0), silent)
    assert not torch.equal(td_error(2), silent)
    terminal = batch["done"]
    assert torch.equal(td_error(1, 2)[terminal], silent[terminal])
    # Noise in the choice alone only ever makes the chosen action's target value smaller.
    assert (td_error(1) <= silent + 1e-6).all()
    assert (td_error(1) < silent - 1e-6).any()


def test_an_agent_told_not_to_normalize_sees_large_numbers_as_they_are(agent):
    obs = np.float32([[[20, 30, 40]], [[21, 30, 40]]]).reshape(1, 2, 3)
    q = agent(normalize_observations=False).q(obs, np.zeros((1, 2), int))[0, :, :2]
    assert not np.allclose(q[0], q[1])
    clipped = agent(normalize_observations=True).q(obs, np.zeros((1, 2), int))[0, :, :2]
    assert np.allclose(clipped[0], clipped[1])
