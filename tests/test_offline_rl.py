"""Offline reinforcement learning: losses, masks, tasks, data, training, scores, command."""

import argparse
import itertools
import json
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import sparsejax as sj
from sparsejax._cli import _offline_rl
from sparsejax._cli._main import main
from sparsejax.applications import offline_rl as rl
from sparsejax.applications.offline_rl import _train
from sparsejax.applications.offline_rl._agent import Training
from sparsejax.applications.offline_rl._networks import Sizes
from sparsejax.applications.offline_rl._policy import Scaling
from sparsejax.applications.offline_rl._rules import decides

PENDULUM = rl.Pendulum(horizon=10)
SIZES = Sizes(8, 2, 0.0)


OPTIONS = {"steps": 12, "width": 8, "batch": 16, "every": 1, "learning_rate": 1e-2}
RULE = rl.SNIP(0.3, every=2, until=6)
PENALTIES = {"critics": sj.penalties.L1(2.0)}


@pytest.fixture(scope="module")
def task():
    return rl.Evaluation(PENDULUM, episodes=2)


@pytest.fixture(scope="module")
def data():
    return rl.collect(PENDULUM, 40, jax.random.key(0))


@pytest.fixture(scope="module")
def sets():
    keys = jnp.stack([jax.random.key(i) for i in (0, 1)])
    return jax.vmap(lambda key: rl.collect(PENDULUM, 40, key))(keys)


# Losses against NumPy


def dense(network, x):
    """A network on rows, in NumPy."""
    *hidden, last = [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in network.layers]
    for weight, bias in hidden:
        x = np.maximum(x @ weight.T + bias, 0)
    return x @ last[0].T + last[1]


def worth(critics, s, a):
    x = np.concatenate([s, a], axis=1)
    return np.stack([dense(net, x)[:, 0] for net in (critics.first, critics.second)])


def act(actor, s):
    return np.tanh(dense(actor.network, s))


def log_density(actor, s, a):
    return scipy.stats.norm.logpdf(a, act(actor, s), np.exp(np.asarray(actor.log_std))).sum(axis=1)


def losses_of(algorithm, data):
    """Each loss of fresh networks and others as slow copies, and what it was made of."""
    key = jax.random.key(1)
    nets = algorithm.networks(3, 1, SIZES, jax.random.key(2))
    slow = algorithm.networks(3, 1, SIZES, jax.random.key(3))
    if "value" in nets:  # advantages of both signs
        last = lambda nets: nets["value"].layers[-1].bias  # noqa: E731
        nets = eqx.tree_at(last, nets, last(nets) - 0.5)
    found = {
        name: float(loss(nets[name], nets, slow, data, key))
        for name, loss in algorithm.losses().items()
    }
    steps = [np.asarray(leaf) for leaf in jax.tree.leaves(data)]
    return found, nets, slow, steps, jax.random.split(key)[0]


def test_losses_of_bc_and_td3_bc_are_those_of_the_papers(data):
    found, nets, _, (s, a, *_), _ = losses_of(rl.BC(), data)
    assert found["actor"] == pytest.approx(np.mean((act(nets["actor"], s) - a) ** 2), rel=1e-5)
    algorithm = rl.TD3BC(alpha=1.5, noise=0.4, clip=0.3, discount=0.9)
    found, nets, slow, (s, a, r, s2, d), key = losses_of(algorithm, data)
    noise = np.clip(0.4 * np.asarray(jax.random.normal(key, a.shape)), -0.3, 0.3)
    a2 = np.clip(act(slow["actor"], s2) + noise, -1, 1)
    goal = r + 0.9 * (1 - d) * worth(slow["critics"], s2, a2).min(axis=0)
    misses = worth(nets["critics"], s, a) - goal
    assert found["critics"] == pytest.approx(np.sum(misses**2) / len(r), rel=1e-5)
    own = act(nets["actor"], s)
    q = worth(nets["critics"], s, own)[0]
    expected = np.mean((own - a) ** 2) - 1.5 * q.mean() / np.abs(q).mean()
    assert found["actor"] == pytest.approx(expected, rel=1e-4)


