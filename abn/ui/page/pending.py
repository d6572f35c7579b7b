"""What stands on the page of an earlier picture is dimmed, and marked busy, until the networks have answered."""

from __future__ import annotations

_PAGE = "document.querySelector('.gradio-container')"
# `asked` counts the pictures that were asked for, `looked` is the newest that was sent to the networks: an answer to
# an earlier one leaves the page dimmed. A picture that was taken away leaves nothing to dim.
ASKED = f"""picture => {{
  if (!picture) return;
  window.asked = (window.asked ?? 0) + 1;
  {_PAGE}.setAttribute('aria-busy', 'true');
}}"""
LOOKED = "(...values) => { window.looked = window.asked; return values; }"
ANSWERED = f"() => {{ if (window.looked === window.asked) {_PAGE}.removeAttribute('aria-busy'); }}"
GIVEN_UP = f"() => {{ {_PAGE}.removeAttribute('aria-busy'); }}"
