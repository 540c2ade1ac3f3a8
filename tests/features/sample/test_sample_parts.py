"""Parts of the sample shop: options, tastes and choices, pictures, recordings."""

import hashlib

import av
import numpy as np
import pytest

from features.sample import SampleOptions
from features.sample.pictures import Look, draw_looks, render
from features.sample.speech import draw_repertoire, recordings
from features.sample.tastes import draw_events, draw_world
from recsys.errors import ConfigError

SMALL = SampleOptions(num_items=60, num_users=40, events_per_user=10.0, num_visual=4, num_text=5, num_voice=3)


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
        impulse_fraction=0.0,
        temperature=0.01,
        new_fraction=0.0,
        unseen_fraction=0.0,
        late_fraction=0.0,
    )
    world = draw_world(np.random.default_rng(6), options)
    events = draw_events(np.random.default_rng(7), world, options)
    for user in range(12):
        taken = events.item[events.user == user]
        worth = world.item_factors @ world.user_factors[user]
        best_first = worth[np.argsort(-worth)][: len(taken)]
        # A hundredth of a unit of Gumbel noise may swap neighbours, no more.
        np.testing.assert_allclose(worth[taken], best_first, atol=0.15)


def test_what_a_session_is_after_is_shared_by_its_items() -> None:
    options = SampleOptions(num_items=200, num_users=100, drift=10.0, session_length=5.0, num_days=300)
    world = draw_world(np.random.default_rng(8), options)
    events = draw_events(np.random.default_rng(9), world, options)
    order = np.lexsort((np.arange(len(events.user)), events.user))
    user, item, when = events.user[order], events.item[order], events.timestamp_s[order]
    shares = (world.attribute[item[1:]] == world.attribute[item[:-1]]).any(axis=1)
    same_user = user[1:] == user[:-1]
    close = np.diff(when) < 1800
    assert shares[same_user & close].mean() > shares[same_user & ~close].mean() + 0.2


def test_a_shopper_who_has_taken_everything_stops() -> None:
    options = SampleOptions(num_items=20, num_users=10, events_per_user=60.0)
    world = draw_world(np.random.default_rng(1), options)
    events = draw_events(np.random.default_rng(2), world, options)
    assert np.bincount(events.user).max() <= 20
    assert len({*zip(events.user.tolist(), events.item.tolist(), strict=True)}) == len(events.user)
    assert (events.timestamp_s < world.end_s).all()


def test_ratings_belong_to_purchases_and_follow_taste() -> None:
    options = SampleOptions(num_items=200, num_users=100, impulse_fraction=0.5)
    world = draw_world(np.random.default_rng(1), options)
    events = draw_events(np.random.default_rng(2), world, options)
    bought = events.kind == 2
    assert ((events.rating > 0) == bought).all()
    taste = (world.liking[events.user] * world.one_hot[events.item]).sum(axis=1)
    liked = events.rating[bought] >= 3
    assert taste[bought][liked].mean() > taste[bought][~liked].mean() + 0.5


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