def test_losses_of_iql_are_those_of_the_paper(data):
    algorithm = rl.IQL(expectile=0.8, beta=20.0, cap=1.1, discount=0.9)
    found, nets, slow, (s, a, r, s2, d), _ = losses_of(algorithm, data)
    over = worth(slow["critics"], s, a).min(axis=0) - dense(nets["value"], s)[:, 0]
    assert found["value"] == pytest.approx(
        np.mean(np.where(over > 0, 0.8, 0.2) * over**2), rel=1e-5
    )
    weights = np.minimum(np.exp(20 * over), 1.1)
    assert 0 < np.mean(weights == 1.1) < 1
    expected = -np.mean(weights * log_density(nets["actor"], s, a))
    assert found["actor"] == pytest.approx(expected, rel=1e-5)
    goal = r + 0.9 * (1 - d) * dense(nets["value"], s2)[:, 0]
    misses = worth(nets["critics"], s, a) - goal
    assert found["critics"] == pytest.approx(np.sum(misses**2) / len(r), rel=1e-5)


def test_losses_of_awac_are_those_of_the_paper(data):
    algorithm = rl.AWAC(temperature=0.1, cap=1.2, discount=0.9)
    found, nets, slow, (s, a, r, s2, d), key = losses_of(algorithm, data)
    noise = np.asarray(jax.random.normal(key, a.shape))
    sample = lambda s: np.clip(act(nets["actor"], s) + noise, -1, 1)  # noqa: E731
    goal = r + 0.9 * (1 - d) * worth(slow["critics"], s2, sample(s2)).min(axis=0)
    misses = worth(nets["critics"], s, a) - goal
    assert found["critics"] == pytest.approx(np.sum(misses**2) / len(r), rel=1e-5)
    now, own = (worth(nets["critics"], s, x).min(axis=0) for x in (a, sample(s)))
    weights = np.minimum(np.exp((now - own) / 0.1), 1.2)
    assert 0 < np.mean(weights == 1.2) < 1
    expected = -np.mean(weights * log_density(nets["actor"], s, a))
    assert found["actor"] == pytest.approx(expected, rel=1e-4)


def test_dropout_is_for_training_alone(data):
    actor = rl.BC().networks(3, 1, Sizes(400, 1, 0.5), jax.random.key(0))["actor"]
    still, shaken = actor(data.observations[:2]), actor(data.observations[:2], jax.random.key(1))
    assert not np.allclose(still, shaken)
    many = [actor.network(data.observations[:1], jax.random.key(i)) for i in range(200)]
    # The last layer is linear in what is dropped: the mean is that without.
    mean, spread = np.mean(many), np.std(many) / math.sqrt(200)
    assert abs(mean - float(actor.network(data.observations[:1])[0, 0])) < 4 * spread


# Masks


def weights(tree):
    """The weights of layers, in one vector; or of masks."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(tree) if x.ndim == 2]
    return np.concatenate([leaf.ravel() for leaf in leaves])


def states(algorithm, rule, penalties, sets, num):
    """The states of the first seed at the start and after each step, by training's own programs."""
    how = Training(algorithm, rule, penalties, SIZES, 12, 16, jnp.float32(1e-2))
    keys = jnp.stack([jax.random.key(seed) for seed in (3, 4)])
    _, scaled = _train._scaled(sets, 0, 2)
    state, found = _train._start(how, scaled, keys, 0), []
    for step in range(num + 1):
        found.append(jax.tree.map(lambda x: x[0], state))
        state, _ = _train._advance(how, state, scaled, keys, jnp.array(step), 1, 0)
    return found


