"""A small language model with a choice of feed-forward layer: what AFB-FFN is tried in.

GPT-2's arrangement (Radford et al. 2019), pre-layer-norm: learned embeddings of tokens and positions, blocks of
causal self-attention and a feed-forward layer, each added to the residual stream, a last layer norm and a linear
head:

    x = x + Attention(LN(x));  x = x + FeedForward(LN(x))

Axes: N texts, T tokens, d width, F units of a feed-forward layer, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abn.models.feedback import FFN, FeedbackFFN
from abn.models.layers import require_positive
from abn.models.modulation import Hook, require_blocks


@dataclass(frozen=True)
class FeedForward:
    """Which feed-forward layer a language model has.

    Attributes:
        kind: "gelu", "swiglu", "feedback", or "normed" (a layer norm over the hidden units, as NormFormer has it).
        hidden: F; None for 4 d, and for 8/3 d in SwiGLU, which has three matrices in place of two.
        options: of `FeedbackFFN`, such as {"variant": "v2", "r": 8}.
    """

    kind: str = "gelu"
    hidden: int | None = None
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LanguageSizes:
    """The sizes of a language model.

    Attributes:
        vocabulary: V, the number of tokens told apart.
        context: the most tokens it looks at.
        layers, width, heads: blocks, d, and attention heads, which divide d.
        qk_norm: normalise queries and keys of every head (Dehghani et al. 2023).
        layer_scale: the start of a learned factor for every channel of what a block adds (LayerScale, Touvron et al.
            2021); None for none.
    """

    vocabulary: int
    context: int = 128
    layers: int = 4
    width: int = 128
    heads: int = 4
    qk_norm: bool = False
    layer_scale: float | None = None
    feed_forward: FeedForward = FeedForward()

    def __post_init__(self) -> None:
        require_positive(
            vocabulary=self.vocabulary, context=self.context, layers=self.layers, width=self.width, heads=self.heads
        )
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}, which {self.heads} heads do not divide; take a multiple")


class SwiGLU(nn.Module):
    """``W2 (silu(W1 x + b1) ⊙ (V x + c)) + b2`` (Shazeer 2020): (N, T, d) → (N, T, d)."""

    def __init__(self, d: int, hidden: int) -> None:
        super().__init__()
        require_positive(d=d, hidden=hidden)
        self.fc1 = nn.Linear(d, hidden)
        self.gate = nn.Linear(d, hidden)
        self.activation = nn.SiLU()
        self.fc2 = nn.Linear(hidden, d)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)) * self.gate(x))


class NormedFFN(FFN):
    """The plain layer with a layer norm over its activations (NormFormer, Shleifer et al. 2021)."""

    def __init__(self, d: int, hidden: int) -> None:
        super().__init__(d, hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.norm(self.activation(self.fc1(x))))


def feed_forward(chosen: FeedForward, width: int, layer: int) -> nn.Module:
    """The feed-forward layer of one block.

    Args:
        layer: the block's number, by which the feedback units of a network draw different weights.

    Raises:
        ValueError: for an unknown kind, or options that it does not take.
    """
    plain = {"gelu": FFN, "normed": NormedFFN, "swiglu": SwiGLU}
    if chosen.kind == "feedback":
        options = {"seed": layer, **chosen.options}
        return FeedbackFFN(width, chosen.hidden or 4 * width, **options)  # type: ignore[arg-type]
    if chosen.kind not in plain:
        raise ValueError(f"the feed-forward layer is {chosen.kind!r}; expected feedback, {', '.join(sorted(plain))}")
    if chosen.options:
        raise ValueError(f"a {chosen.kind} layer takes no options; it was given {', '.join(sorted(chosen.options))}")
    hidden = round(8 * width / 3) if chosen.kind == "swiglu" else 4 * width
    return plain[chosen.kind](width, chosen.hidden or hidden)


class Attention(nn.Module):
    """Causal self-attention: (N, T, d) → (N, T, d)."""

    def __init__(self, sizes: LanguageSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width)
        self.out = nn.Linear(sizes.width, sizes.width)
        head = sizes.width // sizes.heads
        self.q_norm: nn.Module = nn.LayerNorm(head) if sizes.qk_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(head) if sizes.qk_norm else nn.Identity()

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three of (N, heads, T, d / heads)."""
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.q_norm(q), self.k_norm(k), v

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        """
        Args:
            cache: keys and values of the tokens before; those of `x` are added to it. `x` is then one token, or the
                cache is empty.
        """
        q, k, v = self.queries_keys_values(x)
        if cache is not None:
            k, v = cache.extended(k, v)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)
        return self.out(y.transpose(1, 2).flatten(2))


