"""The kernels chosen for a CPU compute the same as those that a T5 comes with."""

from __future__ import annotations

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from training import cpu_attention
from training.cpu_kernels import suit_to_cpu


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
        return loss.detach(), {
            name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
        }

    before, gradients = learn()
    suit_to_cpu(model)
    after, same = learn()
    assert model.config._attn_implementation == cpu_attention.NAME
    torch.testing.assert_close(after, before)
    assert gradients.keys() == same.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[name], gradient, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("has_bias", [True, False])
def test_attention_in_bfloat16_keeps_its_precision(has_bias: bool) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 8) for _ in range(3))
    bias = torch.randn(1, 3, 5, 5) if has_bias else None
    mask = torch.zeros(2, 1, 1, 5)
    mask[0, ..., 3:] = torch.finfo(torch.bfloat16).min
    module = torch.nn.Module()
    read, weights = cpu_attention.attend(module, query, key, value, mask, position_bias=bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        read_halved, weights_halved = cpu_attention.attend(
            module, query.bfloat16(), key.bfloat16(), value.bfloat16(), mask, position_bias=bias
        )
    assert read_halved.dtype is weights_halved.dtype is torch.bfloat16
    assert not weights[0, ..., 3:].any()
    torch.testing.assert_close(read_halved.float(), read, atol=0.05, rtol=0.05)