@pytest.mark.slow
def test_unused_weights_keep_their_values_and_come_back_with_them(sets):
    found = states(rl.TD3BC(), RULE, PENALTIES, sets, 10)
    names, returned, changes = ("actor", "critics"), 0, []
    for before, after in itertools.pairwise(found):
        changes.append(
            any((weights(before.masks[n]) != weights(after.masks[n])).any() for n in names)
        )
        for name in names:
            old, new = weights(before.nets[name]), weights(after.nets[name])
            used = weights(after.masks[name])
            assert used.sum() == math.ceil(0.3 * used.size)
            np.testing.assert_array_equal(old[~used], new[~used])
            # What comes back has not become zero meanwhile.
            returned += np.sum(used & ~weights(before.masks[name]) & (old != 0))
        assert not np.array_equal(weights(before.nets["critics"]), weights(after.nets["critics"]))
    assert changes == [False, False, True, False, True, False, True, False, False, False]
    assert returned > 0
    # The penalty is of the weights in use of the network it names.
    nets, masks = found[-1].nets, found[-1].masks
    zeros = {name: weights(nets[name]) == 0 for name in names}
    assert np.sum(zeros["critics"] & weights(masks["critics"])) > 5
    assert not np.any(zeros["actor"])
    assert all(np.all(np.asarray(layer.bias) != 0) for layer in nets["critics"].first.layers)
    # TD3's policy moves every second step, and so do the slow copies.
    for i, (before, after) in enumerate(itertools.pairwise(found)):
        moved = not np.array_equal(weights(before.nets["actor"]), weights(after.nets["actor"]))
        assert moved == (i % 2 == 0)
        lag = weights(before.slow["critics"]) - weights(after.slow["critics"])
        gap = weights(before.slow["critics"]) - weights(after.nets["critics"])
        np.testing.assert_allclose(lag, (0.005 if moved else 0) * gap, atol=1e-6)


def test_snip_weighs_the_whole_network_used_or_not(data):
    net = rl.BC().networks(3, 1, SIZES, jax.random.key(6))["actor"]
    objective = lambda net: jnp.mean((net(data.observations) - data.actions) ** 2)  # noqa: E731
    rule = rl.SNIP(0.2)
    masks = rule.first(net, objective, jax.random.key(0))
    score = np.abs(weights(net) * weights(jax.grad(objective)(net)))
    best = score >= np.sort(score)[-math.ceil(0.2 * score.size)]
    np.testing.assert_array_equal(weights(masks), best)
    again = rule.again(net, masks, objective, jax.random.key(1), jnp.array(0.5))
    np.testing.assert_array_equal(weights(again), best)
    largest = weights(rl.Magnitude(0.2).first(net, objective, jax.random.key(0)))
    sizes = np.abs(weights(net))
    assert sizes[largest].min() > sizes[~largest].max()


@pytest.mark.parametrize("rule", [rl.SET(0.3, 1, 2, 0.5), rl.RigL(0.3, 1, 2, 0.5)])
def test_exchanged_weights_begin_at_zero(data, rule):
    net = rl.BC().networks(3, 1, SIZES, jax.random.key(6))["actor"]
    objective = lambda net: jnp.mean((net(data.observations) - data.actions) ** 2)  # noqa: E731
    masks = rule.first(net, objective, jax.random.key(0))
    net = sj.nn.apply_masks(net, masks)
    new = rule.again(net, masks, objective, jax.random.key(1), jnp.array(0.0))
    before, after = weights(masks), weights(new)
    assert before.sum() == after.sum()
    assert 0 < np.sum(after & ~before) <= 0.5 * before.sum()
    if isinstance(rule, rl.RigL):
        hidden = (
            np.asarray(masks.network.layers[1].weight),
            np.asarray(new.network.layers[1].weight),
        )
        slope = np.abs(np.asarray(jax.grad(objective)(net).network.layers[1].weight))
        came = hidden[1] & ~hidden[0]
        assert slope[came].min() >= slope[~hidden[0] & ~came].max()
    end = rule.again(net, masks, objective, jax.random.key(1), jnp.array(1.0))
    np.testing.assert_array_equal(weights(end), before)


def test_unused_weights_are_zero_where_the_rule_forgets(sets):
    found = states(rl.BC(), rl.SET(0.3, every=2, until=4, fraction=0.5), {}, sets, 5)
    for state in found:
        used = weights(state.masks["actor"])
        assert not weights(state.nets["actor"])[~used].any()
    assert np.any(used != weights(found[0].masks["actor"]))


def test_when_masks_are_decided():
    def when(rule, steps):
        return [i for i in range(steps) if bool(decides(rule, jnp.array(i), steps))]

    assert when(rl.SNIP(every=3), 40) == [3, 6]
    assert when(rl.SNIP(every=3, until=9), 40) == [3, 6, 9]


# Tasks and data