@dataclass
class Cache:
    """Keys and values of one block for the tokens seen so far, (N, heads, T, d / heads) each."""

    keys: Tensor | None = None
    values: Tensor | None = None

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those of all tokens, with new ones behind them."""
        if self.keys is not None and self.values is not None:
            keys, values = torch.cat([self.keys, keys], dim=2), torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys, values
        return keys, values


class LayerScale(nn.Module):
    """A learned factor for every channel: (…, d) → (…, d)."""

    def __init__(self, width: int, start: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a layer norm and added to the residual stream."""

    def __init__(self, sizes: LanguageSizes, layer: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width)
        self.attention = Attention(sizes)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.ffn = feed_forward(sizes.feed_forward, sizes.width, layer)
        scale = sizes.layer_scale
        self.scale1: nn.Module = nn.Identity() if scale is None else LayerScale(sizes.width, scale)
        self.scale2: nn.Module = nn.Identity() if scale is None else LayerScale(sizes.width, scale)

    def forward(self, x: Tensor, name: str = "", hook: Hook | None = None, cache: Cache | None = None) -> Tensor:
        x = x + self.scale1(self.attention(self.norm1(x), cache))
        h = self.norm2(x)
        y = self.ffn(h, name, hook) if isinstance(self.ffn, FeedbackFFN) else self.ffn(h)
        return x + self.scale2(y)


class LanguageModel(nn.Module):
    """Tokens (N, T) → logits of the next token (N, T, V)."""

    def __init__(self, sizes: LanguageSizes, architecture: str = "lm-ffn") -> None:
        """Weights are drawn as GPT-2's: deviation 0.02, and 0.02 / √(2 layers) where a branch ends; biases are 0."""
        super().__init__()
        self.sizes = sizes
        self.architecture = architecture
        self.token_embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.position_embedding = nn.Embedding(sizes.context, sizes.width)
        self.layers = nn.ModuleList(Block(sizes, layer) for layer in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)
        self.head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        self._draw_weights()

    def _draw_weights(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                ends_branch = name.endswith(("attention.out", "ffn.fc2"))
                nn.init.normal_(module.weight, std=0.02 / math.sqrt(2 * self.sizes.layers) if ends_branch else 0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def blocks(self) -> Iterator[tuple[str, int]]:
        """("layers.0", F) …: the feed-forward layers that have feedback, in the order of computation."""
        for index, block in enumerate(self.layers):
            if isinstance(block.ffn, FeedbackFFN):
                yield f"layers.{index}", block.ffn.hidden

    def embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        """(N, T) tokens → (N, T, d), the first of them at position `start`.

        Raises:
            ValueError: for more tokens than the context holds.
        """
        end = start + tokens.shape[1]
        if end > self.sizes.context:
            raise ValueError(f"there are {end} tokens; this model looks at {self.sizes.context} at most")
        positions = torch.arange(start, end, device=tokens.device)
        return self.token_embedding(tokens) + self.position_embedding(positions)

    def forward(self, tokens: Tensor, hook: Hook | None = None) -> Tensor:
        """(N, T) token numbers → (N, T, V) logits of each next token.

        Args:
            hook: is shown each feedback layer's `FeedbackModulation`, and answers with the one to use.

        Raises:
            ValueError: for too many tokens, or a hook that names blocks this model does not have.
        """
        return self.from_embeddings(self.embed(tokens), hook)

    def from_embeddings(self, x: Tensor, hook: Hook | None = None, caches: list[Cache] | None = None) -> Tensor:
        """(N, T, d) embedded tokens → (N, T, V): where attribution to the tokens begins."""
        if hook is not None:
            require_blocks(hook, dict(self.blocks()))
        for index, block in enumerate(self.layers):
            x = block(x, f"layers.{index}", hook, None if caches is None else caches[index])
        return self.head(self.norm(x))

    @torch.no_grad()
    def continuation(
        self, tokens: Tensor, count: int, *, temperature: float = 1.0, seed: int = 0, hook: Hook | None = None
    ) -> Tensor:
        """Draw further tokens, one after another.

        Args:
            tokens: (1, T), one at least; of more than the context holds, the last are looked at.
            count: how many tokens to draw.
            temperature: the logits are divided by it; 0 takes the likeliest token.
            seed: of the draws, the same on every device.

        Returns:
            (1, count) token numbers.

        Raises:
            ValueError: for a temperature below 0, or no token to go on from.
        """
        if not tokens.shape[1]:
            raise ValueError("there is no token to go on from; give one at least")
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature is {temperature!r}; expected a number of at least 0")
        generator = torch.Generator().manual_seed(seed)
        seen, caches, fed = tokens, [Cache() for _ in self.layers], 0
        for _ in range(count):
            if seen.shape[1] > self.sizes.context and fed:  # every position moves: nothing kept holds any more
                caches, fed = [Cache() for _ in self.layers], 0
            window = seen[:, -self.sizes.context :]
            fresh = window[:, fed:] if fed else window
            logits = self.from_embeddings(self.embed(fresh, fed), hook, caches)[:, -1]
            fed += fresh.shape[1]
            seen = torch.cat([seen, _drawn(logits, temperature, generator)], dim=1)
        return seen[:, tokens.shape[1] :]


def _drawn(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """(N, V) logits → (N, 1) tokens, drawn on the CPU so that every device draws the same."""
    if temperature == 0:
        return logits.argmax(dim=-1, keepdim=True)
    probabilities = (logits.float().cpu() / temperature).softmax(dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).to(logits.device)
