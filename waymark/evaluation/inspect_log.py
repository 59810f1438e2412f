"""A run as an evaluation log of Inspect AI (UK AI Security Institute), version 2 of its JSON format.

`inspect view` opens the file. One sample an episode: sub-goals are `info` events, actions are calls of the tool `act`,
each change of the score is an intermediate score, and an error is in the sample's field for errors. The package itself,
325 MB, is not needed. A test reads a log with it.

https://inspect.aisi.org.uk/eval-logs.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from waymark import __version__
from waymark.agent.named_agents import name_of
from waymark.contracts import EpisodeResult, Summary, TurnRecord
from waymark.evaluation.run_folder import Evaluation
from waymark.evaluation.scores import name_of_episode, summarise
from waymark.worlds.registry import world_of

MEDIA_TYPE: Final = "application/json"
_TOOL: Final = "act"
_Json = dict[str, Any]


def inspect_log(evaluation: Evaluation, results: Callable[[], Iterable[EpisodeResult]]) -> Iterator[bytes]:
    """The pieces of the log. `results` is called twice: for the scores, and for the samples."""
    lights = [result.without_trajectory() for result in results()]
    head = _head(evaluation, lights)
    yield json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "samples": [\n'
    for place, result in enumerate(results()):
        yield (b",\n" if place else b"") + json.dumps(_sample(evaluation, result), ensure_ascii=False).encode()
    yield b"\n]}\n"


def log_name(evaluation: Evaluation) -> str:
    """The name of a log's file: `inspect view` lists files that are named by time, task and id alone."""
    began = datetime.fromisoformat(evaluation.created).astimezone(UTC)
    name = evaluation.id.replace("_", "-")
    return f"{began:%Y-%m-%dT%H-%M-%S}+00-00_waymark-{evaluation.request.protocol}_{name}.json"


def _head(evaluation: Evaluation, results: list[EpisodeResult]) -> _Json:
    request, versions = evaluation.request, evaluation.versions
    is_complete = len(results) >= evaluation.episodes
    began = datetime.fromisoformat(evaluation.created)
    seconds = max((result.seconds for result in results), default=0.0)
    models = [
        checkpoint for checkpoint in (versions.controller, versions.first, versions.executor) if checkpoint is not None
    ]
    return {
        "version": 2,
        "status": "success" if is_complete else "cancelled",
        "eval": {
            "eval_id": evaluation.id,
            "run_id": evaluation.id,
            "task_id": evaluation.id,
            "created": evaluation.created,
            "task": f"waymark/{request.protocol}",
            "task_version": 0,
            "task_display_name": f"{versions.environment.partition(' ')[0]}, protocol {request.protocol}",
            "task_attribs": {},
            "task_args": request.model_dump(mode="json", exclude={"agent"}),
            "solver": name_of(request.agent),
            "solver_args": request.agent.model_dump(mode="json"),
            "dataset": {
                "name": versions.environment,
                "samples": evaluation.episodes // request.repeats,
                "sample_ids": list(dict.fromkeys(f"{result.task}/{result.variation}" for result in results)),
                "shuffled": False,
            },
            "model": "waymark/" + "+".join(dict.fromkeys(model.checkpoint for model in models)),
            "model_args": {model.role: model.model_dump(mode="json") for model in models},
            "config": {"epochs": request.repeats},
            "packages": {"waymark": versions.waymark or __version__},
            "metadata": {"environment": versions.environment, "commit": versions.commit},
        },
        "plan": {"name": "plan", "steps": [{"solver": name_of(request.agent), "params": {}}], "config": {}},
        "results": _results(evaluation, summarise(results, world_of(versions.environment)), len(results)),
        "stats": {
            "started_at": evaluation.created,
            "completed_at": _after(began, seconds),
            "model_usage": {},
        },
    }


def _results(evaluation: Evaluation, summary: Summary, finished: int) -> _Json:
    def metrics(**values: float) -> _Json:
        return {name: {"name": name, "value": value, "params": {}} for name, value in values.items()}

    scored = {"mean_over_task_types": summary.mean}
    if summary.ci95 is not None:
        scored |= {"ci95_low": summary.ci95[0], "ci95_high": summary.ci95[1]}
    return {
        "total_samples": evaluation.episodes,
        "completed_samples": finished,
        "scores": [
            {"name": "score", "scorer": "score", "params": {}, "metrics": metrics(**scored)},
            {
                "name": "success",
                "scorer": "success",
                "params": {},
                "metrics": metrics(mean_over_task_types=summary.success_rate),
            },
        ],
    }