def test_pendulum_and_cart_obey_mechanics():
    """Accelerations from the Lagrangian's mass matrix."""
    pendulum, cart = rl.Pendulum(), rl.Cartpole()
    key = jax.random.key(0)
    angle, spin, action = 0.7, -1.3, 0.4
    new, reward = pendulum.step(jnp.array([angle, spin]), jnp.array([action]), key)
    acceleration = (9.8 / 2 * np.sin(angle) + 2 * action) / (1 / 3)
    np.testing.assert_allclose(new[1], spin + 0.05 * acceleration, rtol=1e-5)
    np.testing.assert_allclose(new[0], angle + 0.05 * new[1], rtol=1e-5)
    assert float(reward) == pytest.approx(-(0.7**2 + 0.1 * 1.3**2 + 0.001 * 0.8**2), rel=1e-5)
    state = np.array([0.3, 0.5, angle, spin])
    new, reward = cart.step(jnp.array(state), jnp.array([action]), key)
    m, half = 0.1, 0.5
    mass = np.array([[1 + m, m * half * np.cos(angle)], [m * half * np.cos(angle), m / 3]])
    force = [10 * action + m * half * spin**2 * np.sin(angle), m * 9.8 * half * np.sin(angle)]
    velocities = state[[1, 3]] + 0.02 * np.linalg.solve(mass, force)
    np.testing.assert_allclose(new[jnp.array([1, 3])], velocities, rtol=1e-5)
    assert float(reward) == pytest.approx((1 + np.cos(0.7)) / 2 * (1 - (0.3 / 2.4) ** 2), rel=1e-5)
    stuck, _ = cart.step(jnp.array([2.39, 5.0, angle, spin]), jnp.array([action]), key)
    np.testing.assert_allclose(stuck[:2], [2.4, 0.0])


def test_distractors_are_autoregressive_and_change_nothing():
    task = rl.Distracted(rl.Pendulum(horizon=4000), 2, correlation=0.8)
    episode = jax.jit(lambda key: rl.rollout(task, lambda s, k: jnp.zeros(1), key))(
        jax.random.key(0)
    )
    noise = np.asarray(episode.observations[:, 3:])
    assert noise.std() == pytest.approx(1, abs=0.1)
    for column in noise.T:
        assert np.corrcoef(column[1:], column[:-1])[0, 1] == pytest.approx(0.8, abs=0.05)
    state = (jnp.array([0.5, 1.0]), jnp.ones(2))
    (inner, _), reward = task.step(state, jnp.zeros(1), jax.random.key(1))
    alone = task.task.step(state[0], jnp.zeros(1), jax.random.key(1))
    np.testing.assert_array_equal(inner, alone[0])
    assert reward == alone[1]
    np.testing.assert_array_equal(task.expert(state), task.task.expert(state[0]))


def test_data_are_the_experts_with_noise(data):
    seen, actions = np.asarray(data.observations), np.asarray(data.actions)
    states = jnp.stack([jnp.arctan2(seen[:, 1], seen[:, 0]), seen[:, 2]], axis=1)
    wanted = np.asarray(jax.vmap(PENDULUM.expert)(states))
    free = (np.abs(actions) < 1)[:, 0]
    assert np.std((actions - wanted)[free]) == pytest.approx(0.3, rel=0.5)
    exact = rl.collect(PENDULUM, 15, jax.random.key(0), noise=0.0)
    seen = np.asarray(exact.observations)
    states = jnp.stack([jnp.arctan2(seen[:, 1], seen[:, 0]), seen[:, 2]], axis=1)
    np.testing.assert_allclose(exact.actions, jax.vmap(PENDULUM.expert)(states), atol=1e-4)
    np.testing.assert_array_equal(np.flatnonzero(exact.terminals), [9, 14])
    np.testing.assert_array_equal(seen[1:10], exact.next_observations[:9])


def test_whole_episodes_are_whole(data):
    some = rl.whole_episodes(data, 25, jax.random.key(2))
    np.testing.assert_array_equal(np.flatnonzero(some.terminals), [9, 19, 24])
    starts = [
        int(np.flatnonzero(np.all(data.observations == o, axis=1))[0])
        for o in np.asarray(some.observations)[[0, 10, 20]]
    ]
    assert all(start % 10 == 0 for start in starts)
    assert len(set(starts)) == 3
    np.testing.assert_array_equal(some.rewards[:10], data.rewards[starts[0] : starts[0] + 10])


