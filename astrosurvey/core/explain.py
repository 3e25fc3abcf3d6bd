"""Why a task would run: what has changed since its record was made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .plan import Plan, State, Task

MOST = 20
"""Of so many tasks that run first it is told why."""


def explain(plan: Plan, stage: str, tile: str | None) -> tuple[Task, list[str]]:
    """Return a task of a previewed plan, and in words what changed since its record was made.

    Raises:
        KeyError: there is no such task.
    """
    task = plan.tasks[stage, tile]
    if task.state is not State.MAYBE:
        return task, _changes(plan, task)
    roots = _roots(plan, task)
    lines = [line for root in roots[:MOST] for line in (f"{root} runs first:", *_changes(plan, root))]
    return task, lines + ([f"and {len(roots) - MOST} other tasks run first"] if len(roots) > MOST else [])


def _changes(plan: Plan, task: Task) -> list[str]:
    old = plan.store.record(*task.name)
    if old is None:
        return ["it has never been run" if task.key else task.reason]
    if not task.key:
        return [task.reason]
    changes = [f"{path}: {_short(before)} → {_short(after)}" for path, before, after in _differences(old.fields, plan.fields(task))]
    if not changes and not plan.store.is_sound(*task.name, old, verify=True):
        changes = ["its products are missing or damaged"]
    return changes or ["nothing: it is up to date"]


def _roots(plan: Plan, task: Task) -> list[Task]:
    """Return the tasks upstream of a MAYBE task that are the first to run."""
    seen, roots, open_ = {task.name}, list[Task](), [task]
    while open_:
        for parent in plan.parents(open_.pop()):
            if parent.name in seen:
                continue
            seen.add(parent.name)
            if parent.state is State.RUN:
                roots.append(parent)
            elif parent.state is State.MAYBE:
                open_.append(parent)
    return sorted(roots)


def _differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, before, after) for every leaf in which two JSON values differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key), after.get(key), f"{path}.{key}".lstrip("."))
    elif before != after:
        yield path, before, after


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return text if len(text) <= 60 else f"{text[:57]}…"