def _sample(evaluation: Evaluation, result: EpisodeResult) -> _Json:
    began = datetime.fromisoformat(evaluation.created)
    opening = result.opening
    task = opening.task if opening else f"Task {result.task}, variation {result.variation}"
    seen = f"{task}\n\n{opening.look}\n\n{opening.inventory}" if opening else task
    model = "waymark"
    sample: _Json = {
        "id": f"{result.task}/{result.variation}",
        "epoch": result.repeat + 1,
        "input": seen,
        "target": "100",
        "messages": [{"role": "user", "content": seen, "source": "input", "id": f"{result.id}-0"}],
        "output": {
            "model": model,
            "choices": [
                {"message": {"role": "assistant", "content": _ending(result)}, "stop_reason": "stop"},
            ],
        },
        "scores": {
            "score": {"value": result.score, "answer": str(result.raw_score), "explanation": _ending(result)},
            "success": {"value": int(result.success)},
        },
        "metadata": {
            "task": result.task,
            "variation": result.variation,
            "repeat": result.repeat,
            "seed": result.seed,
            "stopped": result.stopped,
            "raw_score": result.raw_score,
            "moves": result.moves,
            "actions": result.actions,
            "model_calls": result.model_calls,
            "repaired": result.repaired,
            "episode": result.id,
        },
        "store": {},
        "events": [],
        "model_usage": {
            model: {
                "input_tokens": result.prompt_tokens,
                "output_tokens": result.completion_tokens,
                "total_tokens": result.tokens,
            }
        },
        "started_at": began.isoformat(),
        "completed_at": _after(began, result.seconds),
        "total_time": result.seconds,
        "working_time": result.seconds,
        "uuid": result.id,
    }
    _add_turns(sample, result, began)
    if result.error is not None:
        error = {"message": f"{result.error.kind}: {result.error.message}", "traceback": "", "traceback_ansi": ""}
        sample["error"] = error
        sample["events"].append(_event("error", began, result.seconds, error=error))
    final = {"value": result.score, "answer": str(result.raw_score), "explanation": _ending(result)}
    sample["events"].append(_event("score", began, result.seconds, score=final, intermediate=False))
    return sample


def _add_turns(sample: _Json, result: EpisodeResult, began: datetime) -> None:
    passed = 0.0
    current: str | None = None
    for turn in result.trajectory:
        passed += turn.seconds
        if turn.controller_called or turn.subgoal != current:
            current = turn.subgoal
            data = {
                "subgoal": turn.subgoal,
                "alternatives": [list(subgoal) for subgoal in turn.subgoals],
                "turn": turn.turn,
            }
            sample["events"].append(_event("info", began, passed, source="sub-goal", data=data))
        if turn.action is None:
            data = {"ended": turn.subgoal, "unparsed": turn.proposed, "turn": turn.turn}
            sample["events"].append(_event("info", began, passed, source="sub-goal ended", data=data))
            continue
        call = f"{result.id}-{turn.turn}"
        sample["events"].append(
            _event(
                "tool",
                began,
                passed,
                type="function",
                id=call,
                function=_TOOL,
                arguments={"action": turn.action},
                result=turn.observation,
                events=[],
                working_time=turn.seconds,
                metadata=_details(turn),
            )
        )
        if turn.reward:
            score = {"value": turn.score, "explanation": f"{turn.reward:+d} by {turn.action}"}
            sample["events"].append(_event("score", began, passed, score=score, intermediate=True))
        tool_call = {"id": call, "function": _TOOL, "arguments": {"action": turn.action}, "type": "function"}
        content = f"Sub-goal: {turn.subgoal}" if turn.subgoal else ""
        sample["messages"] += [
            {
                "role": "assistant",
                "content": content,
                "tool_calls": [tool_call],
                "id": f"{call}-a",
                "source": "generate",
            },
            {"role": "tool", "content": turn.observation, "tool_call_id": call, "function": _TOOL, "id": f"{call}-t"},
        ]


def _details(turn: TurnRecord) -> Mapping[str, Any]:
    return {
        "turn": turn.turn,
        "proposed": turn.proposed,
        "repaired": turn.repaired,
        "known": turn.known,
        "rules": list(turn.rules),
        "logprob": turn.logprob,
        "alternatives": [list(action) for action in turn.actions],
        "look": turn.look,
        "inventory": turn.inventory,
    }


def _event(kind: str, began: datetime, passed: float, **fields: Any) -> _Json:
    return {
        "event": kind,
        "timestamp": _after(began, passed),
        "working_start": passed,
        "pending": False,
        **fields,
    }


def _after(began: datetime, seconds: float) -> str:
    """The time `seconds` later, or the last time that the calendar can hold if that is earlier."""
    try:
        return (began + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return datetime.max.replace(tzinfo=began.tzinfo).isoformat()


def _ending(result: EpisodeResult) -> str:
    return f"{name_of_episode(result)} ended with {result.raw_score} points: {result.stopped}."