def test_scaling_is_by_mean_and_deviation(data):
    scaled = Scaling.of(data).apply(data)
    np.testing.assert_allclose(np.mean(scaled.observations, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(scaled.observations, axis=0), 1, atol=0.01)
    assert np.std(scaled.rewards) == pytest.approx(1, rel=1e-5)
    still = eqx.tree_at(lambda d: d.rewards, data, jnp.ones(40))
    np.testing.assert_array_equal(Scaling.of(still).apply(still).rewards, 1)


# Training


def run(data, rule=RULE, penalties=PENALTIES, seeds=(3, 4), **options):
    return rl.train(rl.TD3BC(), data, rule, penalties, seeds=seeds, **OPTIONS | options)


@pytest.fixture(scope="module")
def trained(sets, task):
    return run(sets, evaluate=task)


def test_seeds_trained_together_do_not_know_of_each_other(sets, task, trained):
    other = run(jax.tree.map(lambda x: x[::-1], sets), seeds=(4, 3), evaluate=task)
    for i in range(2):
        same = eqx.tree_equal(trained.policy(i), other.policy(1 - i), rtol=1e-4, atol=1e-5)
        assert bool(same)
    assert not np.allclose(weights(trained.policy(0)), weights(trained.policy(1)))
    np.testing.assert_allclose(trained.scores(), other.scores()[::-1], atol=0.5)
    for network in trained.networks.values():
        for leaf in jax.tree.leaves(network):
            assert len(leaf) == 2
    zeros = np.mean(weights(trained.policy(0).actor) == 0)
    assert zeros == pytest.approx(0.7, abs=0.01)


def test_a_policy_scales_what_it_sees(sets, trained):
    policy, seen = trained.policy(1), np.asarray(sets.observations[1])
    scaled = (seen - seen.mean(axis=0)) / (seen.std(axis=0) + 1e-3)
    expected = act(policy.actor, scaled[:3])
    np.testing.assert_allclose(jax.vmap(policy)(seen[:3]), expected, atol=1e-4)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_reaches_the_same_numbers(sets, task, trained, tmp_path):
    class Kill(BaseException):
        pass

    def kill(progress):
        if progress.done == 8:
            raise Kill

    file, seen = tmp_path / "somewhere" / "run", []
    with pytest.raises(Kill):
        run(sets, evaluate=task, checkpoint=file, callback=kill)
    again = run(sets, evaluate=task, checkpoint=file, callback=seen.append)
    assert [step.done for step in seen] == [8, 9, 10, 11, 12]
    assert eqx.tree_equal(again.networks, trained.networks)
    assert again.history == trained.history
    for options, named in (
        ({"seeds": (3, 5)}, "seeds"),
        ({"rule": rl.SNIP(0.4, every=2, until=6)}, "rule"),
        ({"penalties": {"critics": sj.penalties.L1(0.1)}}, "penalties"),
        ({"width": 9}, "width"),
    ):
        with pytest.raises(ValueError, match=rf"`checkpoint`: .* with other {named};"):
            run(sets, **{"evaluate": task, "checkpoint": file} | options)


def test_history_has_losses_and_scores(trained):
    assert [step.done for step in trained.history] == list(range(1, 13))
    for step in trained.history:
        assert set(step.losses) == {"actor", "critics"}
        assert all(len(of) == 2 for of in step.losses.values())
        assert all(loss > 0 for loss in step.losses["critics"])
        assert all((loss != 0) == (step.done % 2 == 1) for loss in step.losses["actor"])
    last = np.mean([step.scores for step in trained.history[-2:]], axis=0)
    np.testing.assert_allclose(trained.scores(last=2), last)


def test_a_loss_that_is_not_finite_is_named(sets):
    with pytest.raises(
        FloatingPointError, match=r"of the \w+ is not finite within steps \d+ to \d+.*3, 4"
    ):
        run(sets, learning_rate=1e30)


# Scores


class Known(eqx.Module):
    """A policy that needs no training: the expert, or the opposite of it."""

    sign: jax.Array

    def __call__(self, seen):
        state = jnp.stack([jnp.arctan2(seen[1], seen[0]), seen[2]])
        return self.sign * PENDULUM.expert(state)


def test_scores_are_100_for_the_expert():
    evaluate = rl.Evaluation(rl.Pendulum(horizon=60), episodes=400)
    score, other = evaluate(Known(jnp.array([1.0, -1.0])), jax.random.split(jax.random.key(1)))
    assert score == pytest.approx(100, abs=5)
    assert other < 0


class Walk:
    """An environment with Gymnasium's interface: rewards are actions, five or seven steps."""

    made = 0

    def __init__(self):
        Walk.made += 1
        self.length = 5 + 2 * (Walk.made % 2)

    def reset(self, seed):
        self.left = self.length
        return np.zeros(3), {}

    def step(self, action):
        self.left -= 1
        done = self.left == 0
        return np.ones(3), float(action[0]), done and self.length == 5, done, {}


def test_environments_outside_of_jax():
    class Constant(eqx.Module):
        action: jax.Array

        def __call__(self, seen):
            return self.action + 0 * seen[:1]

    evaluate = rl.OutsideEvaluation(Walk, random=-6.0, expert=6.0, episodes=2)
    keys = jax.random.split(jax.random.key(0), 3)
    found = evaluate(Constant(jnp.array([[1.0], [-1.0], [0.0]])), keys)
    np.testing.assert_allclose(found, [100, 0, 50], atol=1e-5)
    evaluate(Constant(jnp.ones((3, 1))), keys)
    assert Walk.made == 6


def test_held_out_distance_is_to_the_actions(sets, trained):
    other = jax.tree.map(lambda x: x[0], sets)
    found = rl.HeldOut(other)(trained.policies, jax.random.split(jax.random.key(0)))
    for i in range(2):
        own = np.asarray(jax.vmap(trained.policy(i))(other.observations))
        miss = np.sqrt(np.mean((own - np.asarray(other.actions)) ** 2))
        assert found[i] == pytest.approx(miss, rel=1e-5)


def test_interquartile_mean_is_of_the_middle_half_and_its_interval_stratified():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=20)
    value, low, high = rl.interquartile_mean(scores)
    assert value == pytest.approx(np.sort(scores)[5:15].mean())
    reference = scipy.stats.bootstrap(
        (scores,),
        lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis),
        method="percentile",
        rng=rng,
        vectorized=True,
    ).confidence_interval
    assert low == pytest.approx(reference.low, abs=0.1)
    assert high == pytest.approx(reference.high, abs=0.1)
    # Drawn within each task, tasks that are constant leave nothing to chance.
    constant = np.repeat([[0.0, 10.0, 30.0, 100.0]], 5, axis=0)
    assert rl.interquartile_mean(constant) == (20.0, 20.0, 20.0)


