"""How long Gradio keeps what it knows of a visitor: all of it or nothing, and that of those who wait longest.

Gradio keeps a copy of the page's configuration (about 0.2 MB) for each of its last sessions, and a program that calls
an endpoint without naming a session makes a new one every time. It forgets them in the order in which they were last
used, whoever has chosen networks or waits for an answer. And of a browser that slept it forgets, one hour after each
was set, one value of the page after the other, while the page goes on: it would show this app's own networks under
the names of those that were chosen.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import gradio as gr
from gradio.state_holder import StateHolder

from abn.ui.hardening.queue_guard import waiting

MOST_SESSIONS = 1000


def keep_sessions(page: gr.Blocks) -> None:
    """Keep a launched page's sessions whole, and those with anything in them longest."""
    holder = page.state_holder

    def update(session: str) -> None:
        with holder.lock:
            data = holder.session_data
            if session in data:
                data.move_to_end(session)
            if len(data) > holder.capacity:
                _forget(holder, _least_missed(page, session))

    holder.update = update
    holder.delete_all_expired_state = lambda: None


def _least_missed(page: gr.Blocks, newest: str) -> str:
    """The session to forget: the one unused longest of those that hold nothing and do not wait, or do not wait."""
    data, kept = page.state_holder.session_data, waiting(page._queue)
    others = [name for name in data if name != newest]
    idle = [name for name in others if name not in kept]
    empty = [name for name in idle if not data[name].state_data]
    return next(iter(empty or idle or others))


def forget_sessions(page: gr.Blocks, age: float) -> None:
    """Forget the sessions that were not used for `age` seconds; not those that wait for an answer."""
    holder = page.state_holder
    oldest = datetime.now() - timedelta(seconds=age)
    kept = waiting(page._queue)
    for session in [name for name, used in list(holder.time_last_used.items()) if used < oldest]:
        if session not in kept:
            forget_session(page, session)


def forget_session(page: gr.Blocks, session: str) -> None:
    """Forget one session, if there is such a one."""
    holder = page.state_holder
    with holder.lock:
        _forget(holder, session)


def _forget(holder: StateHolder, session: str) -> None:
    holder.session_data.pop(session, None)
    holder.time_last_used.pop(session, None)
