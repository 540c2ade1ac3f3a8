"""Parts of the sample shop: options, tastes and choices, pictures, recordings."""

import hashlib
from dataclasses import replace

import av
import numpy as np
import pytest

from features.sample import SampleOptions
from features.sample.behaviour.choices import Events, draw_events
from features.sample.behaviour.dynamics import draw_dynamics, zipf_appeal
from features.sample.behaviour.families import NEVER, Families, draw_families
from features.sample.behaviour.tastes import DAY_S, START_S, World, draw_world
from features.sample.pictures import Look, draw_looks, render
from features.sample.speech import draw_repertoire, recordings
from recsys.errors import ConfigError

SMALL = SampleOptions(num_items=60, num_users=40, events_per_user=10.0, num_visual=4, num_text=5, num_voice=3)


def static_events(rng: np.random.Generator, world: World, options: SampleOptions) -> Events:
    """Choices in a shop without families."""
    dynamics = draw_dynamics(np.random.default_rng(0), world, options)
    return draw_events(rng, dynamics, Families.none(len(world.attribute)), options)


def test_options_name_every_value_out_of_range() -> None:
    with pytest.raises(ConfigError) as caught:
        SampleOptions(num_items=1, temperature=0.0, spoken_share=2.0)
    for name in ("num_items = 1", "temperature = 0.0", "spoken_share = 2.0"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_items": 40.5}, "num_items = 40.5: must be a whole number"),
        ({"num_items": True}, "num_items = True"),
        ({"drift": "much"}, "drift = 'much': must be a number"),
        ({"held_out_voices": 2, "num_voices": 2}, "must be below num_voices"),
        ({"held_out_phrasings": 4, "num_phrasings": 4}, "must be below num_phrasings"),
        ({"picture_share": 0, "text_share": 0, "voice_share": 0}, "at least one"),
        ({"new_fraction": 0.9}, "at most 0.8"),
        ({"num_item": 5}, "did you mean 'num_items'"),
        ({"drift": float("nan")}, "drift = nan"),
    ],
)
def test_options_refuse(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SampleOptions.from_values(values)


def test_attributes_are_spread_evenly_and_independently() -> None:
    options = SampleOptions(num_items=4000, num_users=10)
    world = draw_world(np.random.default_rng(3), options)
    for group in range(3):
        assert np.bincount(world.attribute[:, group]).tolist() == [500] * 8
    for one, other in ((0, 1), (0, 2), (1, 2)):
        joint = np.zeros((8, 8))
        np.add.at(joint, (world.attribute[:, one], world.attribute[:, other]), 1)
        chi_square = ((joint - 62.5) ** 2 / 62.5).sum()
        assert chi_square < 85.35  # the 99.9% point at 49 degrees of freedom


def test_each_group_carries_its_share_of_every_taste() -> None:
    options = SampleOptions(num_items=40, num_users=50, picture_share=1.0, text_share=2.0, voice_share=5.0)
    world = draw_world(np.random.default_rng(4), options)
    groups = np.split(world.liking, np.cumsum(world.group_sizes[:2]), axis=1)
    for part, share in zip(groups, (1 / 8, 2 / 8, 5 / 8), strict=True):
        np.testing.assert_allclose(part.var(axis=1), share, rtol=1e-4)
        np.testing.assert_allclose(part.mean(axis=1), 0, atol=1e-6)


def test_oracle_is_taste_and_appeal() -> None:
    world = draw_world(np.random.default_rng(5), SMALL)
    look, theme, saying = world.attribute[7]
    likes = world.liking[3]
    expected = likes[look] + likes[4 + theme] + likes[9 + saying] + world.appeal[7]
    np.testing.assert_allclose(world.user_factors[3] @ world.item_factors[7], expected, rtol=1e-5)


def test_choices_follow_utility_at_no_temperature() -> None:
    options = SampleOptions(
        num_items=30,
        num_users=12,
        events_per_user=5.0,
        num_visual=40,
        drift=0.0,
        taste_drift=0.0,
        trend_strength=0.0,
        impulse_fraction=0.0,
        temperature=0.01,
        new_fraction=0.0,
        unseen_fraction=0.0,
        late_fraction=0.0,
    )
    world = draw_world(np.random.default_rng(6), options)
    events = static_events(np.random.default_rng(7), world, options)
    for user in range(12):
        taken = events.item[events.user == user]
        worth = world.item_factors @ world.user_factors[user]
        best_first = worth[np.argsort(-worth)][: len(taken)]
        # A hundredth of a unit of Gumbel noise may swap neighbours, no more.
        np.testing.assert_allclose(worth[taken], best_first, atol=0.15)


def test_what_a_session_is_after_is_shared_by_its_items() -> None:
    options = SampleOptions(num_items=200, num_users=100, drift=10.0, session_length=5.0, num_days=300)
    world = draw_world(np.random.default_rng(8), options)
    events = static_events(np.random.default_rng(9), world, options)
    order = np.lexsort((np.arange(len(events.user)), events.user))
    user, item, when = events.user[order], events.item[order], events.timestamp_s[order]
    shares = (world.attribute[item[1:]] == world.attribute[item[:-1]]).any(axis=1)
    same_user = user[1:] == user[:-1]
    close = np.diff(when) < 1800
    assert shares[same_user & close].mean() > shares[same_user & ~close].mean() + 0.2


def test_a_shopper_who_has_taken_everything_stops() -> None:
    options = SampleOptions(num_items=20, num_users=10, events_per_user=60.0)
    world = draw_world(np.random.default_rng(1), options)
    events = static_events(np.random.default_rng(2), world, options)
    assert np.bincount(events.user).max() <= 20
    assert len({*zip(events.user.tolist(), events.item.tolist(), strict=True)}) == len(events.user)
    assert (events.timestamp_s < world.end_s).all()


def test_ratings_belong_to_purchases_and_follow_taste() -> None:
    options = SampleOptions(num_items=200, num_users=100, impulse_fraction=0.5)
    world = draw_world(np.random.default_rng(1), options)
    events = static_events(np.random.default_rng(2), world, options)
    bought = events.kind == 2
    assert ((events.rating > 0) == bought).all()
    taste = (world.liking[events.user] * world.one_hot[events.item]).sum(axis=1)
    liked = events.rating[bought] >= 3
    assert taste[bought][liked].mean() > taste[bought][~liked].mean() + 0.5


def test_tastes_move_to_a_correlation_of_the_square_root_of_what_stays() -> None:
    options = SampleOptions(num_items=20, num_users=2000, taste_drift=0.64)
    world = draw_world(np.random.default_rng(1), options)
    dynamics = draw_dynamics(np.random.default_rng(2), world, options)
    users = np.arange(2000)
    start, end = (dynamics.likings(users, np.full(2000, at)) for at in (START_S, world.end_s))
    np.testing.assert_allclose(start, world.liking, atol=1e-6)
    assert np.corrcoef(start.ravel(), end.ravel())[0, 1] == pytest.approx(0.6, abs=0.02)
    assert end.var() == pytest.approx(start.var(), rel=0.02)


def test_trends_have_the_given_strength_over_time_and_are_in_the_oracle() -> None:
    options = SampleOptions(num_items=20, num_users=10, taste_drift=0.0, trend_strength=2.0, trend_days=50)
    world = draw_world(np.random.default_rng(1), options)
    dynamics = draw_dynamics(np.random.default_rng(2), world, options)
    times = START_S + np.arange(0, 5000 * DAY_S, DAY_S)
    trend_TN = dynamics.trends(times) @ world.one_hot.T
    assert trend_TN.std(axis=0).mean() == pytest.approx(2.0, rel=0.1)
    user, item, at = 3, 7, START_S + 100 * DAY_S
    utility = dynamics.user_factors(np.array([user]), np.array([at]))[0] @ world.item_factors[item]
    still = world.user_factors[user] @ world.item_factors[item]
    np.testing.assert_allclose(utility - still, trend_TN[100, item], rtol=1e-4)


def test_without_tastes_items_are_chosen_by_a_power_of_their_rank() -> None:
    options = SampleOptions(
        num_items=60, num_users=3000, events_per_user=3.0, zipf_exponent=1.0, popularity_skew=0.0,
        impulse_fraction=1.0, new_fraction=0.0, unseen_fraction=0.0, late_fraction=0.0,
    )  # fmt: skip
    world = draw_world(np.random.default_rng(1), options)
    world = replace(world, appeal=zipf_appeal(np.random.default_rng(3), 60, options))
    events = static_events(np.random.default_rng(2), world, options)
    first = np.unique(events.user, return_index=True)[1]  # before a shopper has taken anything
    counts = np.bincount(events.item[first], minlength=60)[np.argsort(-world.appeal)]
    expected = 1 / np.arange(1, 61)
    np.testing.assert_allclose(counts[:3] / counts.sum(), (expected / expected.sum())[:3], rtol=0.15)


FAMILIES = SampleOptions(num_items=400, num_users=10, variant_fraction=0.3, successor_fraction=0.4)


def test_variants_share_all_but_the_palette_and_successors_replace_their_predecessor() -> None:
    looks = draw_looks(np.random.default_rng(1), 8)
    before = draw_world(np.random.default_rng(2), FAMILIES)
    world, families = draw_families(np.random.default_rng(3), before, looks, FAMILIES)
    is_later = families.number > 1
    is_successor = is_later & ~families.is_variant
    assert families.is_variant.mean() == pytest.approx(0.25, abs=0.07)
    assert is_successor.sum() > 0.25 * (world.launch_s > START_S).sum()
    model = families.original
    assert (world.launch_s[model] < world.launch_s)[is_later].all()
    assert (world.attribute[model, 1:] == world.attribute[:, 1:])[is_later].all()
    variants = np.flatnonzero(families.is_variant)
    for row in variants:
        own, other = (looks[world.attribute[at, 0]] for at in (row, model[row]))
        assert own.palette != other.palette
    successors = np.flatnonzero(is_successor)
    assert (world.attribute[successors, 0] == world.attribute[model[successors], 0]).all()
    np.testing.assert_array_equal(families.retire_s[model[successors]], world.launch_s[successors])
    assert (families.retire_s != NEVER).sum() == len(successors)
    np.testing.assert_array_equal(world.appeal[successors], world.appeal[model[successors]])
    for first in np.unique(families.first[is_later]):
        members = np.flatnonzero(families.first == first)
        by_launch = members[np.lexsort((families.number[members], world.launch_s[members]))]
        assert families.number[by_launch].tolist() == list(range(1, len(members) + 1))


def test_nobody_chooses_a_retired_item_and_a_known_family_draws() -> None:
    options = replace(FAMILIES, num_users=300, family_affinity=3.0, late_fraction=0.9)
    looks = draw_looks(np.random.default_rng(1), 8)
    world, families = draw_families(
        np.random.default_rng(3), draw_world(np.random.default_rng(2), options), looks, options
    )
    dynamics = draw_dynamics(np.random.default_rng(4), world, options)

    def repeats(drawn: SampleOptions) -> float:
        events = draw_events(np.random.default_rng(5), dynamics, families, drawn)
        assert (events.timestamp_s < families.retire_s[events.item]).all()
        family = families.first[events.item]
        return 1 - len({*zip(events.user.tolist(), family.tolist(), strict=True)}) / len(family)

    assert repeats(options) > 2 * repeats(replace(options, family_affinity=0.0))


@pytest.mark.parametrize("count", [2, 8, 17, 40])
def test_looks_differ_and_neither_part_alone_tells_them(count: int) -> None:
    looks = draw_looks(np.random.default_rng(count), count)
    assert len(set(looks)) == count
    if count > 2:
        assert len({look.pattern for look in looks}) < count
        assert len({look.palette for look in looks}) < count


def test_picture_shows_the_look_and_hides_the_rest() -> None:
    look = Look(pattern="plain", palette="red_cream")
    pictures = [
        np.asarray(render(np.random.default_rng(seed), look, "cushion", 64, noise=1.0), np.float64)
        for seed in range(4)
    ]
    for picture in pictures:
        red, green, blue = picture[26:38, 26:38].mean(axis=(0, 1))
        assert red > 2 * green
        assert red > 2 * blue
    assert np.abs(pictures[0] - pictures[1]).mean() > 5


def test_recordings_decode_to_what_the_manifest_says() -> None:
    clips = recordings()
    assert len({clip.sha256 for clip in clips}) == len(clips) == 14 * 8 * 5
    for clip in clips[::23]:
        content = clip.path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == clip.sha256
        with clip.path.open("rb") as file, av.open(file) as container:
            frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
            rate = container.streams.audio[0].rate
        sound = np.concatenate(frames, axis=1)
        assert sound.shape[1] / rate == pytest.approx(clip.seconds, abs=0.1)
        assert np.abs(sound).max() > 0.1


def test_every_clip_lies_in_the_package() -> None:
    clips = recordings()
    assert {path.name for path in clips[0].path.parent.iterdir()} == {clip.file for clip in clips}  # type: ignore[attr-defined]


def test_repertoires_share_no_recording_and_no_phrasing() -> None:
    repertoire = draw_repertoire(
        np.random.default_rng(0),
        num_meanings=6,
        num_voices=4,
        num_phrasings=5,
        held_out_voices=1,
        held_out_phrasings=2,
    )
    assert len(repertoire.meanings) == 6
    for meaning in repertoire.meanings:
        known, held_out = repertoire.known[meaning], repertoire.held_out[meaning]
        assert len(known) == 3 * 3
        assert len(held_out) == 4 * 2
        assert {clip.meaning for clip in [*known, *held_out]} == {meaning}
        assert not {clip.phrasing for clip in known} & {clip.phrasing for clip in held_out}
        assert len({clip.voice for clip in held_out} - {clip.voice for clip in known}) == 1