def test_curves_show_means_with_intervals(trained, sets):
    from matplotlib.figure import Figure

    ax = rl.draw_curves({"one": trained}, Figure().subplots())
    (line,) = ax.get_lines()
    assert list(line.get_xdata()) == list(range(1, 13))
    expected = [rl.interquartile_mean(step.scores).value for step in trained.history]
    np.testing.assert_allclose(line.get_ydata(), expected)
    with pytest.raises(ValueError, match="'two' was trained without `evaluate`"):
        rl.draw_curves({"two": run(sets)}, ax)


# Files


FIELDS = {
    "observations": np.arange(12.0).reshape(6, 2),
    "actions": np.linspace(-1, 1, 6)[:, None],
    "rewards": np.arange(6.0),
    "terminals": np.array([0, 0, 1, 0, 0, 0], bool),
    "timeouts": np.array([0, 0, 0, 1, 0, 0], bool),
}


def stored(folder, kind, **changes):
    fields = {name: value for name, value in (FIELDS | changes).items() if value is not None}
    if kind == "npz":
        np.savez(folder / "steps.npz", **fields)
        return folder / "steps.npz"
    h5py = pytest.importorskip("h5py")
    with h5py.File(folder / "steps.hdf5", "w") as file:
        for name, value in fields.items():
            file[name] = value
    return folder / "steps.hdf5"


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_files_as_d4rl_has_them(tmp_path, kind):
    found = rl.load(stored(tmp_path, kind))
    np.testing.assert_allclose(found.observations, FIELDS["observations"])
    np.testing.assert_allclose(found.next_observations[:5], FIELDS["observations"][1:])
    np.testing.assert_array_equal(found.terminals, [0, 0, 1, 1, 0, 1])
    after = FIELDS["observations"] + 0.5
    found = rl.load(stored(tmp_path, kind, next_observations=after, timeouts=None))
    np.testing.assert_allclose(found.next_observations, after)
    np.testing.assert_array_equal(found.terminals, [0, 0, 1, 0, 0, 0])


