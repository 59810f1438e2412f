"""The published way of asking and playing, for benchmarks to compare with.

As the publication's evaluation did it (Hashemzadeh et al., CoLLAs 2024): `model.generate` of transformers in float32,
one prompt at a time with a beam of five; an episode is a loop in one process that asks the controller at every step
and plays through `ScienceWorldEnv.step`. Only what the models read is ours, so that the same checkpoints can be asked.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import torch
from scienceworld import ScienceWorldEnv

from benchmarks.completion import Completion
from waymark.agent.prompt import write_prompt
from waymark.agent.state import StateFold
from waymark.agent.stop_rules import stop_reason
from waymark.contracts import AgentState, Limits, TurnRecord
from waymark.errors import UnparsableAction
from waymark.inference import checkpoint
from waymark.inference.engines.transformers import load_causal, load_seq2seq
from waymark.inference.tokens import Tokens, read_tokenizer
from waymark.worlds.registry import get_format, get_world

BEAMS = 5


class PublishedModel:
    """A checkpoint asked the published way; `beams` 1 is greedy search.

    With `pinned` every answer has the checkpoint's `max_new_tokens`, for random weights, which never end. `dtype` is
    float32 but on a GPU.
    """

    def __init__(
        self,
        folder: Path,
        *,
        beams: int = BEAMS,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int = 0,
        pinned: bool = False,
    ) -> None:
        card = checkpoint.load(folder).card
        self.role = card.role
        self.format = get_format(card.prompt_format)
        if threads:
            torch.set_num_threads(threads)
        self._causal = card.architecture == "causal"
        load = load_causal if self._causal else load_seq2seq
        self._model = load(str(folder), dtype=dtype).to(device)
        self._device = device
        self._end: int = json.loads((folder / "config.json").read_text())["eos_token_id"]
        self._tokens = Tokens(read_tokenizer(folder / "tokenizer.json"), self._end)
        self._limit = card.max_input_tokens
        self._length = {"max_new_tokens": card.max_new_tokens}
        if pinned:
            self._length["min_new_tokens"] = card.max_new_tokens
        self._beams = beams

    @torch.inference_mode()
    def answer(self, prompt: str) -> Completion:
        """The best answer to one prompt."""
        encoded = self._tokens.prompts([prompt], self._limit)[0]
        ids = torch.tensor([encoded.ids], device=self._device)
        rows = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=self._beams,
            num_return_sequences=self._beams,
            **self._length,
        ).tolist()
        best = rows[0][len(encoded.ids) if self._causal else 1 :]
        if self._end in best:
            best = best[: best.index(self._end) + 1]
        return Completion(text=self._tokens.text(best, encoded), read=len(encoded.ids), written=len(best))

    def decide(self, given: AgentState) -> str | None:
        """The whole way from a state to a decision. What cannot be read stands for itself."""
        text = self.answer(write_prompt(self.format, self.role, given)).text
        with suppress(UnparsableAction):
            return self.format.parse(self.role, text)
        return text


class PublishedLoop:
    """The published evaluation loop: both models and the simulator in this process, one episode after the other.

    The simulator writes a file where it runs, so enter a scratch folder first.
    """

    def __init__(self, controller: Path, executor: Path, limits: Limits) -> None:
        self._controller = PublishedModel(controller)
        self._executor = PublishedModel(executor)
        self._limits = limits
        self._env = ScienceWorldEnv("", envStepLimit=limits.moves)

    def play(self, task: str, variation: int) -> list[TurnRecord]:
        """One episode: both models at every step, no repair, nothing avoided. An ended sub-goal acts not."""
        self._env.load(get_world("scienceworld").find_task(task).name, variation, "easy")
        _, infos = self._env.reset()
        words = infos["taskDesc"].removeprefix("Task Description:").split()
        fold = StateFold.start(" ".join(words), infos["look"], infos["inv"])
        turns: list[TurnRecord] = []
        done = False
        while not done and stop_reason(turns, self._limits) is None:
            subgoal = self._controller.decide(fold.state)
            if subgoal is not None:
                fold.give_subgoal(subgoal)
            action = self._executor.decide(fold.state)
            observation, reward = "", 0
            if action is None:
                fold.end_subgoal()
            else:
                observation, reward, done, infos = self._env.step(action)
                fold.act(action, observation, infos["look"], infos["inv"], infos["score"])
            turns.append(
                TurnRecord(
                    turn=len(turns) + 1,
                    subgoal=subgoal,
                    controller_called=True,
                    action=action,
                    proposed=action,
                    logprob=None,
                    observation=observation,
                    score=infos["score"],
                    reward=reward,
                    moves=infos["moves"],
                )
            )
        return turns

    @property
    def simulator(self) -> int:
        """The process id of its JVM."""
        return int(self._env._gateway.java_process.pid)

    def close(self) -> None:
        """End the simulator."""
        self._env.close()
