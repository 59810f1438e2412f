"""Specs come back whole from what is stored once and what each episode has of its own."""

from __future__ import annotations

from services.env_runner.queue.manifest import Manifest, spec_of
from waymark.contracts import EvaluationRequest, Limits
from waymark.evaluation.requested_episodes import episodes


def test_specs_are_restored_and_share_equal_fields() -> None:
    specs = episodes("e", EvaluationRequest(protocol="full", simplifications="easy", limits=Limits(moves=9, turns=9)))
    manifest = Manifest.of(specs)
    assert [spec_of(episode, own, manifest.shared) for episode, own in manifest.own.items()] == specs
    assert len(specs) == 1_819
    assert max(map(len, manifest.own.values())) < 40
    assert "simplifications" in manifest.shared


def test_one_episode_shares_all_with_itself() -> None:
    (spec,) = episodes("e", EvaluationRequest(tasks=("4-2",)))
    manifest = Manifest.of([spec])
    assert (manifest.own, spec_of(spec.id, "{}", manifest.shared)) == ({spec.id: "{}"}, spec)


def test_a_spec_of_an_older_version_is_read() -> None:
    (spec,) = episodes("e", EvaluationRequest(tasks=("4-2",)))
    assert spec_of(spec.id, spec.model_dump_json(), "{}") == spec