def test_files_as_minari_has_them(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "main_data.hdf5", "w") as file:
        for i in (0, 2, 10):
            group = file.create_group(f"episode_{i}")
            group["observations"] = np.full((4, 2), float(i)) + np.arange(4)[:, None]
            group["actions"] = np.zeros((3, 1))
            group["rewards"] = np.full(3, float(i))
            group["terminations"] = np.zeros(3, bool)
            group["truncations"] = np.array([0, 0, i != 2], bool)
            group.create_group("infos")
    found = rl.load(tmp_path / "main_data.hdf5")
    np.testing.assert_array_equal(found.rewards, [0, 0, 0, 2, 2, 2, 10, 10, 10])
    np.testing.assert_array_equal(found.next_observations - found.observations, 1)
    np.testing.assert_array_equal(np.flatnonzero(found.terminals), [2, 5, 8])


@pytest.mark.parametrize("kind", ["npz", "hdf5"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "there is no key 'actions'; there are observations"),
        ({"rewards": np.array([0, 1, np.nan, 3, 4, 5])}, r"'rewards' has nan at index \(2,\)"),
        ({"rewards": np.zeros(5)}, "'rewards' has 5 rows, 'actions' has 6"),
        ({"actions": np.full((6, 1), 2.0)}, r"`actions` must lie in \[-1, 1\]; got 2 to 2"),
        ({"observations": np.zeros((0, 2))}, "'observations' is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name_and_key(tmp_path, kind, changes, message):
    file = stored(tmp_path, kind, **changes)
    with pytest.raises(ValueError, match=rf"steps\.{kind}: {message}"):
        rl.load(file)


def test_files_that_are_something_else(tmp_path):
    pytest.importorskip("h5py")
    for name, message in (
        ("a.npz", "no NPZ file"),
        ("a.h5", "no HDF5 file"),
        ("a.csv", "cannot tell the format"),
    ):
        (tmp_path / name).write_bytes(b"something else")
        with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
            rl.load(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no such file"):
        rl.load(tmp_path / "none.npz")


# What goes wrong


ROWS = jnp.zeros((4, 2)), jnp.zeros((4, 1)), jnp.zeros(4), jnp.zeros((4, 2)), jnp.zeros(4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rl.Transitions(*ROWS[:2], jnp.zeros(3), *ROWS[3:]), "`rewards` must have a row"),
        (lambda: rl.Transitions(ROWS[0], jnp.zeros(4), *ROWS[2:]), "`actions` must have a row"),
        (lambda: rl.Transitions(*ROWS[:2], jnp.full(4, jnp.nan), *ROWS[3:]), "`rewards` contains"),
        (lambda: rl.Transitions(*ROWS[:4], jnp.full(4, 2.0)), "`terminals` must lie in"),
        (lambda: rl.Transitions(jnp.zeros(4), *ROWS[1:]), "`observations` must be"),
        (lambda: rl.collect(PENDULUM, 0, jax.random.key(0)), "`num`"),
        (lambda: rl.Pendulum(0), "`horizon`"),
        (lambda: rl.Distracted(PENDULUM, 0), "`num`"),
        (lambda: rl.Distracted(PENDULUM, 1, 1.0), "`correlation`"),
        (lambda: rl.SNIP(0.0), "`keep`"),
        (lambda: rl.RigL(0.5, every=0), "`every`"),
        (lambda: rl.SNIP(0.5, until=-1), "`until`"),
        (lambda: rl.Evaluation(PENDULUM, 0), "`episodes`"),
        (lambda: rl.OutsideEvaluation(Walk, 1.0, 1.0), "`random` and `expert`"),
        (lambda: rl.interquartile_mean([]), "`scores`"),
        (lambda: rl.interquartile_mean([1.0], level=1.0), "`level`"),
    ],
)
def test_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_arguments_of_training_are_named(data, sets):
    for options, message in (
        ({"seeds": ()}, "`seeds` is empty"),
        ({"seeds": (1, 2, 3)}, "`data` has 2 sets, `seeds` 3"),
        ({"penalties": {"critic": sj.penalties.L1(1.0)}}, "no network 'critic'"),
        ({"steps": 0}, "`steps`"),
        ({"dropout": 1.0}, "`dropout`"),
    ):
        with pytest.raises(ValueError, match=message):
            run(sets, **options)
    with pytest.raises(ValueError, match="`num` must be at most the steps"):
        rl.whole_episodes(data, 41, jax.random.key(0))
    with pytest.raises(ValueError, match="`data` must be one set"):
        rl.HeldOut(sets)


# The command


def command(file, out, *options):
    return [
        *("offline-rl", "--methods", "dense", "iterative", "--data", str(file), "--seeds", "2"),
        *("--algorithm", "bc", "--steps", "20", "--width", "8", "--batch", "8", "--keep", "0.25"),
        *("--out", str(out), *map(str, options)),
    ]


def test_command_interrupted_goes_on_and_reports(tmp_path, capsys, monkeypatch):
    file, whole, out = stored(tmp_path, "npz"), tmp_path / "whole", tmp_path / "out"
    assert main(command(file, whole)) == 0
    assert {file.name for file in whole.iterdir()} == {
        *("scores.csv", "report.json", "curves.png", "policies-dense.npz"),
        "policies-iterative.npz",
    }
    report = json.loads((whole / "report.json").read_text())
    lines = (whole / "scores.csv").read_text().splitlines()
    assert lines[0] == "method,seed,step,held-out_error"
    assert len(lines) == 1 + 2 * 2 * 10
    assert report["methods"]["dense"]["zeros"] == 0
    assert report["methods"]["iterative"]["zeros"] == pytest.approx(0.75, abs=0.01)
    last = [float(line.split(",")[3]) for line in lines if line.startswith("dense,1,")][-3:]
    assert report["methods"]["dense"]["scores"][1] == pytest.approx(np.mean(last))
    with np.load(whole / "policies-iterative.npz") as policies:
        assert policies["actor.network.layers.0.weight"].shape == (2, 8, 2)
    shown = capsys.readouterr().out
    assert "steps.npz: held-out error" in shown
    assert "interquartile mean" in shown

    advance, calls = _train._advance, []

    def dying(*args):
        calls.append(args)
        if len(calls) == 13:  # in the second method
            raise KeyboardInterrupt
        return advance(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_train, "_advance", dying)
        assert main(command(file, out)) == 130
    assert not out.exists()
    assert main(command(file, out)) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "steps.npz", "whole"]
    assert (out / "report.json").read_bytes() == (whole / "report.json").read_bytes()


def test_command_on_a_task():
    args = argparse.Namespace(data=None, task="pendulum", distractors=2, seeds=3, num=None)
    study = _offline_rl._study(args)
    assert study.data.observations.shape == (3, 1000, 5)
    assert len(np.unique(study.data.observations[:, 0, 0])) == 3
    assert isinstance(study.evaluate, rl.Evaluation)
    assert study.about == "pendulum and 2 distractors, 1000 steps"


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, ["--num", 6], "has 5 steps beside those held out"),
        ({"rewards": None}, [], "steps.npz: there is no key 'rewards'"),
        ({}, ["--methods", "l1"], "--methods l1 does not go with --algorithm bc"),
        ({}, ["--data", "none.npz"], "none.npz: no such file"),
    ],
)
def test_problems_are_one_line_with_status_2(tmp_path, capsys, changes, options, message):
    file = stored(tmp_path, "npz", **changes)
    assert main(command(file, tmp_path / "out", *options)) == 2
    found = capsys.readouterr().err
    assert found.startswith("sparsejax: error: ")
    assert found.count("\n") == 1
    assert message in found
