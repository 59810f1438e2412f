"""The kernels chosen for a CPU compute the same as those that a T5 comes with."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from training.model import suit_to_cpu


@pytest.mark.parametrize("feed_forward", ["gated-gelu", "relu"])
def test_kernels_for_a_cpu_change_no_loss_and_no_gradient(feed_forward: str) -> None:
    if torch.accelerator.is_available():
        pytest.skip("changes nothing where there is an accelerator")
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=50,
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        dropout_rate=0.0,
        feed_forward_proj=feed_forward,
    )
    config.decoder_start_token_id = 0
    model = T5ForConditionalGeneration(config)
    tokens, labels = torch.randint(2, 50, (3, 20)), torch.randint(2, 50, (3, 6))
    mask = torch.ones_like(tokens)
    mask[0, 12:] = 0

    def learn() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        model.zero_grad()
        loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
        loss.backward()
        return loss.detach(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}

    before, gradients = learn()
    suit_to_cpu(model)
    after, same = learn()
    assert model.config._attn_implementation == "eager"
    torch.testing.assert_close(after, before)
    assert gradients.keys() == same.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, atol=1e-5, rtol=1e-4)
